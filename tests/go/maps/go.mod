module github.com/sigward/sigward/tests/go/maps

go 1.21

require (
	github.com/mattn/go-sqlite3 v1.14.32
	github.com/sigward/sigward/go v0.0.0
	github.com/sigward/sigward/tests/go v0.0.0
	go.etcd.io/bbolt v1.3.10
)

require golang.org/x/sys v0.4.0 // indirect

replace (
	github.com/sigward/sigward/go => ../../../go
	github.com/sigward/sigward/tests/go => ../
)
