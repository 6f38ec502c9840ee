//go:build cgo && unix && barrier_shared

package core

// With the build tag barrier_shared k6 loads the core when it starts, from the folder that it was built in; where that
// is gone, LD_LIBRARY_PATH names another. It is meant for work on the core itself.

/*
#cgo CFLAGS: -I${SRCDIR}/lib
#cgo linux,amd64 LDFLAGS: -L${SRCDIR}/lib/linux_amd64 -Wl,-rpath,${SRCDIR}/lib/linux_amd64
#cgo linux,arm64 LDFLAGS: -L${SRCDIR}/lib/linux_arm64 -Wl,-rpath,${SRCDIR}/lib/linux_arm64
#cgo darwin,amd64 LDFLAGS: -L${SRCDIR}/lib/darwin_amd64 -Wl,-rpath,${SRCDIR}/lib/darwin_amd64
#cgo darwin,arm64 LDFLAGS: -L${SRCDIR}/lib/darwin_arm64 -Wl,-rpath,${SRCDIR}/lib/darwin_arm64
#cgo LDFLAGS: -lbarrier_ffi
*/
import "C"
