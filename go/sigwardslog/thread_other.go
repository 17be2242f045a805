//go:build !linux

package sigwardslog

// There are no events, and so nobody asks.
func threadID() int { return -1 }
