// Command client is a day of the Go client. What it prints is compared.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// must prints what failed, and goes on no further.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := must(client.New(client.FromEnv))
	fmt.Println(must(c.Ping(ctx, client.PingOptions{})).APIVersion, must(c.Info(ctx, client.InfoOptions{})).Info.Driver)

	must(c.VolumeCreate(ctx, client.VolumeCreateOptions{Name: "go", Labels: map[string]string{"a": "b"}}))
	must(c.NetworkCreate(ctx, "go", client.NetworkCreateOptions{
		Driver: "bridge", Labels: map[string]string{"a": "b"}, IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("10.79.0.0/24")}}},
	}))
	pids := int64(50)
	made := must(c.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "go",
		Config: &container.Config{
			Image: "busy", Cmd: []string{"sh", "-c", "echo up; echo err >&2; while :; do sleep 0.2; done"}, Env: []string{"A=<&>"}, Labels: map[string]string{"x": "y"},
			ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}}, Healthcheck: &container.HealthConfig{Test: []string{"CMD", "true"}, Interval: time.Second},
		},
		HostConfig: &container.HostConfig{
			Binds: []string{"go:/v"}, PortBindings: network.PortMap{network.MustParsePort("80/tcp"): {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "7095"}}},
			Resources: container.Resources{Memory: 64 << 20, PidsLimit: &pids}, CapDrop: []string{"NET_RAW"}, SecurityOpt: []string{"no-new-privileges"},
		},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"go": {Aliases: []string{"alias"}}}},
	}))
	started := time.Now()
	must(c.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}))

	logs := must(c.ContainerLogs(ctx, made.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: true}))
	var out, errs bytes.Buffer
	go func() { time.Sleep(2 * time.Second); logs.Close() }()
	stdcopy.StdCopy(&out, &errs, logs)
	fmt.Printf("%q %q\n", out.String(), errs.String())

	in := must(c.ExecCreate(ctx, made.ID, client.ExecCreateOptions{Cmd: []string{"sh", "-c", "cat; echo end >&2; exit 3"}, AttachStdin: true, AttachStdout: true, AttachStderr: true}))
	stream := must(c.ExecAttach(ctx, in.ID, client.ExecAttachOptions{}))
	go func() {
		io.Copy(stream.Conn, strings.NewReader(strings.Repeat("0123456789abcde\n", 1<<17)))
		stream.CloseWrite()
	}()
	out.Reset()
	errs.Reset()
	must(stdcopy.StdCopy(&out, &errs, stream.Reader))
	stream.Close()
	fmt.Println(out.Len(), errs.String(), must(c.ExecInspect(ctx, in.ID, client.ExecInspectOptions{})).ExitCode)

	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	w.WriteHeader(&tar.Header{Name: "sent", Mode: 0o644, Size: 4})
	w.Write([]byte("sent"))
	w.Close()
	must(c.CopyToContainer(ctx, made.ID, client.CopyToContainerOptions{DestinationPath: "/tmp", Content: &archive}))
	got := must(c.CopyFromContainer(ctx, made.ID, client.CopyFromContainerOptions{SourcePath: "/tmp/sent"}))
	r := tar.NewReader(got.Content)
	must(r.Next())
	fmt.Printf("%s %d %q\n", got.Stat.Name, got.Stat.Size, must(io.ReadAll(r)))
	got.Content.Close()

	must(c.ContainerUpdate(ctx, made.ID, client.ContainerUpdateOptions{Resources: &container.Resources{Memory: 80 << 20, MemorySwap: 160 << 20}}))
	must(c.ContainerRename(ctx, made.ID, client.ContainerRenameOptions{NewName: "go2"}))
	fmt.Println(len(must(c.ContainerTop(ctx, made.ID, client.ContainerTopOptions{})).Processes) > 0)
	i := must(c.ContainerInspect(ctx, made.ID, client.ContainerInspectOptions{})).Container
	fmt.Println(i.Name, i.HostConfig.Memory, i.HostConfig.PortBindings, i.Config.Env, i.Config.Labels)
	for _, one := range must(c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", "x=y")})).Items {
		fmt.Println(one.Names, one.Image, one.State)
	}

	must(c.ContainerCommit(ctx, made.ID, client.ContainerCommitOptions{Reference: "go-made:1", Changes: []string{"CMD [\"true\"]"}}))
	must(c.ImageTag(ctx, client.ImageTagOptions{Source: "go-made:1", Target: "go-other:2"}))
	saved := must(c.ImageSave(ctx, []string{"go-other:2"}))
	loaded := must(c.ImageLoad(ctx, saved))
	fmt.Printf("%q\n", must(io.ReadAll(loaded)))

	var file bytes.Buffer
	w = tar.NewWriter(&file)
	text := "FROM busy\nARG V\nRUN echo built $V\n"
	w.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(text))})
	w.Write([]byte(text))
	w.Close()
	v := "1"
	built := must(c.ImageBuild(ctx, &file, client.ImageBuildOptions{
		Tags: []string{"go-built"}, BuildArgs: map[string]*string{"V": &v}, Labels: map[string]string{"a": "b"}, Remove: true, NoCache: true, Memory: 64 << 20, ShmSize: 8 << 20,
	}))
	fmt.Println(strings.Contains(string(must(io.ReadAll(built.Body))), "Successfully tagged go-built"))

	waited := c.ContainerWait(ctx, made.ID, client.ContainerWaitOptions{})
	must(c.ContainerKill(ctx, made.ID, client.ContainerKillOptions{Signal: "KILL"}))
	select {
	case w := <-waited.Result:
		fmt.Println(w.StatusCode)
	case err := <-waited.Error:
		log.Fatal(err)
	}
	events := c.Events(ctx, client.EventsListOptions{
		Since: fmt.Sprint(started.Unix()), Until: fmt.Sprint(time.Now().Unix() + 1), Filters: make(client.Filters).Add("container", made.ID).Add("event", "start", "rename", "update", "kill"),
	})
	for over := false; !over; {
		select {
		case e := <-events.Messages:
			fmt.Println(e.Type, e.Action, e.Actor.Attributes["name"])
		case err := <-events.Err:
			fmt.Println(err)
			over = true
		}
	}
	must(c.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}))
	must(c.NetworkRemove(ctx, "go", client.NetworkRemoveOptions{}))
	must(c.VolumeRemove(ctx, "go", client.VolumeRemoveOptions{}))
	for _, name := range []string{"go-made:1", "go-other:2", "go-built"} {
		must(c.ImageRemove(ctx, name, client.ImageRemoveOptions{}))
	}
	_, err := c.ContainerInspect(ctx, "none", client.ContainerInspectOptions{})
	fmt.Println(err)
	if _, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{Image: "none"}); err == nil {
		os.Exit(1)
	} else {
		fmt.Println(err)
	}
}
