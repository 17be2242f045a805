//go:build !library && !host

package main

func main() { run() }
