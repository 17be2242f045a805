//go:build library

package main

import "C"

//export app_run
func app_run() { run() }

// Run is what a host looks up in the plug-in.
func Run() { run() }

func main() {}
