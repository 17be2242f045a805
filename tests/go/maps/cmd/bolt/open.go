package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sigward/sigward/tests/go/maps/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// open loses all but the meta pages of a closed database before bbolt opens it. bbolt maps the file
// in Open and reads its list of free pages there, so the fault is in a map that nobody outside has
// seen yet.
func open(folder string) error {
	path := filepath.Join(folder, "db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	kept := 2 * int64(db.Info().PageSize)
	if err := errors.Join(fill(db, 0, keys), db.Close()); err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	g, err := guard.Adopt(path)
	if err != nil {
		return err
	}
	if err := os.Truncate(path, kept); err != nil {
		return err
	}
	if err := opening(path); err == nil { // here the bare program dies
		return errors.New("bbolt took zeros for its list of free pages")
	}
	if err := guard.Truncated(g, kept, kept); err != nil {
		return err
	}
	// The Open that has panicked keeps its lock of the old file.
	if err := g.Close(); err != nil {
		return err
	}
	return openedAgain(path, content, "lost while it was opened, opened again")
}

// opening is what bbolt says, by an error or a panic.
func opening(path string) (err error) {
	defer func() {
		if said := recover(); said != nil {
			err = fmt.Errorf("%v", said)
		}
	}()
	// A mapping as long as the file had been: of a short one bbolt runs over the end, bare and
	// warded.
	db, err := bolt.Open(path, 0o600, &bolt.Options{InitialMmapSize: 64 << 20})
	if err == nil {
		err = db.Close()
	}
	return err
}
