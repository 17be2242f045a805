// Bolt opens a bbolt database and truncates its file under it.
//
//	bolt FOLDER WHAT
//
// Every value can be judged: it follows from its key. WHAT is "end": all but the first pages are
// lost, each value is read again, what was cut off is put back, and the same handle goes on. Or
// "all": with its meta pages lost, bbolt panics and keeps its locks, so that the handle is of no
// more use; the file is replaced and opened anew. Or "open": the loss is met by bbolt's own Open.
//
// A program that lives says what it came through. Built with the tag warded it adopts the map that
// bbolt made, and differs in nothing else.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sigward/sigward/tests/go/maps/internal/guard"
	bolt "go.etcd.io/bbolt"
)

const keys = 6000

var bucket = []byte("bucket")

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "bolt:", err)
		os.Exit(3)
	}
}

func run(folder, what string) error {
	if what == "open" {
		return open(folder)
	}
	path := filepath.Join(folder, "db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	if err := fill(db, 0, keys); err != nil {
		return err
	}
	g, err := guard.Adopt(path)
	if err != nil {
		return err
	}
	if err := expect(read(db, g, keys), tally{right: keys}); err != nil {
		return fmt.Errorf("intact: %w", err)
	}
	if what == "all" {
		return loseAll(db, g, path)
	}
	if err := loseEnd(db, g, path); err != nil {
		return err
	}
	return andOn(db, g, path)
}

// kept is how much stays: the two meta pages and some more.
const kept = 64 << 10

// loseEnd reads what is left of a database without its end, and with its end put back.
func loseEnd(db *bolt.DB, g guard.Guard, path string) error {
	cut, err := cutOff(path, kept)
	if err != nil {
		return err
	}
	t := read(db, g, keys) // here the bare program dies
	if t.wrong != 0 || t.lost == 0 || t.right+t.lost != keys {
		return fmt.Errorf("truncated: %+v", t)
	}
	if err := guard.Truncated(g, kept, kept); err != nil {
		return err
	}
	if err := putBack(path, kept, cut); err != nil {
		return err
	}
	if err := g.Heal(); err != nil {
		return err
	}
	if err := expect(read(db, g, keys), tally{right: keys}); err != nil {
		return fmt.Errorf("healed: %w", err)
	}
	return nil
}

// loseAll meets an empty file, and opens a new one in its place.
func loseAll(db *bolt.DB, g guard.Guard, path string) error {
	content, err := cutOff(path, 0)
	if err != nil {
		return err
	}
	if get(db, 0) { // here the bare program dies
		return errors.New("a value out of nothing")
	}
	if err := guard.Truncated(g, 0, 0); err != nil {
		return err
	}
	if err := g.Close(); err != nil {
		return err
	}
	return openedAgain(path, content, "lost, opened again")
}

// openedAgain replaces the file and reads it all in a database that is opened anew.
func openedAgain(path string, content []byte, say string) error {
	fresh := path + ".new"
	if err := errors.Join(os.WriteFile(fresh, content, 0o600), os.Rename(fresh, path)); err != nil {
		return err
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	if err := expect(read(db, guard.Nothing{}, keys), tally{right: keys}); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	fmt.Println(say)
	return db.Close()
}

// andOn goes on with the healed database: it grows until bbolt maps it anew, and loses its end once
// more.
func andOn(db *bolt.DB, g guard.Guard, path string) error {
	if err := fill(db, keys, 3*keys); err != nil {
		return fmt.Errorf("write on: %w", err)
	}
	if number := g.Count(); number != 1 {
		return fmt.Errorf("%d mappings, not one", number)
	}
	if err := expect(read(db, g, 3*keys), tally{right: 3 * keys}); err != nil {
		return fmt.Errorf("grown: %w", err)
	}
	cut, err := cutOff(path, kept)
	if err != nil {
		return err
	}
	if t := read(db, g, 3*keys); t.wrong != 0 || t.lost == 0 {
		return fmt.Errorf("truncated again: %+v", t)
	}
	if err := errors.Join(putBack(path, kept, cut), db.Close(), g.Close()); err != nil {
		return err
	}
	// As a stranger would open it.
	db, err = bolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	if err := expect(read(db, guard.Nothing{}, 3*keys), tally{right: 3 * keys}); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	fmt.Println("lost, healed, written on, lost again, opened again")
	return db.Close()
}

func value(key int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("value of %d.", key)), 64) }

// name spreads neighbours over the pages.
func name(key int) []byte { return []byte(fmt.Sprintf("%08x", uint32(key)*2654435761)) }

func fill(db *bolt.DB, from, to int) error {
	return db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		for key := from; err == nil && key < to; key++ {
			err = b.Put(name(key), value(key))
		}
		return err
	})
}

// A tally counts values: as they must be, known to be lost, and neither.
type tally struct{ right, lost, wrong int }

func expect(have, want tally) error {
	if have != want {
		return fmt.Errorf("have %+v, want %+v", have, want)
	}
	return nil
}

// read gets each key in a transaction of its own.
func read(db *bolt.DB, g guard.Guard, count int) (t tally) {
	for key := 0; key < count; key++ {
		right := get(db, key)
		switch {
		case g.Err() != nil: // asked after the value was looked at
			t.lost++
		case right:
			t.right++
		default:
			t.wrong++
		}
	}
	return t
}

// get compares one value. bbolt panics when it meets a page that is none.
func get(db *bolt.DB, key int) (right bool) {
	defer func() {
		if recover() != nil {
			right = false
		}
	}()
	err := db.View(func(tx *bolt.Tx) error {
		right = bytes.Equal(tx.Bucket(bucket).Get(name(key)), value(key))
		return nil
	})
	return right && err == nil
}

// cutOff truncates the file and returns what is gone.
func cutOff(path string, kept int64) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return content[kept:], os.Truncate(path, kept)
}

func putBack(path string, kept int64, cut []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(cut, kept)
	return errors.Join(err, file.Close())
}
