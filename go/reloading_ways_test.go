//go:build linux

package sigward

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The ways in which a file gets new contents: "$1" is the file, "$2" has the new ones, beside it.
var reloadWays = []struct{ name, script string }{
	{"rename over", `mv "$2" "$1"`},
	{"cp", `cp "$2" "$1"`},
	{"cp --remove-destination", `cp --remove-destination "$2" "$1"`},
	{"install", `install -m 644 "$2" "$1"`},
	{"ln -f", `ln -f "$2" "$1"`},
	{"cat >", `cat "$2" > "$1"`},
	{"dd conv=notrunc, truncate", `exec 3<>"$1"; dd if="$2" bs=7777 conv=notrunc >&3 2>/dev/null
		truncate -s "$(stat -c %s "$2")" "$1"`},
	{"as rsync does it", `cp "$2" "$1.XqZ"; touch -r "$2" "$1.XqZ"; mv "$1.XqZ" "$1"`},
	{"as editors do it", `mv "$1" "$1.kept"; sleep 0.02; cp "$2" "$1"; rm "$1.kept"`},
	{"cut, then written slowly", `exec >"$1"; sleep 0.05; head -c 30000 "$2"; sleep 0.05
		tail -c +30001 "$2"`},
	{"renamed over while it is being written", `exec >"$1.early"; head -c 30000 "$2"
		mv "$1.early" "$1"; sleep 0.05; tail -c +30001 "$2"`},
	{"two writers by turns", `exec 3<>"$1" 4<>"$1"; head -c 30000 "$2" >&3; exec 3>&-; sleep 0.05
		head -c 30000 "$2" >&4; tail -c +30001 "$2" >&4; truncate -s "$(stat -c %s "$2")" "$1"`},
	{"through another name of the file", `ln "$1" "$1.name"; exec >"$1.name"
		head -c 30000 "$2"; sleep 0.02; tail -c +30001 "$2"; rm "$1.name"`},
	{"the link exchanged", `target="$1.target$(stat -c %s "$2")"; cp "$2" "$target"
		ln -sfn "$target" "$1"`},
	{"the link's target renamed over", `mv "$2" "$(readlink -f "$1")"`},
	{"removed, and made anew", `rm "$1"; sleep 0.02; cp "$2" "$1"`},
	{"sed -i", `cp "$2" "$1"; sed -i -e '' "$1"`},
	{"the folder renamed, another in its place", `d=$(dirname "$1"); mkdir "$d.next"
		cp "$2" "$d.next/live"; mv "$d" "$d.old"; mv "$d.next" "$d"; rm -r "$d.old"`},
	{"the folder removed and made anew", `d=$(dirname "$1"); cp "$2" "$d.new"; rm -r "$d"
		mkdir "$d"; mv "$d.new" "$1"`},
	{"the folder's folder renamed away and back", `d=$(dirname "$(dirname "$1")"); mv "$d" "$d.away"
		cp "$d.away/folder/live.new" "$d.away/folder/live"; mv "$d.away" "$d"`},
}

func shellScript(t *testing.T, script string, arguments ...string) {
	t.Helper()
	shell := exec.Command("sh", append([]string{"-ec", script, "sh"}, arguments...)...)
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, output)
	}
}

// openWhole refuses nothing, and counts halves.
func openWhole(t *testing.T, path string, o ReloadOptions) (r *Reloading[uint64], torn func() int) {
	t.Helper()
	var lock sync.Mutex
	halves := 0
	r, err := OpenReloadingWith(path, func(f *Frozen) (uint64, error) {
		data, err := f.Bytes()
		lock.Lock()
		defer lock.Unlock()
		if err == nil && wholeGeneration(data) == 0 {
			halves++
		}
		return wholeGeneration(data), err
	}, o)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r, func() int {
		lock.Lock()
		defer lock.Unlock()
		return halves
	}
}

func becomesWhole(t *testing.T, r *Reloading[uint64], torn func() int, number uint64, how string) {
	t.Helper()
	until(t, fmt.Sprint(how, number), func() bool { return r.Get().Value == number })
	if n := torn(); n > 0 {
		t.Fatalf("%s: %d halves", how, n)
	}
}

func inHalves(t *testing.T, path string, data []byte) {
	t.Helper()
	writeOver(t, path, data, len(data)/2+1, 200*time.Millisecond)
}

