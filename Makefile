# sigward: `make demo` shows it, `make test` proves it, `make help` lists the rest.

SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
DATADIR    ?= $(PREFIX)/share
DESTDIR    ?=
CARGO   ?= cargo
GO      ?= go
CC      ?= cc

arch    := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
target  := $(or $(CARGO_TARGET_DIR),target)
archive := go/lib/linux_$(arch)/libsigward.a
# Apart from the others: the archive with the constructors, and the one without that is installed.
early   := $(target)/early
plain   := $(target)/isolated/libsigward.a
sources := $(shell find src capi -name '*.rs') build.rs Cargo.toml capi/Cargo.toml Cargo.lock
command := $(target)/command/sigward
go_test := $(GO) test -count=1 -timeout 60m

.PHONY: help
help:
	@echo 'make demo      build all, run the real Go service bare and warded, show both as'
	@echo '               a table, and as pictures in go-example/bin/report.html'
	@echo 'make test      run every test'
	@echo 'make bench     one table of ratios against peers measured in the same run'
	@echo 'make install   headers, libraries, the command, manual pages, files for pkg-config and'
	@echo '               CMake under PREFIX (now $(PREFIX)); also LIBDIR, INCLUDEDIR, BINDIR,'
	@echo '               MANDIR, DATADIR, DESTDIR; make uninstall'
	@echo 'make dist      what a release consists of, in dist/; make dist-check builds it twice and'
	@echo '               compares'
	@echo 'make dist-go-check'
	@echo '               go get of it from an empty folder: every Go, build mode, compiler,'
	@echo '               processor'
	@echo 'make docker-check'
	@echo '               the images of go-example/docker, built of dist/ and run by Docker'
	@echo 'make release-tools'
	@echo '               what cargo-deny, cargo-cyclonedx, cargo-c, cargo-semver-checks and'
	@echo '               mdbook say'
	@echo 'make release-check VERSION=0.1.0'
	@echo '               what is not yet as that release wants it'
	@echo 'make release-tag VERSION=0.1.0'
	@echo '               the tags of what is in dist/; that of the Go module has the archives'
	@echo 'make archive   the isolated archive that the Go package links'
	@echo 'make header    make the headers of include/ anew from src/ffi'
	@echo 'make soak      MINUTES=60: the tests for rare orders of events, again and again'
	@echo 'make soak-watch'
	@echo '               a thousand watchers that come, go and are killed beside a storm of'
	@echo '               signals and a Go service'
	@echo 'make fuzz      SECONDS=600: the C functions in sequences of random calls, with'
	@echo '               sanitizers, and each parser'
	@echo 'make beside    ten thousand failing reservations with writers beside them, on each file'
	@echo '               system (some minutes)'
	@echo 'make power     a power failure at every write of the disk, on ext4, xfs and btrfs'
	@echo '               (some minutes)'
	@echo 'make lint      formatters and linters of all three languages, the width of lines,'
	@echo '               who imports whom'
	@echo 'make targets   compile for the systems that are not at hand and with the oldest Rust;'
	@echo '               run the tests on aarch64 in an emulator'
	@echo 'make musl      the tests that run C hosts, with hosts of musl, dynamic and static;'
	@echo '               Go programs of musl'
	@echo 'make arm64     the C hosts on an arm64 kernel in a virtual machine (half an hour)'
	@echo 'make arm64-tests'
	@echo '               the Rust and the Go tests on that kernel; KERNEL=arm64-16k or arm64-64k:'
	@echo '               other pages'
	@echo 'make kernels   the Rust tests on older kernels in a virtual machine: KERNEL=6.1, 6.12'
	@echo '               or 5.10, TESTS=short (minutes), TESTS=all (hours)'
	@echo 'make suites    tests of Go, CPython and others, bare and with the library preloaded:'
	@echo '               SUITE=name (an hour)'

# ---- what is needed ------------------------------------------------------------------------------

.PHONY: tools
tools:
	@scripts/need

# ---- libraries -----------------------------------------------------------------------------------

$(target)/release/libsigward.a: $(sources)
	$(CARGO) build --release -p sigward-capi
	@touch $@

$(plain): $(target)/release/libsigward.a scripts/isolate-archive packaging/libc.c
	scripts/isolate-archive --no-backtrace $< $@ 'sigward_*'

