// Package linux_arm64 holds libsigward.a for linux/arm64. It is a package so that go mod vendor
// takes it along.
package linux_arm64
