//go:build !warded

package main

func adopt(string) (guard, error) { return nothing{}, nil }
