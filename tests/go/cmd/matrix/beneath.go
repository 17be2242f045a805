//go:build beneath

package main

// The archive without the Go package: the constructor's seat beneath Go is all there is.

// #cgo LDFLAGS: ${SRCDIR}/../../../../go/lib/linux_amd64/libsigward.a -lm
// const char *sigward_version(void);
import "C"

func init() { C.sigward_version() }
