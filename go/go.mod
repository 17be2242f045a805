module github.com/sigward/sigward/go

go 1.21
