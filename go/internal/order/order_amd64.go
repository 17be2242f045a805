package order

// LoadLoad keeps loads before it in front of loads after it. This processor does so by itself.
func LoadLoad() {}

// StoreLoad keeps all accesses before it in front of all accesses after it: even here a load may
// overtake a store.
func StoreLoad()
