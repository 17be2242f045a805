//go:build bare

// Command both without any sigward: its first write ends it.
package main

func main() { println(writes()) }
