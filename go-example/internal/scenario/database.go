package scenario

import (
	"context"
	"strings"
	"time"
)

// The GeoIP database: clients look addresses up all the time, an updater brings new generations.

// database is a world with a database, and look-ups on it.
type database struct {
	*world
	updater *updater
	lookups lookups
	began   time.Time
	took    time.Duration // until the look-ups were stopped
}

func (o Options) database(ctx context.Context, b build, names Names,
	more ...string) (*database, error) {
	w, err := o.stage(ctx, false)
	d := &database{world: w}
	if err != nil {
		return d, err
	}
	if d.updater, err = newUpdater(w.dir, o.Generations); err != nil {
		return d, err
	}
	if err = d.launch(ctx, b, w.command(b, append(more, "-geoip", d.updater.live)...)); err != nil {
		return d, err
	}
	d.lookups.record = &w.record
	d.lookups.newest.Store(d.updater.generation())
	d.record.begin(names)
	d.began = time.Now()
	d.lookups.start(d.service.addresses.API)
	return d, nil
}

func (d *database) end() {
	d.lookups.stop()
	d.world.end()
}

// fresh waits for an answer of the generation that is in place.
func (d *database) fresh(ctx context.Context) bool {
	if !d.until(ctx, func() bool { return d.lookups.latest.Load() == d.updater.generation() }) {
		return false
	}
	d.record.add(Recovery, 1)
	return true
}

// overwrite and replace bring the next generation.
func (d *database) overwrite(ctx context.Context) error {
	return d.update(ctx, d.updater.overwrite)
}

func (d *database) replace(ctx context.Context) error { return d.update(ctx, d.updater.replace) }

func (d *database) update(ctx context.Context, bring func(context.Context, *lookups) error) error {
	d.record.add(Strike, 1)
	err := bring(ctx, &d.lookups)
	d.lookups.newest.Store(d.updater.generation())
	return err
}

var overwritten = Names{
	Answered: "look-ups answered", Stale: "look-ups answered from an older version",
	Failed: "look-ups without an answer",
	Strike: "file overwritten", Recovery: "new data in answers",
}

// runOverwritten is about an updater that writes over the live file: cp, a slow copy, a cut first.
// No look-up may be without an answer.
func runOverwritten(ctx context.Context, o Options, b build) (r Report, err error) {
	d, err := o.database(ctx, b, overwritten)
	defer d.end()
	if err != nil {
		return r, err
	}
	if b == bareBuild {
		return d.killedByCopy(ctx)
	}
	// A look came in the midst of a copy.
	met := func() bool { return d.counter("database_not_yet_total") > 0 }
	fresh, err := d.overwriteUntil(ctx, o.Updates, met)
	if err != nil {
		return r, err
	}
	return d.reloaded(&r, fresh, "copy", "copies")
}

// overwriteUntil copies as often as asked, and up to ten times as often until the service has met
// what the run is about. It ends early when the service does, or has no fresh data. It says how
// often there was fresh data.
func (d *database) overwriteUntil(
	ctx context.Context, updates int, met func() bool,
) (fresh int, err error) {
	for d.updater.updates < updates || !met() && d.updater.updates < 10*updates {
		if err := d.overwrite(ctx); err != nil {
			return fresh, err
		}
		if !d.fresh(ctx) || d.service.exitedWithin(ctx, interval/5) {
			break
		}
		fresh++
	}
	return fresh, nil
}

