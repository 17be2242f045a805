package maxminddb

import (
	"fmt"
	"sync"

	sigward "github.com/sigward/sigward/go"
)

// guarded has the map of each slice that was handed out, by its first byte.
var guarded sync.Map

func mmap(fd, length int) ([]byte, error) {
	m, err := sigward.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	data := m.Bytes()[:length]
	guarded.Store(&data[0], m)
	return data, nil
}

func munmap(data []byte) error {
	m, found := guarded.LoadAndDelete(&data[0])
	if !found {
		return fmt.Errorf("no map begins there")
	}
	return m.(*sigward.Map).Close()
}
