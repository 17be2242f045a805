//go:build cgo && !sigward_external

package sigward

// #cgo LDFLAGS: ${SRCDIR}/lib/linux_amd64/libsigward.a
// #if !__has_include("lib/linux_amd64/archive.h")
// #error "libsigward.a for linux/amd64 is missing: run 'make archive' in the root of the sigward repository"
// #endif
import "C"

import _ "github.com/sigward/sigward/go/lib/linux_amd64" // go mod vendor keeps what is imported
