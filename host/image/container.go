package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"casco/loop/inventory"
)

// changedMost bounds the files of one container that are looked into.
const changedMost = 2_000

// containers completes the Container objects: of what each has written into its
// own layer, what opens a door. The list of that is at hand (Changes), so this
// costs little where little was written, and is done at every reading.
func containers(ctx context.Context, s *inventory.Snapshot) {
	buf := make([]byte, readMost)
	away := elsewhere(s)
	for _, o := range s.Of(inventory.Container) {
		if ctx.Err() != nil {
			return
		}
		found, err := changed(o, away, buf)
		if err != nil {
			if o.Unread == nil {
				o.Unread = map[string]string{}
			}
			o.Unread[inventory.ContainerAccess.Path] = err.Error()
			continue
		}
		o.Fields[inventory.ContainerAccess.Path] = found
		if o.Sources == nil {
			o.Sources = map[string]string{}
		}
		o.Sources[inventory.ContainerAccess.Path] = o.Sources[inventory.Changes.Path]
	}
}

func changed(o *inventory.Object, away bool, buf []byte) ([]any, error) {
	out := []any{}
	list, fact, ok := inventory.Changes.Of(o)
	if !ok {
		return nil, errors.New("what it changed: " + fact.Err)
	}
	if len(list) == 0 {
		return out, nil
	}
	// The reader of the engine has found the layer, and says where, or asked the
	// engine what is in it, and says that.
	upper := o.Sources[inventory.Changes.Path]
	if away || !filepath.IsAbs(upper) {
		return nil, errors.New("its own layer cannot be looked into from here")
	}
	root, err := unix.Open(upper, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: upper, Err: err}
	}
	defer unix.Close(root)
	if len(list) > changedMost {
		return nil, fmt.Errorf("it changed more than %d files", changedMost)
	}
	for _, entry := range list {
		m, _ := entry.(map[string]any)
		path, _ := m["Path"].(string)
		what, err := changedFile(root, strings.TrimPrefix(path, "/"), buf)
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if what == "" {
			continue
		}
		found := map[string]any{"Path": path, "What": what}
		if samples.MatchString(path) {
			found["Sample"] = true
		}
		out = append(out, found)
	}
	slices.SortFunc(out, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["Path"].(string), b.(map[string]any)["Path"].(string))
	})
	return out, nil
}

// changedFile looks into a file that the container may change at this moment.
// No link is followed, and nothing is opened that was not seen to be a regular
// file: a device's open(2) can have effects of its own.
func changedFile(root int, path string, buf []byte) (string, error) {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return "", nil // it went away, or a link took its place
	case err != nil:
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	most := lookedAt(path, st.Size)
	if st.Mode&unix.S_IFMT != unix.S_IFREG || most == 0 {
		return "", nil
	}
	r, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(r)
	n, err := unix.Pread(r, buf[:most], 0)
	return material(path, buf[:max(n, 0)]), err
}
