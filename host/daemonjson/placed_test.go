package daemonjson

import (
	"errors"
	"testing"

	"casco/internal/atomicfile"
)

// TestPlaced: what dockerd says of a key, in the words of its versions, gets
// the key's place in the file.
func TestPlaced(t *testing.T) {
	file := atomicfile.Saved{Path: "/etc/docker/daemon.json", Data: []byte("{\n \"debug\": 5,\n \"mtu\": \"big\", \"nonesuch\": 1\n}\n")}
	for said, want := range map[string]string{
		"/run/casco-trial-1/c.json: cannot unmarshal number into Go struct field Config.debug of type bool":      "/etc/docker/daemon.json:2:2: /etc/docker/daemon.json: cannot unmarshal number into Go struct field Config.debug of type bool",
		"cannot unmarshal number into Go struct field Config.CommonConfig.debug of type bool":                    "/etc/docker/daemon.json:2:2: cannot unmarshal number into Go struct field Config.CommonConfig.debug of type bool",
		"json: string into Go struct field Config.CommonConfig.BridgeConfig.DefaultBridgeConfig.mtu of type int": "/etc/docker/daemon.json:3:2: json: string into Go struct field Config.CommonConfig.BridgeConfig.DefaultBridgeConfig.mtu of type int",
		"the following directives don't match any configuration option: nonesuch":                                "/etc/docker/daemon.json:3:16: the following directives don't match any configuration option: nonesuch",
		"the following directives don't match any configuration option: elsewhere":                               "the following directives don't match any configuration option: elsewhere",
	} {
		if got := placed(errors.New(said), file); got.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", said, got, want)
		}
	}
}
