//go:build !warded

package main

func adopt(string) (guard, error) { return nothing{}, nil }

func checkLoss(error, int64) error { return nil }
