//go:build warded

package main

import _ "github.com/sigward/sigward/go"
