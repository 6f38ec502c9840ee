//go:build !cgo || !unix

package core

// NewEngine explains how to build a k6 that has a core.
func NewEngine() (Engine, error) { return nil, ErrNoCgo }
