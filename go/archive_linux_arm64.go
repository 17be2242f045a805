//go:build cgo && !sigward_external

package sigward

// #cgo LDFLAGS: ${SRCDIR}/lib/linux_arm64/libsigward.a
// #if !__has_include("lib/linux_arm64/archive.h")
// #error "libsigward.a for linux/arm64 is missing: run 'make archive' in the root of the sigward repository"
// #endif
import "C"

import _ "github.com/sigward/sigward/go/lib/linux_arm64" // go mod vendor keeps what is imported
