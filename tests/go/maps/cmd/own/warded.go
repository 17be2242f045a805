//go:build warded

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	sigward "github.com/sigward/sigward/go"
)

func init() {
	steps["EnsureOnTop"] = sigward.EnsureOnTop
}

func open(path string) (*sigward.Map, error) { return sigward.Open(path) }

// stillGuarded truncates the map's file and reads it, unless somebody has put SIG_DFL over us.
func stillGuarded(m *sigward.Map) error {
	defer m.Close()
	if sigward.ThreadCheck() != nil && strings.HasSuffix(os.Args[2], "late SIG_DFL") {
		return nil
	}
	return truncateAndRead(m, filepath.Join(folder, "bystander"), touch)
}

// guarded reads a map whose file was truncated.
func guarded(read func([]byte)) (string, error) {
	path := file("guarded")
	m, err := sigward.Open(path)
	if err != nil {
		return "", err
	}
	defer m.Close()
	if err := truncateAndRead(m, path, read); err != nil {
		return "", err
	}
	return "truncated", nil
}

// truncateAndRead wants an error that says what happened.
func truncateAndRead(m *sigward.Map, path string, read func([]byte)) error {
	if err := m.Do(func(data []byte) error { touch(data); return nil }); err != nil {
		return fmt.Errorf("an intact map: %w", err)
	}
	must(os.Truncate(path, 0))
	err := m.Do(func(data []byte) error { read(data); return nil })
	var lost *sigward.MapError
	if !errors.Is(err, sigward.ErrTruncated) || !errors.As(err, &lost) || lost.LenNow != 0 ||
		lost.Offset > size/2 {
		return fmt.Errorf("a truncated map: %v", err)
	}
	return nil
}
