package sigward

// StatusReport is how the process stands at this moment.
type StatusReport struct {
	// SIGPIPE: armed: a write of C, C++ or Rust to a broken pipe or socket returns EPIPE, on every
	// thread.
	SIGPIPE SignalStatus
	// SIGBUS: armed: a fault in a guarded map is an error, on this thread and in all code.
	SIGBUS SignalStatus
}

// SignalStatus is how it stands with one signal.
type SignalStatus struct {
	Armed  bool
	Reason string // why it is not armed, and what to do next; empty if it is
	// Owner: file name of the executable or library whose handler the kernel calls, "the
	// executable" for a program that was started through ld.so; empty for none, or if that is
	// unknown.
	Owner string
}

func (s SignalStatus) String() string {
	if s.Armed {
		return "armed"
	}
	return "not armed: " + s.Reason
}

// String is both in one line, for a log.
func (s StatusReport) String() string {
	return "SIGPIPE " + s.SIGPIPE.String() + "; SIGBUS " + s.SIGBUS.String()
}

// because is armed for no reason against it.
func because(
	reason string,
) SignalStatus {
	return SignalStatus{Armed: reason == "", Reason: reason}
}