// reloaded concludes a run in which the service had a copy of the newest version.
func (d *database) reloaded(r *Report, fresh int, update, updates string) (Report, error) {
	d.conclude(r)
	metrics, metricsError := d.service.metrics()
	d.finish(r)
	if !d.lived(r) {
		return *r, nil
	}
	r.expect(metricsError == nil, "no metrics: %v", metricsError)
	l := &d.lookups
	caught, version := int(metrics[faults]), int(metrics["database_version"])
	notYet := int(metrics["database_not_yet_total"])
	refused := int(metrics["database_refused_total"])
	r.line("alive through %s", Times(d.updater.updates, update, updates))
	d.lookupsLine(r)
	r.line("fresh data after %s of %s", Thousands(fresh), Times(d.updater.updates, update, updates))
	r.line("half-written files left alone %s, refused %s", times(notYet), times(refused))
	r.Log = d.logged("GeoIP data")
	d.expectFresh(r, fresh)
	r.expect(l.errors == 0, "%d look-ups had no answer: %s", l.errors, l.spoken)
	r.expect(caught == 0, "%d SIGBUSes: no look-up reads a map", caught)
	r.expect(version > d.updater.updates, "%d versions of %d updates", version, d.updater.updates)
	r.expect(len(r.Log) >= d.updater.updates,
		"%d lines in the log for %d updates", len(r.Log), d.updater.updates)
	if update == "copy" {
		r.expect(notYet > 0, "no look met a file that was being written: the run proves nothing")
	}
	return *r, nil
}

// runMapOverwritten is about the same updater and a service that has mapped the live file: the map
// loses its bytes, and says so.
func runMapOverwritten(ctx context.Context, o Options, b build) (r Report, err error) {
	names := overwritten
	names[Strike], names[Signal] = "file overwritten or replaced", "SIGBUS logged"
	d, err := o.database(ctx, b, names, "-geoip-mapped")
	defer d.end()
	if err != nil {
		return r, err
	}
	if b == bareBuild {
		return d.killedByCopy(ctx)
	}
	met := func() bool { // there are updates that no look-up meets
		return d.counter(faults) > 0 && d.counter("database_stale_total") > 0
	}
	fresh, err := d.overwriteUntil(ctx, o.Updates, met)
	if err != nil {
		return r, err
	}
	// And it sees a file that was replaced, of which no byte is lost.
	copies, errorsBefore := d.updater.updates, d.lookups.unanswered()
	for n := 0; n < 3 && fresh == d.updater.updates; n++ {
		if err := d.replace(ctx); err != nil {
			return r, err
		}
		if !d.fresh(ctx) || d.service.exitedWithin(ctx, interval/5) {
			break
		}
		fresh++
	}
	replaced := d.updater.updates - copies
	d.conclude(&r)
	metrics, metricsError := d.service.metrics()
	d.finish(&r)
	if !d.lived(&r) {
		return r, nil
	}
	r.expect(metricsError == nil, "no metrics: %v", metricsError)
	unanswered := d.lookups.errors - errorsBefore
	r.expect(unanswered == 0, "%d look-ups had no answer when the file was replaced: %s",
		unanswered, d.lookups.spoken)
	caught, stale := int(metrics[faults]), int(metrics["database_stale_total"])
	r.line("alive through %s, %s",
		Times(copies, "copy", "copies"), Times(replaced, "replacement", "replacements"))
	d.lookupsLine(&r)
	r.line("fresh data after %s of %s",
		Thousands(fresh), Times(d.updater.updates, "update", "updates"))
	r.line("SIGBUS caught %s, mixed files noticed %s", times(caught), times(stale))
	r.Log = append(d.logged("GeoIP data", "live.mmdb", "bytes from"), d.logged("SIGBUS caught")...)
	d.expectFresh(&r, fresh)
	r.expect(caught > 0, "no SIGBUS was caught: the run proves nothing")
	r.expect(stale > 0,
		"no look-up met a file that was cut and grew again unseen: the run proves nothing")
	told := 0
	for _, line := range r.Log {
		if strings.Contains(line, "GeoIP data") {
			told++
			continue
		}
		told := strings.Contains(line, "live.mmdb") &&
			strings.Contains(line, "error.type=truncated") &&
			strings.Contains(line, "thread.name=service-warded")
		r.expect(told, "this line does not tell file, cause and thread: %s", line)
	}
	r.expect(told > 0 && told < len(r.Log), "%d log lines of %d name the file; the log ends %q",
		told, len(r.Log), d.service.logEnd())
	return r, nil
}

// expectFresh wants data of each update to have come.
func (d *database) expectFresh(r *Report, fresh int) {
	r.expect(fresh == d.updater.updates,
		"after %d of %d updates no fresh data came; the log ends %q",
		d.updater.updates-fresh, d.updater.updates, d.service.logEnd())
}

