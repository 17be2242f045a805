// Command geoip answers from a file that others update, each look-up from one whole version.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	sigward "github.com/sigward/sigward/go"
)

// parse turns the bytes of one version into what look-ups use. An error keeps the previous version.
func parse(data []byte) (map[string]string, error) {
	table := make(map[string]string)
	for _, line := range strings.Fields(string(data)) {
		prefix, city, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("not a table: %q", line)
		}
		table[prefix] = city
	}
	return table, nil
}

func main() {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("geoip-%d", os.Getpid()))
	if err := os.WriteFile(path, []byte("192.0.2=Oslo 198.51.100=Lima"), 0o600); err != nil {
		log.Fatal(err)
	}
	defer os.Remove(path)
	cities, err := sigward.OpenReloading(path, parse)
	if err != nil {
		log.Fatal(err)
	}
	defer cities.Close()
	fmt.Println(cities.Get().Value["192.0.2"])
	if err := cities.Err(); err != nil {
		log.Print("serving the previous version: ", err)
	}
}
