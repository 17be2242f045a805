//go:build !unix

package sigward

const waitForNobody = 0
