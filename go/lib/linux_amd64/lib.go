// Package linux_amd64 holds libsigward.a for linux/amd64. It is a package so that go mod vendor
// takes it along.
package linux_amd64
