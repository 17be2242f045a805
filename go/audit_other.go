//go:build !linux

package sigward

import "errors"

// Audit is for Linux.
func Audit() (AuditReport, error) { return AuditReport{}, errors.ErrUnsupported }
