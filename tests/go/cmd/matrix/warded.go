//go:build warded

package main

// The whole difference between a bare and a warded program.

import sigward "github.com/sigward/sigward/go"

func init() {
	steps["EnsureOnTop"] = sigward.EnsureOnTop
	steps["SwallowStdio"] = sigward.SwallowStdio
}
