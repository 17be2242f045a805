package scenario

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A collector is a program that is upgraded again and again: one process after the other, one
// address, one store.
type collector struct {
	binary, address, store string
	certificate, key       string // empty: plain TCP
	process                *process
	upgrades               int
}

func (c *collector) start(ctx context.Context) (err error) {
	args := []string{"-listen", c.address, "-store", c.store}
	if c.certificate != "" {
		args = append(args, "-certificate", c.certificate, "-key", c.key)
	}
	c.process, err = startProcess(ctx, c.binary, args...)
	return err
}

// upgrade ends the collector and starts the next one, by turns as a deployment does that has no
// patience (SIGKILL) and one that has a little (SIGTERM: all connections are reset).
func (c *collector) upgrade(ctx context.Context) error {
	signal := syscall.SIGKILL
	if c.upgrades%2 == 1 {
		signal = syscall.SIGTERM
	}
	c.process.stop(signal)
	c.upgrades++
	return c.start(ctx)
}

func (c *collector) kill() {
	if c.process != nil {
		c.process.kill()
	}
}

// freePort finds an address below the range that the kernel takes ports of connections from: while
// a collector is down, nobody else can get its port, and nobody who dials it can meet himself.
func freePort() (string, error) {
	for attempt := 0; attempt < 100; attempt++ {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(15000+mathrand.Intn(15000)))
		if listener, err := net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", fmt.Errorf("no free port between 15000 and 30000")
}

// readStore returns how often each event is in the store.
func readStore(path string) (map[uint64]int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	events := map[uint64]int{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		digits, _, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return nil, err
		}
		events[n]++
	}
	return events, nil
}

// compare says how many of the accepted events are not in the store, and how many are there more
// than once.
func compare(accepted []uint64, stored map[uint64]int) (lost, twice int) {
	for _, n := range accepted {
		if stored[n] == 0 {
			lost++
		}
	}
	for _, count := range stored {
		if count > 1 {
			twice++
		}
	}
	return lost, twice
}

// writeCertificate makes a self-signed certificate for 127.0.0.1 and its key, as PEM files.
func writeCertificate(certificate, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent := template // it signs itself
	public, err := x509.CreateCertificate(
		rand.Reader, template, parent, private.Public(), private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	if err := writePEM(certificate, "CERTIFICATE", public); err != nil {
		return err
	}
	return writePEM(key, "PRIVATE KEY", secret)
}

func writePEM(path, kind string, content []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}