$(command): $(sources) $(shell find cli -name '*.rs') cli/Cargo.toml
	$(CARGO) build --profile command -p sigward-cli
	@touch $@

$(early)/release/libsigward.a: $(sources)
	$(CARGO) build --release -p sigward-capi --features early --target-dir $(early)
	@touch $@

.PHONY: archive
archive: $(archive)
$(archive): $(early)/release/libsigward.a scripts/go-archive scripts/isolate-archive \
		scripts/archive-files packaging/libc.c
	scripts/go-archive $< $@
	@scripts/archive-files $@

.PHONY: header
header:
	$(CARGO) build --all-features
	newest=$$(ls -t $(target)/debug/build/sigward-*/out/sigward_go.h | head -1); \
		cp "$$(dirname "$$newest")"/sigward*.h include/
	cp include/sigward*.h go/

# ---- install -------------------------------------------------------------------------------------

version := $(shell scripts/version)
soname  := libsigward.so.$(firstword $(subst ., ,$(version)))
places   = PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' BINDIR='$(BINDIR)' \
	MANDIR='$(MANDIR)' DATADIR='$(DATADIR)' DESTDIR='$(DESTDIR)' VERSION='$(version)' \
	SONAME='$(soname)' STATIC='$(plain)' SHARED='$(target)/release/libsigward.so' \
	COMMAND='$(command)'

.PHONY: install uninstall
install:
	@scripts/need install
	@$(MAKE) --no-print-directory $(plain) $(command)
	@$(places) packaging/install install

# Takes the same variables as `make install` had.
uninstall:
	@$(places) packaging/install uninstall

# ---- the main job --------------------------------------------------------------------------------

example := go-example/lib/linux_$(arch)/libhalves.a
halves  := $(shell find go-example/rust -path '*/target' -prune -o -type f -print 2>/dev/null)
built   := $(or $(CARGO_TARGET_DIR),go-example/rust/target)/release/libhalves.a
$(example): $(halves) scripts/isolate-archive
	$(CARGO) build --release --locked --manifest-path go-example/rust/Cargo.toml
	scripts/isolate-archive $(built) $@ 'halves_*'

# The other after the one: cargo puts both in the same place.
$(example:.a=-bare.a): $(example)
	$(CARGO) build --release --locked --no-default-features \
		--manifest-path go-example/rust/Cargo.toml
	scripts/isolate-archive $(built) $@ 'halves_*'

.PHONY: example
example: $(archive) $(example) $(example:.a=-bare.a) $(command)
	@rm -rf go-example/bin # Go does not notice that an archive has changed
	cd go-example && $(GO) build -tags bare -o bin/service-bare ./cmd/service
	cd go-example && $(GO) build -o bin/service-warded ./cmd/service
	cd go-example && $(GO) build -o bin/collector ./cmd/collector
	cd go-example && $(GO) build -o bin/demo ./cmd/demo
	cp $(command) go-example/bin/sigward

.PHONY: demo
demo: tools
	@echo 'building: the library, the command, the Rust half, the Go service bare and warded' \
		'(minutes the first time)' >&2
	@$(MAKE) --no-print-directory example
	@go-example/bin/demo

# ---- tests ---------------------------------------------------------------------------------------

.PHONY: test
test: tools test-rust test-model test-archive test-go test-hosts test-reexport test-signals \
	test-install test-example
	@echo 'all tests passed'

.PHONY: test-rust
test-rust: $(archive)
	$(CARGO) test --workspace --all-features

.PHONY: test-model
test-model:
	RUSTFLAGS='--cfg sigward_loom' $(CARGO) test --lib --target-dir $(target)/model model

.PHONY: test-archive
test-archive: $(archive) $(plain)
	scripts/check-archive $(archive)
	CONSTRUCTORS=no scripts/check-archive $(plain)

.PHONY: test-go
test-go: $(archive)
	cd go && $(GO) vet ./... && $(go_test) ./...
	cd go && $(go_test) -race . ./sigwardslog
	cd go && CGO_ENABLED=0 $(go_test) .
	cd go/sigwardprom && $(GO) vet ./... && $(go_test) -race .
	cd go/sigwardprom && CGO_ENABLED=0 $(go_test) .

