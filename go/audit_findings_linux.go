package sigward

import (
	"os"
	"strconv"
	"strings"
)

// findings are those of src/audit/findings.rs, in the same words: a test holds both against each
// other. The archive that Go links is taken whole, and that function would be in every program.
func (f *auditFacts) findings() []Finding {
	found := []Finding{}
	add := func(id, severity, evidence, remedy string) {
		evidence = strings.ToValidUTF8(evidence, "\uFFFD")
		found = append(found, Finding{id, severity, evidence, remedy})
	}
	pipe := f.status.disposition(sigpipe)
	if f.isGo() && f.libraries > 0 && !isWarded && pipe == "caught" {
		add("sigpipe-foreign-threads", "info",
			"a Go program with "+strconv.Itoa(f.libraries)+
				" libraries in it, and nothing beneath Go",
			"a broken peer of theirs on a thread that Go did not make ends the program: import "+
				"sigward")
	}
	if f.sockets > 0 && pipe == "default" {
		add("sigpipe-fatal", "info",
			"SIGPIPE has its default action, and there are "+strconv.Itoa(f.sockets)+" sockets",
			"a write without MSG_NOSIGNAL to a peer that is gone ends it: sigward_init, or "+
				"SIGWARD=filter with LD_PRELOAD")
	}
	if isWarded && pipe == "default" {
		add("not-armed", "info",
			"sigward is in it, and SIGPIPE has its default action",
			"nobody has called sigward_init, or somebody has set SIG_DFL since: call it last, or "+
				"SIGWARD=filter")
	}
	if f.lacksSIGURG() {
		state := "at its default"
		if holds(f.status.ignored, sigurg) {
			state = "ignored"
		}
		add("sigurg-taken", "info",
			"a Go program, and SIGURG, by which it interrupts its threads, is "+state,
			"a long loop stops its garbage collector, and so everybody: leave SIGURG to Go")
	}
	for _, path := range f.interposers {
		add("interposer", "info",
			path+" has a sigaction(2) of its own, which the program and its libraries call",
			"it decides which handlers the kernel gets to know: look there first if a handler is "+
				"not called")
	}
	for _, signal := range [...]int{sigbus, sigsegv, sigpipe} {
		f.ofBlocked(signal, add)
	}
	if count := len(f.ignoringChildren); count > 0 {
		add("ignored-inherited", "info",
			strconv.Itoa(count)+" children ignore SIGPIPE, the first is "+
				strconv.Itoa(f.ignoringChildren[0]),
			"`prog | head` does not end in them: give children SIG_DFL, or use the filter in "+
				"place of SIG_IGN")
	}
	for i := range f.files {
		f.files[i].findings(add)
	}
	f.ofSeats(add)
	return found
}

func (f *auditFacts) ofBlocked(signal int, add func(id, severity, evidence, remedy string)) {
	threads := f.blocked(signal)
	if len(threads) == 0 {
		return
	}
	severity := "info"
	remedy := "a fault there ends the process, and no handler is asked: unblock it in that thread"
	if signal == sigpipe {
		remedy = "a broken peer raises it when somebody unblocks it: unblock it, and use " +
			"sigward_init"
	} else if holds(f.status.caught, signal) {
		// A guard waits for them in vain.
		severity = "warning"
	}
	add("signal-blocked", severity,
		signalName(signal)+" is blocked in "+strconv.Itoa(len(threads))+" threads, the first is "+
			strconv.Itoa(threads[0]),
		remedy)
}

func (m *mappedFile) findings(add func(id, severity, evidence, remedy string)) {
	page := uint64(os.Getpagesize())
	if m.isKnown && m.mappedTo > (m.length+page-1)/page*page {
		add("map-beyond-file", "warning",
			m.path+" is mapped up to byte "+grouped(m.mappedTo)+" and has "+grouped(m.length)+
				" bytes",
			"an access behind its end is SIGBUS: was it cut (sigward cut PATH), or is it mapped "+
				"with room to grow? guard the map")
	}
	if m.isSharedWritable && !m.isDeleted && m.isLimited && m.holes > m.free {
		add("sparse-on-full-disk", "warning",
			m.path+" has "+grouped(m.holes)+" bytes of holes and its disk "+grouped(m.free)+
				" bytes free",
			"a store into a hole is SIGBUS when the disk is full: sigward reserve, or room")
	}
	if len(m.writers) > 0 && !m.isSharedWritable {
		add("map-being-written", "info",
			m.path+" is open for writing in pid "+strconv.Itoa(m.writers[0]),
			"if it is cut the readers die of SIGBUS: replace it by rename(2) (sigward replace)")
	}
	if m.isDeleted && !m.isMemory() {
		add("map-deleted", "info",
			m.path+" is mapped and has no name any more",
			"it reads an old version, and its blocks are not free: map it anew")
	}
}

func (m *mappedFile) isMemory() bool {
	starts := [...]string{"/memfd:", "/dev/", "/SYSV", "/i915", "/[aio]", "/anon_hugepage"}
	for _, start := range starts {
		if strings.HasPrefix(m.path, start) {
			return true
		}
	}
	return false
}

// ofSeats is what only the process itself can see.
func (f *auditFacts) ofSeats(add func(id, severity, evidence, remedy string)) {
	own := f.own
	if own == nil {
		return
	}
	for i, text := range [...]string{"SIGPIPE: " + own.SIGPIPE, "SIGBUS: " + own.SIGBUS} {
		if own.covered[i] {
			add("covered", "warning", text,
				"what stands above may keep what is ours: call sigward_ensure_on_top after the "+
					"last library has started")
		}
	}
	if own.Guarded > 0 && !own.isGuarding {
		add("empty-seat", "warning",
			strconv.FormatUint(own.Guarded, 10)+" maps are guarded, and SIGBUS is "+own.SIGBUS,
			"a lost page of theirs ends the process: call sigward_ensure_on_top")
	}
	var without []string
	for _, row := range own.Rows {
		isOnStack := row.Handler.Address == "ignored" || row.Handler.Address == "default"
		for _, flag := range row.Handler.Flags {
			isOnStack = isOnStack || flag == "SA_ONSTACK"
		}
		if !isOnStack {
			without = append(without, row.Signal)
		}
	}
	if len(without) > 0 {
		add("no-onstack", "warning",
			"handlers of "+strings.Join(without, ", ")+
				" have no SA_ONSTACK, and Go is in the process",
			"Go ends the process when such a one is called on a thread of its own: install it "+
				"with SA_ONSTACK")
	}
}

// grouped has a space between groups of three digits: 1 048 576.
func grouped(number uint64) string {
	digits := strconv.FormatUint(number, 10)
	text := ""
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			text += " "
		}
		text += string(digit)
	}
	return text
}
