//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

func testRecord(number uint64) []byte {
	record := make([]byte, 8+number*37%300)
	binary.LittleEndian.PutUint64(record, number)
	for i := 8; i < len(record); i++ {
		record[i] = byte(number*31 + uint64(i)*7)
	}
	return record
}

func openLog(t *testing.T, path string) *Log {
	t.Helper()
	l, err := OpenLogWith(path, LogOptions{Step: 4096, SlowZeros: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func appendTo(t *testing.T, l *Log, from, to uint64) {
	t.Helper()
	for ; from < to; from++ {
		if _, err := l.Append(testRecord(from)); err != nil {
			t.Fatal(from, err)
		}
	}
}

// countRecords reads all records, each of which must be as it was made.
func countRecords(t *testing.T, path string) (number uint64) {
	t.Helper()
	r, err := OpenLogReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for ; ; number++ {
		record, err := r.Next()
		if err == io.EOF {
			return number
		}
		if err != nil || !bytes.Equal(record, testRecord(number)) {
			t.Fatalf("record %d: %v %x", number, err, record)
		}
	}
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := openLog(t, path)
	if _, err := OpenLog(path); !errors.Is(err, ErrLogBusy) || !errors.Is(err, syscall.EBUSY) {
		t.Error(err)
	}
	appendTo(t, l, 0, 1000)
	durable, err := l.Flush()
	if err != nil || durable != l.End() {
		t.Error(durable, l.End(), err)
	}
	position, err := l.Append(nil)
	if err != nil {
		t.Error(err)
	}
	r, err := OpenLogReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.SeekTo(position); err != nil {
		t.Error(err)
	}
	if record, err := r.Next(); err != nil || len(record) != 0 {
		t.Error(record, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
	large := bytes.Repeat([]byte("large"), 1<<18)
	if _, err := l.Append(large); err != nil {
		t.Error(err)
	}
	if record, err := r.Next(); err != nil || !bytes.Equal(record, large) {
		t.Error(len(record), err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Append(nil); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if _, err := l.Flush(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	again := openLog(t, path)
	if found := again.Recovery(); found.Records != 1002 || found.Torn != 0 ||
		found.Durable != found.End || durable >= found.End || found.End != again.End() {
		t.Errorf("%+v, durable %d", found, durable)
	}
}

// A record that was durable and is changed is told with its place, to whoever opens or reads.
func TestLogDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := openLog(t, path)
	appendTo(t, l, 0, 2)
	position := l.End()
	appendTo(t, l, 2, 6)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole[position+1] ^= 1
	if err := os.WriteFile(path, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	var damage *LogError
	if _, err := OpenLog(path); !errors.Is(err, ErrLogDamaged) || !errors.As(err, &damage) ||
		damage.Offset != position {
		t.Error(err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, whole) {
		t.Error("a damaged log was written to")
	}
	r, err := OpenLogReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range [2]int{} {
		if _, err := r.Next(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, ErrLogDamaged) || !errors.As(err, &damage) ||
		damage.Offset != position {
		t.Error(err)
	}
	if durable, err := r.Durable(); err != nil || durable <= position {
		t.Error(durable, err)
	}
}

func TestLogSalvaged(t *testing.T) {
	folder := t.TempDir()
	path, saved := filepath.Join(folder, "log"), filepath.Join(folder, "saved")
	l := openLog(t, path)
	appendTo(t, l, 0, 50)
	position := l.End()
	appendTo(t, l, 50, 51)
	next := l.End()
	appendTo(t, l, 51, 100)
	// As a process that was killed leaves it, and then one changed bit.
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	whole[position+20] ^= 1
	if err := os.WriteFile(path, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	var damage *LogError
	if _, err := OpenLog(path); !errors.Is(err, ErrLogDamaged) || !errors.As(err, &damage) ||
		damage.Offset != position {
		t.Error(err)
	}
	found, err := SalvageLog(path, saved)
	if err != nil || found.Sound() || found.Records != 99 || found.FirstDamage != position ||
		found.Lost != next-position {
		t.Errorf("%+v, %v", found, err)
	}
	if again, err := CheckLog(path); err != nil || again != found {
		t.Errorf("%+v, %v", again, err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, whole) {
		t.Error("a damaged log was written to")
	}
	if _, err := SalvageLog(path, saved); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	r, err := OpenLogReader(saved)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for number := uint64(0); number < 100; number++ {
		if number == 50 {
			continue
		}
		if record, err := r.Next(); err != nil || !bytes.Equal(record, testRecord(number)) {
			t.Fatal(number, err)
		}
	}
	discarding, err := OpenLogWith(path, LogOptions{DiscardAfterTorn: true})
	if err != nil || discarding.Recovery().Records != 50 {
		t.Fatal(err)
	}
	discarding.Close()
}

func TestLogMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := openLog(t, path)
	appendTo(t, l, 0, 10)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Flush(); !errors.Is(err, ErrLogMoved) {
		t.Error(err)
	}
	if _, err := l.Append(nil); !errors.Is(err, ErrLogMoved) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n := countRecords(t, path+".1"); n != 10 {
		t.Error(n)
	}
}

func TestLogOnFullDisk(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, folder string) {
		path := filepath.Join(folder, "log")
		l := openLog(t, path)
		appendTo(t, l, 0, 100)
		fillDisk(t, filepath.Join(folder, "ballast"))
		number := uint64(100)
		var err error
		for ; err == nil; number++ {
			_, err = l.Append(testRecord(number))
		}
		number--
		if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if n := countRecords(t, path); n != number {
			t.Error(n, number)
		}
		if _, err := l.Flush(); err != nil {
			t.Error(err)
		}
		os.Remove(filepath.Join(folder, "ballast"))
		appendTo(t, l, number, number+5000)
		if n := countRecords(t, path); n != number+5000 {
			t.Error(n)
		}
	})
}

func TestLogCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, size := range []int64{0, 5000} {
		os.Remove(path)
		l := openLog(t, path)
		appendTo(t, l, 0, 100)
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Flush(); !errors.Is(err, ErrTruncated) {
			t.Error(err)
		}
		if _, err := l.Append(nil); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
	}
}

func TestLogManyGoroutines(t *testing.T) {
	const writers, each = 8, 3000
	path := filepath.Join(t.TempDir(), "log")
	l := openLog(t, path)
	r, err := OpenLogReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all sync.WaitGroup
	for writer := uint64(0); writer < writers; writer++ {
		all.Add(1)
		go func(writer uint64) {
			defer all.Done()
			for i := uint64(0); i < each; i++ {
				if _, err := l.Append(testRecord(writer<<32 | i)); err != nil {
					t.Error(err)
					return
				}
				if i%1000 == 0 {
					l.Flush()
				}
			}
		}(writer)
	}
	var seen [writers]uint64
	for total, last := 0, time.Now(); total < writers*each; last = time.Now() {
		record, err := r.Next()
		for err == io.EOF && time.Since(last) < time.Minute {
			time.Sleep(time.Millisecond)
			record, err = r.Next()
		}
		if err != nil {
			t.Fatal(total, err)
		}
		number := binary.LittleEndian.Uint64(record)
		if !bytes.Equal(record, testRecord(number)) || uint32(number) != uint32(seen[number>>32]) {
			t.Fatalf("%x after %d", number, seen[number>>32])
		}
		seen[number>>32]++
		total++
	}
	all.Wait()
}

func TestLogBadInput(t *testing.T) {
	folder := t.TempDir()
	foreign := filepath.Join(folder, "foreign")
	content := bytes.Repeat([]byte("x"), 10000)
	if err := os.WriteFile(foreign, content, 0o666); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(folder, "empty")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, wanted := range map[string]error{
		foreign:             ErrNotALog,
		folder:              syscall.EISDIR,
		"/dev/null":         syscall.ENODEV,
		fifo:                syscall.ENODEV,
		folder + "/no/such": os.ErrNotExist,
	} {
		if _, err := OpenLog(path); !errors.Is(err, wanted) {
			t.Error(path, err)
		}
		if _, err := OpenLogReader(path); !errors.Is(err, wanted) {
			t.Error("reader", path, err)
		}
	}
	if _, err := OpenLogReader(empty); !errors.Is(err, errEmpty) {
		t.Error(err)
	}
	if _, err := OpenLogWith(empty, LogOptions{Capacity: -1}); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if now, _ := os.ReadFile(foreign); !bytes.Equal(now, content) {
		t.Error("somebody else's file was written to")
	}
	small, err := OpenLogWith(filepath.Join(folder, "small"), LogOptions{Capacity: 20000})
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	number := uint64(0)
	for ; err == nil; number++ {
		_, err = small.Append(testRecord(number))
	}
	if !errors.Is(err, ErrLogFull) || !errors.Is(err, syscall.EFBIG) {
		t.Error(err)
	}
	if _, err := small.Append(make([]byte, MaxRecord+1)); !errors.Is(err, syscall.EMSGSIZE) {
		t.Error(err)
	}
}

// What a process has appended is there when it is killed, and the next one goes on.
func TestLogKilled(t *testing.T) {
	if path := os.Getenv("SIGWARD_LOG_VICTIM"); path != "" {
		l := openLog(t, path)
		for number := uint64(l.Recovery().Records); ; number++ {
			if _, err := l.Append(testRecord(number)); err != nil {
				t.Fatal(err)
			}
			binary.Write(os.Stdout, binary.LittleEndian, number+1)
		}
	}
	path := filepath.Join(t.TempDir(), "log")
	for round := 0; round < 8; round++ {
		victim := exec.Command(os.Args[0], "-test.run=^TestLogKilled$")
		victim.Env = append(os.Environ(), "SIGWARD_LOG_VICTIM="+path)
		out, err := victim.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged uint64
		for i := 0; i < 1+round*37; i++ {
			if err := binary.Read(out, binary.LittleEndian, &acknowledged); err != nil {
				t.Fatal(err)
			}
		}
		victim.Process.Kill()
		for {
			var later uint64
			if binary.Read(out, binary.LittleEndian, &later) != nil {
				break
			}
			acknowledged = later
		}
		victim.Wait()
		if found := countRecords(t, path); found != acknowledged && found != acknowledged+1 {
			t.Fatal(found, acknowledged)
		}
	}
}

// The other side is the Rust crate's test of the same name, which starts this one.
func TestLogForOthers(t *testing.T) {
	path := os.Getenv("SIGWARD_LOG_SHARED")
	if path == "" {
		t.Skip("for the Rust crate's tests/log/log.rs")
	}
	before := countRecords(t, path)
	l := openLog(t, path)
	if found := l.Recovery(); uint64(found.Records) != before || found.Torn != 0 {
		t.Fatalf("%+v, %d records", found, before)
	}
	appendTo(t, l, before, before+500)
	if _, err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, before+500, before+600)
}
