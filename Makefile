# casco: build, test and try it. "make setup" installs what is missing, from Debian's packages.

GO    ?= go
TOOL   = $(GO) tool -modfile=tools/go.mod
export CGO_ENABLED ?= 0

# How long one package's tests may take, and how many packages are tested at once: each may run an engine of its own.
TEST_TIMEOUT  ?= 45m
TEST_PARALLEL ?= 2
TEST_FLAGS    ?=
BENCH_FLAGS   ?=
FUZZ_TIME     ?= 3600
# Where "bench" runs: ENGINE='sid containerd' is another Debian's engine, and its store of images (scripts/engines).
ENGINE        ?=

.PHONY: build setup test engines lsm fuzz demo lint vuln bench bench-ledger bench-net bench-door bench-image clean

build:
	$(GO) build -trimpath -ldflags '-s -w' -o bin/casco ./cmd/casco
	$(GO) build -trimpath -ldflags '-s -w' -o bin/casco-verify ./cmd/casco-verify
	$(GO) build -trimpath -ldflags '-s -w' -o bin/casco-runtime ./cmd/casco-runtime

setup:
	scripts/setup

# A test that needs root and a real engine fails here, instead of being skipped, if it does not run.
test: setup
	CASCO_MUST_RUN=1 $(GO) test -timeout $(TEST_TIMEOUT) -p $(TEST_PARALLEL) $(TEST_FLAGS) ./...

# The tests that meet an engine, on the engines of newer Debians, with either store of images; a table at the end.
engines: setup
	scripts/engines test

# What needs a kernel with a security module, in guests of QEMU: lsm/README.md. LSM='apparmor selinux' chooses.
lsm:
	scripts/setup lsm
	lsm/run $(LSM)

# Every fuzz test in turn, each for its share of FUZZ_TIME seconds.
fuzz:
	scripts/fuzz $(FUZZ_TIME)

demo:
	scripts/demo

lint:
	@unformatted=$$($(TOOL) gofumpt -l .) && \
	if [ -n "$$unformatted" ]; then echo "gofumpt -w is due for:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@for f in scripts/* lsm/base lsm/init lsm/run .ci/run; do bash -n "$$f" || exit 1; done
	@$(MAKE) --no-print-directory vuln

# govulncheck asks vuln.go.dev. It ends with 3 if it found something, and with 1 if it could not look: that is said,
# and is no failure of the code.
vuln:
	@$(TOOL) govulncheck ./...; status=$$?; \
	if [ $$status -eq 1 ]; then echo "govulncheck could not run here: vulnerabilities were not looked for"; \
	elif [ $$status -ne 0 ]; then exit $$status; fi

# A full audit beside the engine's own floor; BENCH_FLAGS='-peer DIR' times a checkout of docker-bench-security too.
bench: setup
	$(if $(ENGINE),scripts/engines run $(ENGINE) --) $(GO) run ./bench $(BENCH_FLAGS)

# The ledger on this disk: one append alone, many together, and verifying CASCO_BENCH_ENTRIES (a million) entries.
bench-ledger:
	$(GO) test -run '^$$' -bench . -timeout 30m ./ledger

# What the network guard costs packets, starts and an idle host; fails where that is more than it may. Needs root.
bench-net: setup
	$(GO) test -run '^$$' -bench Host/start -benchtime 300x ./keeper
	$(if $(ENGINE),scripts/engines run $(ENGINE) --) $(GO) run ./bench -net -rounds 15

# What the door before the engine adds to requests and streams, and what memory the guard takes while one user sends all
# that a thousand connections can; fails where that is more than it may. Needs root.
bench-door: setup
	$(if $(ENGINE),scripts/engines run $(ENGINE) --) $(GO) run ./bench -door

# casco image beside reading the same archive: time cold and warm, memory; fails beyond what it may. Needs no engine.
bench-image:
	$(GO) run ./bench -image

clean:
	rm -rf bin build
