//go:build cgo && !sigward_external

package sigward

// #cgo LDFLAGS: ${SRCDIR}/lib/linux_amd64/libsigward.a
// #if !__has_include("lib/linux_amd64/archive.h")
// #error "this copy of sigward has no libsigward.a for linux/amd64. Released versions have one:\
// go get github.com/sigward/sigward/go@latest. In a clone: make archive. Without: CGO_ENABLED=0,\
// which guards Go's own code only."
// #endif
import "C"

import _ "github.com/sigward/sigward/go/lib/linux_amd64" // go mod vendor keeps what is imported
