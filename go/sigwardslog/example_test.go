package sigwardslog_test

import (
	"log/slog"
	"os"
	"time"

	"github.com/sigward/sigward/go/sigwardslog"
)

func ExampleWatch() {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	stop := sigwardslog.Watch(time.Second, logger)
	defer stop()
	// … call Rust or C through cgo, on any thread …

	// Output:
}