.PHONY: test-hosts
test-hosts: $(archive)
	cd tests/go && $(GO) vet ./... && $(go_test) ./...
	cd tests/go/maps && $(GO) vet -tags libsqlite3 ./... && $(GO) vet -tags libsqlite3,warded ./...
	cd tests/go/maps && $(go_test) ./...

.PHONY: test-reexport
test-reexport:
	tests/reexport/run local go1.26.11 go1.27.4

.PHONY: test-signals
test-signals:
	tests/signals/run

.PHONY: test-install
test-install: $(archive)
	tests/install/c
	tests/install/go
	tests/install/go-tag
	tests/install/rust
	tests/install/containers
	tests/install/debian

.PHONY: test-example
test-example: example
	cd go-example && $(GO) vet ./... && $(GO) vet -tags bare ./... && $(go_test) ./...

.PHONY: targets
targets:
	scripts/setup all
	scripts/check-msrv
	scripts/check-targets
	scripts/check-go-targets
	scripts/test-aarch64
	scripts/test-aarch64-hosts
	scripts/test-aarch64-musl

# Not part of `make test`: the other C library.
.PHONY: musl
musl: $(archive) $(plain) $(example) $(example:.a=-bare.a) $(command)
	scripts/test-musl

# Nor what an emulator of programs leaves out.
.PHONY: arm64
arm64: $(plain)
	scripts/setup aarch64
	scripts/test-arm64-kernel

.PHONY: arm64-tests
arm64-tests:
	scripts/setup aarch64
	scripts/test-arm64-tests

# Other projects' own tests, bare and with the library inside (an hour; SUITE=name for one).
.PHONY: suites
suites: $(archive)
	tests/suites/run $(SUITE)

# Tests on Debian's older kernels, emulated (KERNEL=6.1, 6.12, 5.10; TESTS=short, 'rows log', all).
.PHONY: kernels
kernels:
	tests/kernels/run $(TESTS)

# ---- releases ------------------------------------------------------------------------------------

.PHONY: dist dist-check release-check release-tag
dist:
	scripts/dist

dist-check:
	scripts/dist-check

# Of what `make dist` has made: every Go, build mode, compiler and processor (minutes).
.PHONY: dist-go-check
dist-go-check:
	SIGWARD_REQUIRE_ALL=1 tests/install/go --long dist/goproxy

# Of what `make dist` has made: Docker builds the images and runs them (minutes; root).
.PHONY: docker-check
docker-check:
	tests/install/docker dist

.PHONY: release-tools
release-tools:
	scripts/release-tools

# VERSION=0.1.0: what is not yet as that release wants it.
release-check:
	scripts/release-check $(VERSION)

# VERSION=0.1.0: the tags of what `make dist` has made; the Go module's has the archives.
release-tag:
	scripts/release-tag $(VERSION)

.PHONY: go-targets
go-targets:
	scripts/check-go-targets all

.PHONY: soak
soak: tools $(archive)
	scripts/soak $(or $(MINUTES),60)

.PHONY: soak-watch
soak-watch: tools
	SIGWARD_WATCHERS=1000 $(CARGO) test -p sigward-cli --test watch_load -- \
		--nocapture --test-threads=1

.PHONY: fuzz
fuzz:
	scripts/fuzz $(or $(SECONDS),600) $(SEED)

.PHONY: beside
beside: tools $(archive)
	SIGWARD_FAILURES=10000 $(CARGO) test --all-features --test file_beside -- --nocapture

.PHONY: power
power: tools $(archive)
	SIGWARD_POWER=3 $(CARGO) test --all-features --test power -- --nocapture

.PHONY: lint
lint: $(archive)
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	$(CARGO) clippy -p sigward --lib -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --no-deps --all-features -p sigward
	test -z "$$(gofmt -l go go-example tests benches examples)"
	scripts/check-width
	scripts/check-directions
	scripts/check-links
	scripts/notice --check

.PHONY: bench
bench: tools $(archive) $(plain) $(command)
	benches/run

.PHONY: clean
clean:
	$(CARGO) clean
	rm -rf go/lib/*/libsigward.a go/lib/*/archive.h go/lib/*/archive.go
	rm -rf go-example/bin go-example/lib tests/reexport/lib
