//go:build sigward

package main

import _ "github.com/sigward/sigward/go"
