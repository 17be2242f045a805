// Command exporter serves the counters as Prometheus text, and a health check.
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	sigward "github.com/sigward/sigward/go"
)

func metrics(w http.ResponseWriter, _ *http.Request) {
	c, err := sigward.Counters()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "sigward_sigpipe_swallowed_total %d\n", c.Swallowed)
	fmt.Fprintf(w, "sigward_sigbus_faults_total %d\n", c.Faults)
	fmt.Fprintf(w, "sigward_overwritten_total %d\n", c.Overwritten)
}

func health(w http.ResponseWriter, _ *http.Request) {
	if s := sigward.Status(); !s.SIGPIPE.Armed || !s.SIGBUS.Armed {
		http.Error(w, s.String(), http.StatusServiceUnavailable)
	}
}

func main() {
	http.HandleFunc("/metrics", metrics)
	http.HandleFunc("/healthz", health)
	// A service calls http.ListenAndServe here.
	answer := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	fmt.Print(answer.Body)
}
