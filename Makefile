# sigward: `make demo` shows it, `make test` proves it, `make help` lists the rest.

SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
GO      ?= go
CC      ?= cc

arch    := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
target  := $(or $(CARGO_TARGET_DIR),target)
archive := go/lib/linux_$(arch)/libsigward.a
sources := $(shell find src capi -name '*.rs') build.rs Cargo.toml capi/Cargo.toml Cargo.lock

.PHONY: help
help:
	@echo 'make demo      build all, run the real Go service bare and warded, show both as a table'
	@echo 'make test      run every test'
	@echo 'make bench     one table of ratios against peers measured in the same run'
	@echo 'make install   header, libsigward.a, libsigward.so, sigward.pc under PREFIX (now $(PREFIX))'
	@echo 'make archive   the isolated archive that the Go package links'
	@echo 'make header    make include/sigward.h anew from src/ffi'
	@echo 'make lint      formatters and linters of all three languages'
	@echo 'make targets   compile for the systems that are not at hand; run the tests on aarch64 in an emulator'

# ---- what is needed --------------------------------------------------------------------------------

.PHONY: tools
tools:
	@scripts/setup tools

# ---- libraries -------------------------------------------------------------------------------------

$(target)/release/libsigward.a: $(sources)
	$(CARGO) build --release -p sigward-capi
	@touch $@

.PHONY: archive
archive: $(archive)
$(archive): $(target)/release/libsigward.a scripts/isolate-archive
	scripts/isolate-archive $< $@ 'sigward_*'
	@echo '/* Beside libsigward.a: tells the Go package that the archive is here. */' > $(@D)/archive.h

.PHONY: header
header:
	$(CARGO) build --features header,capi,early
	cp "$$(ls -t $(target)/debug/build/sigward-*/out/sigward.h | head -1)" include/sigward.h
	cp include/sigward.h go/sigward.h
