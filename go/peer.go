package sigward

import (
	"fmt"
	"strings"
	"syscall"
)

// peer turns a struct sockaddr into text, as net/netip writes addresses. That package itself, with
// what it needs, would add 70 KB to a program without other use for it.
func peer(raw []byte) string {
	if len(raw) < 4 {
		return ""
	}
	family := uint16(raw[0]) | uint16(raw[1])<<8 // linux/amd64 and arm64 are little-endian
	port := uint16(raw[2])<<8 | uint16(raw[3])
	switch {
	case family == syscall.AF_INET && len(raw) >= 8:
		return fmt.Sprintf("%s:%d", ip4(raw[4:8]), port)
	case family == syscall.AF_INET6 && len(raw) >= 24:
		return fmt.Sprintf("[%s]:%d", ip6(raw[8:24]), port)
	case family == syscall.AF_UNIX:
		return cString(raw[2:])
	}
	return ""
}

func ip4(raw []byte) string { return fmt.Sprintf("%d.%d.%d.%d", raw[0], raw[1], raw[2], raw[3]) }

// ip6 writes the longest run of at least two zero groups, the first of several, as "::" (RFC 5952).
func ip6(raw []byte) string {
	if mapped := strings.Repeat("\x00", 10) + "\xff\xff"; string(raw[:12]) == mapped {
		return "::ffff:" + ip4(raw[12:])
	}
	group := func(i int) uint { return uint(raw[2*i])<<8 | uint(raw[2*i+1]) }
	start, length := 8, 1
	for i := 0; i < 8; i++ {
		end := i
		for end < 8 && group(end) == 0 {
			end++
		}
		if end-i > length {
			start, length = i, end-i
		}
	}
	var text strings.Builder
	for i := 0; i < 8; i++ {
		if i == start {
			text.WriteString("::")
			i += length - 1
			continue
		}
		if i > 0 && i != start+length {
			text.WriteByte(':')
		}
		fmt.Fprintf(&text, "%x", group(i))
	}
	return text.String()
}
