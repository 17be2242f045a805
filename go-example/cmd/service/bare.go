//go:build bare

// The bare build: the same service without sigward. Nothing here refers to it, so nothing of it is linked.

package main

import (
	"io"
	"log/slog"
)

func watch(*slog.Logger) (stop func()) { return func() {} }

func writeSignalMetrics(io.Writer) {}
