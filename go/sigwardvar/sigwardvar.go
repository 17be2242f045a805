// Package sigwardvar publishes sigward's counters as the expvar variable "sigward", and what
// sigward.Status says as "sigward_status", and so both at /debug/vars.
//
//	import _ "github.com/sigward/sigward/go/sigwardvar"
//
// It is a package of its own because expvar brings net/http along.
package sigwardvar

import (
	"expvar"

	sigward "github.com/sigward/sigward/go"
)

func init() {
	expvar.Publish("sigward", expvar.Func(func() any {
		counters, err := sigward.Counters()
		if err != nil {
			return err.Error()
		}
		return counters
	}))
	expvar.Publish("sigward_status", expvar.Func(func() any { return sigward.Status() }))
}
