//go:build cgo && linux

package foreign

/*
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int signal) {
	(void)signal;
	ticks++;
}

static void set_timer(long microseconds) {
	struct itimerval every = {{0, microseconds}, {0, microseconds}};
	setitimer(ITIMER_PROF, &every, NULL);
}

static int profile(int on) {
	if (on) {
		struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART | SA_ONSTACK};
		ticks = 0;
		sigaction(SIGPROF, &action, NULL);
		set_timer(1000);
		return 0;
	}
	set_timer(0);
	signal(SIGPROF, SIG_DFL);
	return ticks;
}

static volatile sig_atomic_t elsewhere;

static void look(int signal) {
	(void)signal;
	stack_t stack;
	if (sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_ONSTACK)) elsewhere++;
}

static void plain_handler(int number) {
	struct sigaction action = {.sa_handler = look};
	sigaction(number, &action, NULL);
}

static void by_default(int number) { signal(number, SIG_DFL); }

static int runs_elsewhere(void) { return elsewhere; }
*/
import "C"

import "syscall"

// StartProfiler is a profiler in C that takes SIGPROF.
func StartProfiler() { C.profile(1) }

// StopProfiler ends it as many do: the default is put where somebody else's handler had been. It
// returns how many ticks there were.
func StopProfiler() int { return int(C.profile(0)) }

// PlainHandler installs a handler without SA_ONSTACK, as many C libraries do.
func PlainHandler(signal syscall.Signal) { C.plain_handler(C.int(signal)) }

// Default gives the signal its default, late, as some C libraries do.
func Default(signal syscall.Signal) { C.by_default(C.int(signal)) }

// OffStack is how often that handler ran elsewhere than on the stack for signals: on a goroutine's.
func OffStack() int { return int(C.runs_elsewhere()) }
