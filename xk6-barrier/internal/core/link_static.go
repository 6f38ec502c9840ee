//go:build cgo && unix && !barrier_shared

package core

// The core is linked into k6, so that k6 stays one file. Only what is in every glibc of Debian 12 or later remains
// dynamic; libgcc, which the core needs to unwind, is linked statically too. The list is what
// `cargo rustc -p barrier-ffi --crate-type staticlib -- --print native-static-libs` prints.
// For musl the core must be built for its own target.

/*
#cgo CFLAGS: -I${SRCDIR}/lib
#cgo linux,amd64 LDFLAGS: ${SRCDIR}/lib/linux_amd64/libbarrier_ffi.a
#cgo linux,arm64 LDFLAGS: ${SRCDIR}/lib/linux_arm64/libbarrier_ffi.a
#cgo linux LDFLAGS: -static-libgcc -lm -ldl -lpthread
#cgo darwin,amd64 LDFLAGS: ${SRCDIR}/lib/darwin_amd64/libbarrier_ffi.a
#cgo darwin,arm64 LDFLAGS: ${SRCDIR}/lib/darwin_arm64/libbarrier_ffi.a
#cgo darwin LDFLAGS: -lm -framework CoreFoundation -framework Security
*/
import "C"
