package scenario

import (
	"reflect"
	"testing"
	"time"
)

func TestRecorder(t *testing.T) {
	var r recorder
	r.add(Answered, 1) // before it begins
	if got := r.timeline(time.Now(), true); got.Series != nil || got.Death != 0 {
		t.Errorf("before it began: %+v", got)
	}
	r.begin(Names{Answered: "orders", Signal: "signals"})
	began := r.began
	after := func(d time.Duration) time.Time { return began.Add(d) }
	r.addAt(after(0), Answered, 1)
	r.addAt(after(Bucket-1), Answered, 2)
	r.addAt(after(Bucket), Answered, 4)
	r.addAt(after(5*Bucket), Failed, 1)     // nobody has named it
	r.addAt(after(-1), Answered, 8)         // before
	r.addAt(after(longest+1), Answered, 16) // nothing goes on for ever
	line := func(d time.Duration, text string) string {
		return "time=" + after(d).Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text
	}
	r.addLogged([]string{
		line(3*Bucket, `level=WARN msg="SIGPIPE swallowed" call=writev`),
		line(3*Bucket+1, `level=WARN msg="SIGBUS caught" file=x`),
		line(4*Bucket, `level=INFO msg="GeoIP data" version=2`), `msg="SIGPIPE swallowed"`, "",
	})
	got := r.timeline(after(7*Bucket), true)
	want := Timeline{Death: 7 * Bucket, Series: []Series{
		{Answered, "orders", []int{3, 4}}, {Signal, "signals", []int{0, 0, 0, 2}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, not %+v", got, want)
	}
	alive := r.timeline(after(0), false)
	if got.Length() != 7*Bucket || alive.Length() != 4*Bucket || got.Series[0].Total() != 7 {
		t.Errorf("%v and %v long, %d in all", got.Length(), alive.Length(), got.Series[0].Total())
	}
}
