#include "textflag.h"

// func LoadLoad()
TEXT ·LoadLoad(SB), NOSPLIT, $0-0
	DMB $0x9 // ISHLD
	RET

// func StoreLoad()
TEXT ·StoreLoad(SB), NOSPLIT, $0-0
	DMB $0xb // ISH
	RET
