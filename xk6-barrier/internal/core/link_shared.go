//go:build cgo && unix && barrier_shared

package core

// With the build tag barrier_shared k6 loads libbarrier_ffi.so when it starts: the loader must find it, for example by
// LD_LIBRARY_PATH. It is meant for work on the core itself.

/*
#cgo CFLAGS: -I${SRCDIR}/../../../rust-core/ffi/include
#cgo LDFLAGS: -L${SRCDIR}/lib -lbarrier_ffi
*/
import "C"
