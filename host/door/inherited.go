package door

import (
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"casco/lang"
)

// Inherited returns the listeners that systemd, or a door that hands over to its
// successor, left in this process: LISTEN_FDS, sd_listen_fds(3). It has none if
// there are none. The variables are taken out of the environment.
func Inherited() ([]net.Listener, error) {
	ls, err := activation.Listeners()
	if err != nil {
		return nil, err
	}
	for i, l := range ls {
		if l == nil {
			return nil, lang.Errorf(lang.Text{
				En: "descriptor %d, which this process was given, is no socket that listens",
				Es: "el descriptor %d, que recibió este proceso, no es un socket que escuche",
			}, i+3)
		}
	}
	return ls, nil
}
