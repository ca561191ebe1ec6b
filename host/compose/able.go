package compose

import (
	"context"
	"strings"
)

// Able returns the compose program that this hand would run for the engine at
// host, with its version: "docker compose 2.29.1". An error says that there is
// none.
func Able(ctx context.Context, host string) (string, error) {
	c, err := findCompose(ctx, host)
	if err != nil {
		return "", err
	}
	version, err := c.run(ctx, nil, "version", "--short")
	if err != nil {
		return "", err
	}
	return strings.Join(c.argv, " ") + " " + strings.TrimSpace(version), nil
}
