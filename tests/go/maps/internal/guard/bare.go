//go:build !warded

package guard

// Adopt does nothing.
func Adopt(string) (Guard, error) { return Nothing{}, nil }

// Truncated cannot know.
func Truncated(Guard, int64, int64) error { return nil }