func TestReloadingEveryWay(t *testing.T) {
	above := filepath.Join(t.TempDir(), "above")
	live := filepath.Join(above, "folder", "live")
	must(t, os.MkdirAll(filepath.Dir(live), 0o755))
	writeFile(t, live, reloadGeneration(1))
	r, torn := openWhole(t, live, ReloadOptions{Tick: time.Hour})
	number := uint64(1)
	for _, way := range reloadWays {
		number++
		writeFile(t, live+".new", reloadGeneration(number))
		shellScript(t, way.script, live, live+".new")
		os.Remove(live + ".new")
		becomesWhole(t, r, torn, number, way.name)
		if !r.Get().Settled {
			t.Errorf("%s: not settled", way.name)
		}
	}
	// The folder and the file made anew at once after the last version was served: the folder is
	// not watched yet when its file is not there yet, and a new file has the number, the size and
	// the times of the old one. Another one has the same watches, and takes none of them with it.
	twin, halves := openWhole(t, live, ReloadOptions{Tick: time.Hour})
	for end := number + 500; number < end; {
		number++
		must(t, os.RemoveAll(filepath.Dir(live)), os.Mkdir(filepath.Dir(live), 0o755))
		writeFile(t, live, reloadGeneration(number))
		becomesWhole(t, twin, halves, number, "all anew, the twin")
		becomesWhole(t, r, torn, number, "all anew")
		must(t, twin.Close())
		twin, halves = openWhole(t, live, ReloadOptions{Tick: time.Hour})
	}
	// What was made anew while it was being watched is watched at the next look.
	until(t, "all is well", func() bool {
		s := r.Stats()
		return r.Err() == nil && s.Watching && s.WatchErr == nil && s.Settled
	})
}

// Behind the back of the mount, where neither events nor leases reach; and what is mounted over.
func TestReloadingMounts(t *testing.T) {
	if os.Getenv("SIGWARD_TEST_AGAIN") == "" {
		if os.Geteuid() != 0 {
			t.Skip("needs root")
		}
		script := `mount --make-rprivate /; mount -t tmpfs none "$SIGWARD_TEST_FOLDER"
			cd "$SIGWARD_TEST_FOLDER"; mkdir lower upper work merged; cp "$FIRST" lower/file
			mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged; exec "$@"`
		folder := t.TempDir()
		writeFile(t, filepath.Join(folder, "first"), reloadGeneration(1))
		must(t, os.Mkdir(filepath.Join(folder, "mount"), 0o755))
		again(t, func(own *exec.Cmd) {
			own.Env = append(own.Env, "SIGWARD_TEST_FOLDER="+folder+"/mount")
			own.Env = append(own.Env, "FIRST="+folder+"/first")
		}, "unshare", "--mount", "sh", "-ec", script, "sh", os.Args[0])
		return
	}
	folder := os.Getenv("SIGWARD_TEST_FOLDER")
	at := func(name string) string { return filepath.Join(folder, name) }
	merged := at("merged/file")
	ticking := ReloadOptions{Tick: 50 * time.Millisecond, Settle: 1500 * time.Millisecond}
	r, halves := openWhole(t, merged, ticking)
	number, excused := uint64(1), 0
	torn := func() int { return halves() - excused }
	// On a machine that stands still between the two halves, the first may rest for long enough to
	// be taken: then it is done again.
	untold := func(path, how string) {
		t.Helper()
		for try := 0; try < 20; try++ {
			number++
			began := time.Now()
			inHalves(t, path, reloadGeneration(number))
			took := time.Since(began)
			until(t, how, func() bool { return r.Get().Value == number })
			if torn() == 0 {
				return
			}
			if took < ticking.Settle {
				t.Fatalf("%s: %d halves, after %v", how, torn(), took)
			}
			excused = halves()
		}
		t.Fatalf("%s: the machine stands still each time", how)
	}
	untold(at("lower/file"), "the lower side")
	number++
	inHalves(t, merged, reloadGeneration(number))
	becomesWhole(t, r, torn, number, "copied up")
	untold(at("upper/file"), "the upper side")
	below := number
	number++
	writeFile(t, at("over"), reloadGeneration(number))
	shellScript(t, `mount --bind "$1" "$2"`, at("over"), merged)
	becomesWhole(t, r, torn, number, "mounted over")
	number++
	inHalves(t, at("over"), reloadGeneration(number))
	becomesWhole(t, r, torn, number, "by another name of the mount")
	shellScript(t, `umount "$1"`, merged)
	becomesWhole(t, r, torn, below, "taken away")
	must(t, r.Close())
	newsOfOneWrite(t, merged, at("upper/file"))
}

// newsOfOneWrite are not taken for those of the next. What nobody tells of has to rest for an hour.
func newsOfOneWrite(t *testing.T, merged, upper string) {
	t.Helper()
	r, torn := openWhole(t, merged, ReloadOptions{Tick: 50 * time.Millisecond, Settle: time.Hour})
	for number := uint64(100); number < 180; number++ {
		data := reloadGeneration(number)
		// Its end comes in the midst of a look, in some of the rounds.
		writeOver(t, merged, data, len(data), time.Duration(number%50)*time.Millisecond)
		becomesWhole(t, r, torn, number, "through the mount")
		writeFile(t, upper, data[:len(data)/2])
		time.Sleep(20 * time.Millisecond)
	}
	becomesWhole(t, r, torn, 179, "the last")
}

func TestReloadingNeverClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, []byte("one"))
	patient := openHourly(t, path, parseText)
	told := make(chan string, 10)
	r, err := OpenReloadingWith(path, func(f *Frozen) (string, error) {
		data, err := f.Bytes()
		return string(data), err
	}, ReloadOptions{Tick: time.Hour, WaitWriter: 200 * time.Millisecond,
		OnChange:  func(n uint64) { told <- fmt.Sprint("version ", n) },
		OnSettled: func(n uint64) { told <- fmt.Sprint("settled ", n) }})
	must(t, err)
	defer r.Close()
	tells := func(want string) {
		t.Helper()
		select {
		case have := <-told:
			if have != want {
				t.Fatalf("%s, not %s", have, want)
			}
		case <-time.After(reloadPatience):
			t.Fatalf("never: %s: %v, %+v", want, r.Err(), r.Stats())
		}
	}
	if !r.Get().Settled || !r.Stats().Settled {
		t.Error("not settled at first")
	}
	began := time.Now()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	for n, text := range []string{"half", " of it"} {
		_, err = file.WriteString(text)
		must(t, err)
		tells(fmt.Sprint("version ", n+2))
		if waited := time.Since(began); waited < 150*time.Millisecond {
			t.Error(waited)
		}
		v, s, err := r.Get(), r.Stats(), r.Err()
		if v.Settled || !strings.HasSuffix(v.Value, text) || s.Settled || err != nil {
			t.Errorf("%+v, %+v, %v", v, s, err)
		}
	}
	until(t, "patient", func() bool { return errors.Is(patient.Err(), ErrBeingWritten) })
	if patient.Get().Value != "one" {
		t.Errorf("%+v", patient.Get())
	}
	must(t, file.Close())
	tells("settled 3")
	if !r.Stats().Settled || r.Get().Number != 3 {
		t.Errorf("%+v", r.Stats())
	}
	becomes(t, patient, "half of it")
	// At once: whoever writes it may stand still for longer than is waited for him.
	writeFile(t, path+".next", []byte("two"))
	must(t, os.Rename(path+".next", path))
	tells("version 4")
	if v := r.Get(); v.Value != "two" || !v.Settled {
		t.Errorf("%+v", v)
	}
}

// No lease tells of the writer of another user's file. Events do.
func TestReloadingSlowWriterOfAnother(t *testing.T) {
	hasHalf := func(folder string, number uint64) string { return asked(folder, 100+number) }
	folder := asNobody(t, func(path string, number uint64) {
		data := reloadGeneration(number)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		must(t, err)
		_, err = file.Write(data[:len(data)/2+1])
		must(t, err)
		// Until the one in a hurry has it; the other one is to wait for longer than that.
		for end := time.Now().Add(reloadUnclosed / 2); time.Now().Before(end); {
			if _, err := os.Stat(hasHalf(filepath.Dir(path), number)); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
		_, err = file.Write(data[len(data)/2+1:])
		must(t, err, file.Close())
	})
	if folder == "" {
		return
	}
	path := filepath.Join(folder, "file")
	o := ReloadOptions{Tick: time.Hour, Settle: 20 * time.Millisecond}
	r, torn := openWhole(t, path, o)
	o.WaitWriter = 20 * time.Millisecond
	hurried, halves := openWhole(t, path, o)
	for number := uint64(2); number < 5; number++ {
		before := halves()
		askFor(t, folder, number)
		until(t, "a half for the one in a hurry", func() bool { return halves() > before })
		writeFile(t, hasHalf(folder, number), nil)
		becomesWhole(t, r, torn, number, "in halves")
	}
	until(t, "the last", func() bool { return hurried.Get().Value == 4 && hurried.Stats().Settled })
}

func TestReloadingLimits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, []byte("small"))
	size := func(f *Frozen) (int, error) { return f.Len(), nil }
	limited, err := OpenReloadingWith(path, size, ReloadOptions{Tick: time.Hour, Limit: 100})
	must(t, err)
	defer limited.Close()
	r, err := OpenReloadingWith(path, size, ReloadOptions{Tick: time.Hour})
	must(t, err)
	defer r.Close()
	tooLarge := func(r *Reloading[int]) bool {
		var large *TooLargeError
		return errors.As(r.Err(), &large) && errors.Is(r.Err(), syscall.EFBIG)
	}
	writeFile(t, path, make([]byte, 101))
	until(t, "too large", func() bool { return tooLarge(limited) })
	until(t, "taken", func() bool { return r.Get().Value == 101 })
	if limited.Get().Value != 5 {
		t.Error(limited.Get().Value)
	}
	writeFile(t, path, make([]byte, 100))
	until(t, "taken", func() bool { return limited.Get().Value == 100 && limited.Err() == nil })
	// Nothing but a hole, of the size of the memory, and of seven eighths of it. That may become
	// more meanwhile: then the hole is as large as that.
	for _, part := range []int64{8, 7} {
		until(t, "too large", func() bool {
			must(t, os.Truncate(path, memoryLeft()/8*part))
			for end := time.Now().Add(time.Second); time.Now().Before(end); {
				if tooLarge(r) {
					return true
				}
				time.Sleep(time.Millisecond)
			}
			return false
		})
		writeFile(t, path, []byte("small again"))
		until(t, "taken", func() bool { return r.Get().Value == 11 && r.Err() == nil })
		writeFile(t, path, []byte("other"))
		until(t, "taken", func() bool { return r.Get().Value == 5 })
	}
}

