//go:build !amd64 && !arm64

package order

// LoadLoad does nothing: the library's handler does not exist here, and nobody else changes pages.
func LoadLoad() {}

// StoreLoad does nothing, for the same reason.
func StoreLoad() {}
