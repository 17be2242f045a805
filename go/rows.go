package sigward

// KeepRows calls fn and then puts back the dispositions of all signals that fn has changed: for C
// libraries that install handlers and leave them behind, or take Go's away. A profiler that ends by
// giving SIGPROF its default makes the next profile of runtime/pprof end the process; inside
// KeepRows it does not:
//
//	err := sigward.KeepRows(func() {
//		startProfiler() // in C
//		work()
//		stopProfiler()
//	})
//
// Where start and stop are far apart, use SaveRows and Rows.Restore. What is said there about
// os/signal holds here. If fn panics, the rows are put back and the panic passes.
//
// fn is not called if the rows cannot be noted.
func KeepRows(fn func()) (err error) {
	rows, err := SaveRows()
	if err != nil {
		return err
	}
	defer func() { err = rows.Restore() }()
	fn()
	return nil
}
