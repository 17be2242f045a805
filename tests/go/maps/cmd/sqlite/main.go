// Sqlite opens an SQLite database in mmap mode and truncates its file under it.
//
//	sqlite FOLDER WHEN
//
// WHEN is "during": in the middle of the rows of a SELECT the file loses all but some pages. Or
// "between": before the next SELECT it loses everything. Every row can be judged: its text follows
// from its number. Built with the tag warded the program adopts the map that SQLite made, and
// differs in nothing else.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/mattn/go-sqlite3"
	"github.com/sigward/sigward/tests/go/maps/internal/guard"
)

const (
	rows = 8000
	kept = 16 << 10 // bytes that stay: the schema and the first pages
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sqlite:", err)
		os.Exit(3)
	}
}

func run(folder, when string) error {
	path := filepath.Join(folder, "db")
	if err := create(path); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	g, err := guard.Adopt(path) // before SQLite has mapped anything
	if err != nil {
		return err
	}
	db, err := open(path)
	if err != nil {
		return err
	}
	if err := expect(read(db, g, nil), tally{right: rows}); err != nil {
		return fmt.Errorf("intact: %w", err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}

	midst := func() error { return os.Truncate(path, kept) }
	if when == "between" {
		if err := os.Truncate(path, 0); err != nil {
			return err
		}
		midst = nil
	}
	t := read(db, g, midst) // here the bare program dies
	if t.wrong != 0 || t.right >= rows || t.lost == 0 && t.failed == nil {
		return fmt.Errorf("truncated: %+v", t)
	}
	if err := guard.Truncated(g, 0, kept); err != nil {
		return err
	}

	if err := putBack(path, content); err != nil {
		return err
	}
	if err := g.Heal(); err != nil {
		return err
	}
	// The connection has seen an empty database, and goes on believing it, mapped or not.
	if when == "between" {
		if err := db.Close(); err != nil {
			return err
		}
		if db, err = open(path); err != nil {
			return err
		}
	}
	if err := expect(read(db, g, nil), tally{right: rows}); err != nil {
		return fmt.Errorf("healed: %w", err)
	}
	fmt.Print("lost, healed, ")
	if when == "between" {
		err = again(db, g, path)
	} else {
		err = writeOn(db)
	}
	return errors.Join(err, g.Close(), db.Close())
}

// writeOn writes with the connection that has seen the loss. When the file grows SQLite does not
// map it any more: its mremap(2) does not take a map in two parts, the healed one being the second.
func writeOn(db *sql.DB) error {
	if _, err := db.Exec(`update t set text = text where number % 7 = 0`); err != nil {
		return fmt.Errorf("write on: %w", err)
	}
	if err := fill(db, rows, 2*rows); err != nil {
		return fmt.Errorf("grow: %w", err)
	}
	if err := integrity(db); err != nil {
		return err
	}
	if err := expect(read(db, guard.Nothing{}, nil), tally{right: 2 * rows}); err != nil {
		return fmt.Errorf("grown: %w", err)
	}
	fmt.Println("written on")
	return nil
}

func integrity(db *sql.DB) error {
	var verdict string
	if err := db.QueryRow(`pragma integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("integrity check: %q %v", verdict, err)
	}
	return nil
}

// again lets the database of a new connection grow until SQLite has made its map longer, and takes
// its end once more.
func again(db *sql.DB, g guard.Guard, path string) error {
	if err := fill(db, rows, 2*rows); err != nil {
		return fmt.Errorf("grow: %w", err)
	}
	if err := integrity(db); err != nil {
		return err
	}
	if err := g.Err(); err != nil {
		return err
	}
	t := read(db, g, func() error { return os.Truncate(path, kept) })
	if t.wrong != 0 || t.right >= 2*rows {
		return fmt.Errorf("truncated again: %+v", t)
	}
	fmt.Println("grown, lost again")
	return guard.Truncated(g, 0, kept)
}

func text(number int) string { return strings.Repeat(fmt.Sprintf("text of %d.", number), 64) }

// open wants one connection: the map is the connection's.
func open(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	var granted int
	if err := db.QueryRow(`pragma mmap_size = 268435456`).Scan(&granted); err != nil ||
		granted == 0 {
		return nil, fmt.Errorf("this SQLite does not map: %d %v", granted, err)
	}
	return db, nil
}

func create(path string) error {
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(`create table t (number integer primary key, text text)`); err != nil {
		return err
	}
	return fill(db, 0, rows)
}

// fill inserts rows, in one transaction.
func fill(db *sql.DB, from, to int) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	insert, err := tx.Prepare(`insert into t values (?, ?)`)
	if err != nil {
		return err
	}
	for number := from; number < to; number++ {
		if _, err := insert.Exec(number, text(number)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// A tally counts rows: as they must be, known to be lost, and neither; and what SQLite failed with.
type tally struct {
	right, lost, wrong int
	failed             error
}

func expect(have, want tally) error {
	if have != want {
		return fmt.Errorf("have %+v, want %+v", have, want)
	}
	return nil
}

// read reads all rows, and lets something happen in the midst of them.
func read(db *sql.DB, g guard.Guard, midst func() error) (t tally) {
	cursor, err := db.Query(`select number, text from t order by number`)
	if err != nil {
		t.failed = err
		return t
	}
	defer cursor.Close()
	for count := 0; cursor.Next(); count++ {
		if count == 100 && midst != nil {
			if t.failed = midst(); t.failed != nil {
				return t
			}
		}
		number, content := 0, ""
		err := cursor.Scan(&number, &content)
		switch {
		case g.Err() != nil: // asked after the row was copied
			t.lost++
		case err == nil && number == count && content == text(number):
			t.right++
		default:
			t.wrong++
		}
	}
	t.failed = cursor.Err()
	return t
}

func putBack(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	return errors.Join(err, file.Close())
}
