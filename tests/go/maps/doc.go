// Package maps holds no code. Its tests start real users of mapped files whose file is truncated
// under them: bbolt, SQLite in mmap mode, Go code, C threads in Go, and C programs that load Go.
// Bare they must die of it, each in its own way; warded they must live, never take a zero for data,
// and work again afterwards.
//
//	go test ./...        everything; needs the archive beside ../../../go (make archive), libsqlite3
//	SIGWARD_BUILDS=bare  only what happens without sigward; needs nothing but Go, cc, libsqlite3
//	SIGWARD_GO_VERSIONS="1.21.13 1.27.4"   the versions that TestGoVersions takes
//
// Each program of cmd is built twice, with the tag warded and without. Each run is a process of its
// own, started with every signal at its default.
package maps
