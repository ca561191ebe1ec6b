package acceptance

var daemonSettings, swarmSettings []remedy
