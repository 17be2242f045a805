package main

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stdlib.h>
//
// static int call(void *function) { return ((int (*)(void))function)(); }
import "C"

// A second Go runtime: cmd/library as a shared library, from the path in MATRIX_LIBRARY.

import (
	"errors"
	"os"
	"unsafe"
)

var second unsafe.Pointer

func init() {
	steps["second Go"] = func() error {
		path := C.CString(os.Getenv("MATRIX_LIBRARY"))
		defer C.free(unsafe.Pointer(path))
		if second = C.dlopen(path, C.RTLD_NOW); second == nil {
			return errors.New(C.GoString(C.dlerror()))
		}
		_, err := callSecond("library_ready")
		return err
	}
	actions["second Go pipe"] = func() (string, error) {
		code, err := callSecond("library_go_pipe")
		if err != nil {
			return "", err
		}
		return brokenPipe(errno(code))
	}
}

func callSecond(name string) (C.int, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	function := C.dlsym(second, text)
	if function == nil {
		return 0, errors.New(C.GoString(C.dlerror()))
	}
	return C.call(function), nil
}
