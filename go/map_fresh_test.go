//go:build unix

package sigward

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestMapFindsALossBeforeItIsMet(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	verified, populated := open(t, path, Options{}), open(t, path, Options{})
	if err := errors.Join(verified.Verify(), populated.Populate(), populated.Flush()); err != nil {
		t.Fatal(err)
	}
	truncate(t, path, page)
	if e := lost(t, verified.Verify(), CauseTruncated, page); e.LenNow != page || e.Op != "verify" {
		t.Errorf("%+v", e)
	}
	if e := lost(t, populated.Populate(), CauseTruncated, page); e.LenNow != page ||
		e.Op != "populate" {
		t.Errorf("%+v", e)
	}
}

func TestMapVerifiesItsName(t *testing.T) {
	for _, options := range []Options{{}, {Strict: true}, {NoDescriptor: true}, {Writable: true}} {
		path := file(t, pattern(page, 0))
		m := open(t, path, options)
		if err := m.Verify(); err != nil {
			t.Errorf("%+v: %v", options, err)
		}
		replace(t, path, pattern(page, 1))
		if err := m.Verify(); !errors.Is(err, ErrStale) || errors.Is(err, ErrLost) {
			t.Errorf("%+v, replaced: %v", options, err)
		}
		one := make([]byte, 1)
		if _, err := m.ReadAt(one, 0); errors.Is(err, ErrStale) != options.Strict ||
			one[0] != pattern(1, 0)[0] {
			t.Errorf("%+v, replaced: read %v", options, err)
		}
		if err := m.Refresh(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.ReadAt(one, 0); err != nil || one[0] != pattern(1, 1)[0] ||
			m.Verify() != nil {
			t.Errorf("%+v, after Refresh: %v, %v", options, err, m.Verify())
		}
		os.Remove(path)
		if err := m.Verify(); !errors.Is(err, ErrStale) {
			t.Errorf("%+v, removed: %v", options, err)
		}
		if err := m.Refresh(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v, removed: refresh %v", options, err)
		}
		if !options.Strict {
			if _, err := m.ReadAt(one, 0); err != nil || one[0] != pattern(1, 1)[0] {
				t.Errorf("%+v: the map must stay when Refresh fails: %v", options, err)
			}
		}
	}
}

// A renamed folder leaves the file's own times alone.
func TestMapVerifiesItsFolder(t *testing.T) {
	for _, options := range []Options{{}, {Strict: true}, {NoDescriptor: true}} {
		folder := t.TempDir() + "/folder"
		path := folder + "/data"
		renew := func(version byte) {
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, path, pattern(page, version))
		}
		renew(0)
		m := open(t, path, options)
		if err := os.Rename(folder, folder+".old"); err != nil {
			t.Fatal(err)
		}
		renew(1)
		one := make([]byte, 1)
		if _, err := m.ReadAt(one, 0); err != nil || one[0] != pattern(1, 0)[0] {
			t.Errorf("%+v: %v", options, err)
		}
		if err := m.Verify(); !errors.Is(err, ErrStale) {
			t.Errorf("%+v: %v", options, err)
		}
		if err := m.Refresh(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.ReadAt(one, 0); err != nil || one[0] != pattern(1, 1)[0] {
			t.Errorf("%+v, after Refresh: %v", options, err)
		}
	}
}

func TestStrictMapSeesAnOverwrittenFile(t *testing.T) {
	old, fresh := pattern(4*page, 0), pattern(4*page, 1)
	path := file(t, old)
	strict, loose := open(t, path, Options{Strict: true}), open(t, path, Options{})
	buffer := make([]byte, page)
	if _, err := strict.ReadAt(buffer, 0); err != nil {
		t.Fatal(err)
	}
	backdate(t, path)
	if err := strict.Refresh(); err != nil {
		t.Fatal(err)
	}
	write(t, path, fresh) // truncated and grown again with nobody looking: no fault
	if n, err := loose.ReadAt(buffer, page); n != page || err != nil ||
		!bytes.Equal(buffer, fresh[page:2*page]) {
		t.Errorf("this is what Strict is for: %d, %v", n, err)
	}
	n, err := strict.ReadAt(buffer, page)
	if n != 0 || !errors.Is(err, ErrStale) || !errors.Is(err, syscall.ESTALE) ||
		errors.Is(err, ErrLost) {
		t.Errorf("%d, %v", n, err)
	}
	mine := errors.New("mine")
	err = strict.Do(func(data []byte) error {
		if !bytes.Equal(data, fresh) {
			t.Error("not the fresh bytes")
		}
		return mine
	})
	if !errors.Is(err, ErrStale) || !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	if err := strict.Err(); !errors.Is(err, ErrStale) {
		t.Errorf("%v", err)
	}
	if err := strict.Refresh(); err != nil {
		t.Fatal(err)
	}
	if n, err := strict.ReadAt(buffer, page); n != page || err != nil ||
		!bytes.Equal(buffer, fresh[page:2*page]) {
		t.Errorf("after Refresh: %d, %v", n, err)
	}
}

// backdate waits until a change made now has another time than the file.
func backdate(t *testing.T, path string) {
	t.Helper()
	probe := path + ".probe"
	for {
		write(t, probe, nil)
		var now, then syscall.Stat_t
		if err := errors.Join(syscall.Stat(probe, &now), syscall.Stat(path, &then)); err != nil {
			t.Fatal(err)
		}
		nowS, nowN := changeTime(&now)
		if thenS, thenN := changeTime(&then); nowS != thenS || nowN != thenN {
			return
		}
	}
}

func TestMapCheck(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	m := open(t, path, Options{})
	old := m.Bytes()
	err := errors.Join(m.Check(old), m.Check(old[page:2*page]), m.Check(nil), m.Check(old[:0]))
	if err != nil {
		t.Error(err)
	}
	if err := m.Check(make([]byte, 1)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("of something else: %v", err)
	}
	truncate(t, path, page)
	m.ReadAt(make([]byte, 4*page), 0)
	replace(t, path, pattern(4*page, 1))
	if err := m.Refresh(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Err(), m.Check(m.Bytes()), m.Check(old[:page])); err != nil {
		t.Errorf("after Refresh: %v", err)
	}
	lost(t, m.Check(old), CauseTruncated, page)
	lost(t, m.Check(old[page:page+1]), CauseTruncated, page)
}
