// Package hosts holds no code. Its tests start real Go programs with cgo, and real C programs that
// host Go, and look at who dies of SIGPIPE: bare, without sigward, and warded, with it.
//
//	go test ./...             everything; needs the archive beside ../../go (make archive)
//	go test -short ./...      fewer Go versions
//	SIGWARD_BUILDS=bare       only what Go does by itself; needs nothing but Go and cc
//	SIGWARD_GO_VERSIONS="1.25.12 1.26.11"   the versions that TestGoVersions takes
//
// Every bare death is asserted as well: when a bare program stops dying, the warded one proves
// nothing, and the test fails. Nothing is mocked. Each cell of a table is a process of its own,
// started by launch/launch.c with SIGPIPE at its default, whatever the test itself was started
// with.
package hosts
