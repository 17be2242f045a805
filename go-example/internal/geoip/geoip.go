// Package geoip is a GeoIP database whose every answer can be judged: a real MMDB file, tens of MB,
// in which each record names the generation of the file and its own network, and carries 384 bytes
// that follow from the two.
//
// A record with a wrong byte, one of another network, or one that never was is seen at once. The
// generations differ in how many networks they have, so whoever reads one with the search tree of
// another finds garbage.
package geoip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Record is what the database holds for a network.
type Record struct {
	Generation uint32 `maxminddb:"generation"`
	Network    string `maxminddb:"network"`
	City       string `maxminddb:"city"`
	Detail     []byte `maxminddb:"detail"` // follows from Generation and Network
}

// An Answer is a Record as the service returns it, its detail as a checksum.
type Answer struct {
	Generation uint32
	Network    string
	Sum        uint64
}

// Answer sums the record up, byte by byte.
func (r Record) Answer() Answer { return Answer{r.Generation, r.Network, sum(r.City, r.Detail)} }

const detailSize = 384

// Networks is how many /24 there are in a generation, from 1.0.0.0 up: 20 to 30 MB.
func Networks(generation uint32) int { return 44_000 + int(generation%3)*8_000 }

// Address returns an address in one of the networks that every generation has. Any n will do.
func Address(n uint32) net.IP {
	ip := make(net.IP, net.IPv4len)
	binary.BigEndian.PutUint32(ip, 1<<24+n%uint32(Networks(0)<<8))
	return ip
}

// Judge returns why the answer for ip is wrong, or nil: right in the generation that it names.
func Judge(ip net.IP, a Answer) error {
	_, network, err := net.ParseCIDR(a.Network)
	if err != nil {
		return err
	}
	if !network.Contains(ip) {
		return fmt.Errorf("%s is not in %s", ip, network)
	}
	if want := record(a.Generation, a.Network).Answer(); a != want {
		return fmt.Errorf("%s: have %v, want %v", ip, a, want)
	}
	return nil
}

// Write writes a generation to a new file.
func Write(path string, generation uint32) (err error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType:            "Judged-City",
		DisableIPv4Aliasing:     true,
		IncludeReservedNetworks: true,
		IPVersion:               4,
		RecordSize:              28,
	})
	if err != nil {
		return err
	}
	for n := 0; n < Networks(generation); n++ {
		network := &net.IPNet{IP: Address(uint32(n) << 8), Mask: net.CIDRMask(24, 32)}
		if n >= Networks(0) {
			binary.BigEndian.PutUint32(network.IP, 1<<24+uint32(n)<<8)
		}
		r := record(generation, network.String())
		if err := tree.Insert(network, mmdbtype.Map{
			"generation": mmdbtype.Uint32(r.Generation),
			"network":    mmdbtype.String(r.Network),
			"city":       mmdbtype.String(r.City),
			"detail":     mmdbtype.Bytes(r.Detail),
		}); err != nil {
			return err
		}
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffer := bufio.NewWriterSize(file, 1<<20)
	if _, err := tree.WriteTo(buffer); err != nil {
		return err
	}
	return buffer.Flush()
}

// record is what generation holds for network.
func record(generation uint32, network string) Record {
	city := fmt.Sprintf("City %d of %s", generation, network)
	r := Record{Generation: generation, Network: network, City: city}
	r.Detail = make([]byte, detailSize)
	state := sum(r.City, nil)
	for at := 0; at < len(r.Detail); at += 8 {
		state = state*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(r.Detail[at:], state|1<<63) // never a word of zeros
	}
	return r
}

func sum(city string, detail []byte) uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(city))
	hash.Write(detail)
	return hash.Sum64()
}