func (d *database) lookupsLine(r *Report) {
	l := &d.lookups
	all := l.right + l.errors + l.wrong
	perSecond := int(float64(all) / d.took.Seconds())
	r.line("%s look-ups, %s a second", Thousands(all), Thousands(perSecond))
	r.line("%s right, %s errors, %s wrong",
		Thousands(l.right), Thousands(l.errors), Thousands(l.wrong))
}

// conclude stops the look-ups and expects what holds for each warded run.
func (d *database) conclude(r *Report) {
	l := &d.lookups
	l.stop()
	d.took = time.Since(d.began)
	r.expect(l.wrong == 0, "%d answers are wrong, the first: %v", l.wrong, l.mishap)
	r.expect(l.failed == 0, "%d requests failed, the first with: %v", l.failed, l.mishap)
	r.expect(l.right >= batch*d.updater.updates, "only %d right answers", l.right)
	r.expect(len(l.seen) == len(d.updater.generations),
		"answers came from %d generations only", len(l.seen))
}

// killedByCopy copies until the bare service is dead.
func (d *database) killedByCopy(ctx context.Context) (r Report, err error) {
	after, err := d.struck(ctx, d.overwrite, time.Millisecond)
	if err != nil {
		return r, err
	}
	answered := d.lookups.count()
	d.finish(&r)
	stderr := d.service.errors.String()
	first := "" // other goroutines may have logged something before
	for _, line := range d.service.errors.lines() {
		if strings.HasPrefix(line, "unexpected fault address") {
			first = line
			break
		}
	}
	r.line("crashed: exit status 2")
	if !r.Status.exited(2) {
		r.Lines[0] = r.Status.String()
	}
	r.line("%.24s", first) // "unexpected fault address", and which
	r.line("%d ms and %s later", after.Milliseconds(), Times(d.updater.updates, "copy", "copies"))
	r.line("after %s look-ups", Thousands(answered))
	r.expect(r.Status.exited(2) && first != "" && strings.Contains(stderr, "[signal SIGBUS"),
		"the bare service must die of Go's unexpected fault address, but: "+
			"%s after %s and %d look-ups; stderr begins %.2000q",
		r.Status, Times(d.updater.updates, "copy", "copies"), answered, stderr)
	explained := r.unexplained("ended with status 2: after SIGBUS", "live.mmdb")
	r.Problems = append(r.Problems, explained...)
	return r, nil
}

func runReplaced(ctx context.Context, o Options, b build) (r Report, err error) {
	names := overwritten
	names[Strike] = "file replaced"
	d, err := o.database(ctx, b, names)
	defer d.end()
	if err != nil {
		return r, err
	}
	d.serve(ctx)
	fresh := 0
	for d.updater.updates < o.Updates {
		if err := d.replace(ctx); err != nil {
			return r, err
		}
		if b == bareBuild { // it has no eyes for a new file: no answer is of the newest from now on
			d.lookups.newest.Store(0)
			if d.service.exitedWithin(ctx, interval/5) {
				break
			}
		} else if !d.fresh(ctx) || d.service.exitedWithin(ctx, interval/5) {
			break
		} else {
			fresh++
		}
	}
	if b == bareBuild {
		return d.stale(&r)
	}
	return d.reloaded(&r, fresh, "replacement", "replacements")
}

// stale is what becomes of a bare service whose file is replaced: nothing, for ever.
func (d *database) stale(r *Report) (Report, error) {
	d.lookups.stop()
	l := &d.lookups
	d.finish(r)
	if !d.lived(r) {
		return *r, nil
	}
	r.line("alive, and blind")
	r.line("%s replaced the file", Times(d.updater.updates, "update", "updates"))
	r.line("each of %s look-ups answered", Thousands(l.right))
	r.line("from the first generation: stale")
	r.expect(l.wrong == 0 && l.failed == 0 && l.errors == 0,
		"%d wrong, %d failed, %d errors: %v", l.wrong, l.failed, l.errors, l.mishap)
	r.expect(l.right > 0 && len(l.seen) == 1 && l.seen[1] == l.right,
		"answers came from other generations than the first: %v", l.seen)
	return *r, nil
}
