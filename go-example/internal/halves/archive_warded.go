//go:build !bare

package halves

// #cgo linux,amd64 LDFLAGS: ${SRCDIR}/../../lib/linux_amd64/libhalves.a -lm
// #cgo linux,arm64 LDFLAGS: ${SRCDIR}/../../lib/linux_arm64/libhalves.a -lm
import "C"

import _ "github.com/sigward/sigward/go" // the Rust half calls its C functions
