package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sigward/sigward/go-example/internal/geoip"
)

// An updater brings one generation of the GeoIP database after the other to where the service has
// it mapped.
type updater struct {
	live        string   // what the service maps
	generations []string // files of generation 1, 2, 3
	updates     int
}

// WriteGenerations writes three generations to the folder, 20 to 27 MB each, and returns their
// paths: Options want them.
func WriteGenerations(folder string) (paths []string, err error) {
	results := make(chan error)
	for n := 0; n < 3; n++ {
		generation := uint32(n + 1)
		path := filepath.Join(folder, fmt.Sprintf("generation-%d.mmdb", generation))
		paths = append(paths, path)
		go func() { results <- geoip.Write(path, generation) }()
	}
	for range paths {
		err = errors.Join(err, <-results)
	}
	return paths, err
}

// newUpdater puts the first generation in place.
func newUpdater(folder string, generations []string) (*updater, error) {
	u := &updater{live: filepath.Join(folder, "live.mmdb"), generations: generations}
	if len(generations) != 3 {
		return nil, errors.New("Options.Generations: WriteGenerations makes them")
	}
	return u, replace(generations[0], u.live)
}

// generation is the one that is in place, or on its way there.
func (u *updater) generation() uint32 { return uint32(u.updates%len(u.generations)) + 1 }

// next is the file that comes next.
func (u *updater) next() (source string) {
	u.updates++
	return u.generations[u.generation()-1]
}

// overwrite writes the next generation into the file that is mapped, in one of the ways in which
// that is done.
func (u *updater) overwrite(ctx context.Context, l *lookups) error {
	source := u.next()
	switch u.updates % 4 {
	case 1:
		return exec.CommandContext(ctx, "cp", source, u.live).Run()
	case 2: // as cp, over a slow network
		return copySlowly(source, u.live)
	case 3: // while nobody looks, and quickly: no fault tells that the file was cut and grew again
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		l.asking.Lock()
		defer l.asking.Unlock()
		return os.WriteFile(u.live, content, 0)
	// First its end is lost, where there are records and no tree: zeros that look like data.
	default:
		status, err := os.Stat(u.live)
		if err != nil {
			return err
		}
		if err := os.Truncate(u.live, status.Size()*3/4); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
		return copySlowly(source, u.live)
	}
}

// replace puts the next generation in the place of the file that is mapped.
func (u *updater) replace(context.Context, *lookups) error { return replace(u.next(), u.live) }

// copySlowly opens the target with O_TRUNC and writes it piece by piece, as over a network.
func copySlowly(source, target string) (err error) {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for piece := 1 << 20; len(content) > 0; content = content[piece:] {
		piece = min(piece, len(content))
		if _, err := file.Write(content[:piece]); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// replace writes beside the target, to the disk, and renames: whoever has the old file mapped keeps
// it.
func replace(source, target string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	beside, err := os.CreateTemp(filepath.Dir(target), ".new-")
	if err != nil {
		return err
	}
	_, err = io.Copy(beside, from)
	if err = errors.Join(err, beside.Sync(), beside.Close()); err != nil {
		return err
	}
	return os.Rename(beside.Name(), target)
}
