package order

// LoadLoad keeps loads before it in front of loads and stores after it.
func LoadLoad()

// StoreLoad keeps all accesses before it in front of all accesses after it.
func StoreLoad()
