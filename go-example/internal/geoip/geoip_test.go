package geoip

import (
	"path/filepath"
	"testing"

	"github.com/oschwald/maxminddb-golang"
)

func TestJudge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "generation-2.mmdb")
	if err := Write(path, 2); err != nil {
		t.Fatal(err)
	}
	reader, err := maxminddb.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for n := uint32(0); n < 1000; n++ {
		ip := Address(n * 2654435761)
		var r Record
		if err := reader.Lookup(ip, &r); err != nil {
			t.Fatal(err)
		}
		if err := Judge(ip, r.Answer()); err != nil || r.Generation != 2 {
			t.Fatalf("generation %d: %v", r.Generation, err)
		}
		for name, spoil := range map[string]func(*Record){
			"a byte of zeros":    func(r *Record) { r.Detail[n%detailSize] ^= 0x80 },
			"no detail":          func(r *Record) { r.Detail = nil },
			"another network":    func(r *Record) { *r = record(2, "9.9.9.0/24") },
			"another generation": func(r *Record) { r.Generation = 1 },
			"nothing":            func(r *Record) { *r = Record{} },
		} {
			spoilt := r
			spoilt.Detail = append([]byte(nil), r.Detail...)
			spoil(&spoilt)
			if Judge(ip, spoilt.Answer()) == nil {
				t.Fatalf("%s: %v passed for right", ip, name)
			}
		}
	}
}
