package bbolt

import (
	"sync"

	sigward "github.com/sigward/sigward/go"
)

// guarded has what guards the map of each open database: bbolt maps more than the file has and maps
// anew as it grows, so its own maps are looked after rather than replaced.
var guarded sync.Map

func mmap(db *DB, size int) error {
	if err := mmapBare(db, size); err != nil {
		return err
	}
	adopted, err := sigward.AdoptFile(db.path)
	if err != nil {
		return err
	}
	guarded.Store(db, adopted)
	return nil
}

func munmap(db *DB) error {
	if adopted, found := guarded.LoadAndDelete(db); found {
		if err := adopted.(*sigward.Adopted).Close(); err != nil {
			return err
		}
	}
	return munmapBare(db)
}
