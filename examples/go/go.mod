module github.com/sigward/sigward/examples/go

go 1.21

require github.com/sigward/sigward/go v0.0.0

replace github.com/sigward/sigward/go => ../../go
