# casco and nothing else: "make build", then "docker build -t casco ." or "podman build".
#
# It judges what it is given: docker run --rm -v /var/run/docker.sock:/var/run/docker.sock casco image app:1
# The rest of a host it sees only with the host's namespaces and files, and then it is better installed there.
FROM scratch
COPY bin/casco /casco
ENV CASCO_STATE=/state
VOLUME /state
USER 65534:65534
HEALTHCHECK CMD ["/casco", "--version"]
ENTRYPOINT ["/casco"]
