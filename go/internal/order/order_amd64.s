#include "textflag.h"

// func StoreLoad()
TEXT ·StoreLoad(SB), NOSPLIT, $0-0
	MFENCE
	RET