// A thousand files have one queue and few threads, and leave nothing. SIGWARD_RELOADS: how many
// times each is reloaded, for a long run.
func TestReloadingThousand(t *testing.T) {
	const files = 1000
	rounds := 2
	if text := os.Getenv("SIGWARD_RELOADS"); text != "" {
		rounds, _ = strconv.Atoi(text)
	}
	folder := t.TempDir()
	path := func(n int) string { return filepath.Join(folder, fmt.Sprintf("%03d", n)) }
	for n := 0; n < files; n++ {
		writeFile(t, path(n), []byte("round 0"))
	}
	count := func(folder string) int {
		entries, err := os.ReadDir(folder)
		must(t, err)
		return len(entries)
	}
	watches := func() (n int) {
		infos, err := filepath.Glob("/proc/self/fdinfo/*")
		must(t, err)
		for _, info := range infos {
			text, _ := os.ReadFile(info)
			n += bytes.Count(text, []byte("inotify wd:"))
		}
		return n
	}
	must(t, openHourly(t, path(0), parseText).Close()) // what is made once stays
	for range [2]int{} {
		runtime.GC() // files that earlier tests have left
	}
	fds, threads := count("/proc/self/fd"), count("/proc/self/task")
	goroutines := runtime.NumGoroutine()
	open := func() (all []*Reloading[string]) {
		for n := 0; n < files; n++ {
			all = append(all, openHourly(t, path(n), parseText))
		}
		return all
	}
	all := open()
	before := watches()
	for round := 1; round <= rounds; round++ {
		text := fmt.Sprint("round ", round)
		for n := 0; n < files; n++ {
			if (n+round)%2 == 0 {
				writeFile(t, path(n), []byte(text))
				continue
			}
			writeFile(t, filepath.Join(folder, "next"), []byte(text))
			must(t, os.Rename(filepath.Join(folder, "next"), path(n)))
		}
		for _, r := range all {
			until(t, text, func() bool { return r.Get().Value == text })
		}
		until(t, "as many watches", func() bool { return watches() == before })
		until(t, "one descriptor", func() bool { return count("/proc/self/fd") <= fds+1 })
	}
	// Go has one for each processor.
	if n := count("/proc/self/task"); n > threads+runtime.GOMAXPROCS(0)+16 {
		t.Errorf("%d threads, before %d", n, threads)
	}
	for n, r := range all[1:] {
		must(t, r.Close())
		if n == files/2 {
			if n := watches(); n >= before-files/3 {
				t.Errorf("%d watches of %d are left", n, before)
			}
		}
	}
	if n := watches(); n != before-files+1 {
		t.Errorf("%d watches, not %d", n, before-files+1)
	}
	must(t, all[0].Close())
	until(t, "no descriptors", func() bool { return count("/proc/self/fd") <= fds })
	until(t, "no goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// More happens than the kernel keeps, while nobody reads: among what is lost is that the file was
// removed. The next one often has its inode number.
func TestReloadingLostEvents(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	if most > 1<<20 {
		t.Skipf("SKIPPED: a queue of %d events takes long", most)
	}
	path := filepath.Join(t.TempDir(), "file")
	names := []string{path, path + ".first", path + ".second"}
	var all []*Reloading[string]
	for _, name := range names {
		writeFile(t, name, []byte("1"))
		r := openHourly(t, name, parseText)
		defer r.Close()
		all = append(all, r)
	}
	func() {
		queue := all[0].loop.watch.queue
		queue.lock.Lock()
		defer queue.lock.Unlock()
		// By turns: events that follow each other and are the same are one.
		for n := 0; n <= most/2; n++ {
			for _, name := range names[1:] {
				must(t, os.Chtimes(name, time.Time{}, time.Unix(int64(n), 0)))
			}
		}
		must(t, os.Remove(path))
		writeFile(t, path, []byte("2"))
	}()
	becomes(t, all[0], "2")
	for _, text := range []string{"3", "4"} {
		writeFile(t, path, []byte(text))
		becomes(t, all[0], text)
	}
}
