//go:build !cgo || !unix

package core

// NewEngine explains how to build a k6 that has a core.
func NewEngine() (Engine, error) { return nil, ErrNoCgo }

// Linked explains it as well.
func Linked() (uint32, string, error) { return 0, "", ErrNoCgo }
