//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"reflect"
	"runtime"
)

// textRange returns where this runtime's Go code lies: from the first function to past the last.
//
// The runtime knows a function for every address in between and for none outside (FuncForPC takes
// addresses between functions as well), so both ends can be found by halving.
func textRange() (low, high uintptr) {
	here := reflect.ValueOf(textRange).Pointer()
	isGo := func(distance uintptr, sign int) bool {
		pc := here + distance
		if sign < 0 {
			pc = here - distance
		}
		return runtime.FuncForPC(pc) != nil
	}
	reach := func(sign int) uintptr {
		step := uintptr(1 << 12)
		for isGo(step, sign) {
			step <<= 1
		}
		inside, outside := uintptr(0), step
		for outside-inside > 1 {
			if middle := inside + (outside-inside)/2; isGo(middle, sign) {
				inside = middle
			} else {
				outside = middle
			}
		}
		return inside
	}
	return here - reach(-1), here + reach(+1) + 1
}
