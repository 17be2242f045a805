package sigward

// AuditReport is what Audit says of the process. As JSON it is "process_audit" of `sigward schema`.
type AuditReport struct {
	PID        int       `json:"pid"`
	Program    string    `json:"program"` // the name of the first thread
	User       int       `json:"user"`    // the effective one
	Threads    int       `json:"threads"`
	Runtimes   []string  `json:"runtimes"`    // Go (of an executable), JVM, CPython, Node
	HasSigward bool      `json:"has_sigward"` // built with cgo, on a system that the archive is for
	SIGPIPE    string    `json:"sigpipe"`     // default, ignored, caught, init (PID 1)
	SIGBUS     string    `json:"sigbus"`
	Ignored    []string  `json:"ignored"`
	Caught     []string  `json:"caught"`
	Pending    []string  `json:"pending"`
	Missing    *string   `json:"missing"` // why maps and descriptors could not be looked at
	Own        *OwnAudit `json:"own"`     // nil without cgo
	Findings   []Finding `json:"findings"`
}

// Finding is what may go wrong with signals in the process.
type Finding struct {
	ID       string `json:"id"`       // a name that stays, as "map-beyond-file"
	Severity string `json:"severity"` // warning: the next cut or full disk ends it; info
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
}

// OwnAudit is what only the process itself can see.
type OwnAudit struct {
	SIGPIPE string       `json:"sigpipe"` // armed, or why not
	SIGBUS  string       `json:"sigbus"`
	Guarded uint64       `json:"guarded"` // how many maps are
	HasGo   bool         `json:"has_go"`
	Rows    []HandlerRow `json:"rows"` // signals that do not have their default action

	covered    [2]bool // whether somebody stands above our seats for SIGPIPE and SIGBUS
	isGuarding bool    // whether SIGBUS is armed
}

// HandlerRow is who is called for a signal.
type HandlerRow struct {
	Signal  string    `json:"signal"`
	Handler Handler   `json:"handler"`
	Line    []Handler `json:"line"` // who comes after it, by seats of this package
}

// Handler is what is called for a signal.
type Handler struct {
	Address string   `json:"address"` // hexadecimal; "default", "ignored"
	Library *string  `json:"library"` // the file name of who holds the function, if that is known
	Flags   []string `json:"flags"`   // SA_ONSTACK and the like
	IsOurs  bool     `json:"is_ours"`
}
