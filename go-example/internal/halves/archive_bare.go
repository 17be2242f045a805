//go:build bare

package halves

// #cgo linux,amd64 LDFLAGS: ${SRCDIR}/../../lib/linux_amd64/libhalves-bare.a -lm
// #cgo linux,arm64 LDFLAGS: ${SRCDIR}/../../lib/linux_arm64/libhalves-bare.a -lm
import "C"
