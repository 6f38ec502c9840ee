//go:build cgo && unix && !barrier_shared

package core

// The core is linked into k6, so that k6 stays one file. Only what is in every glibc of Debian 12 or later remains
// dynamic; libgcc, which the core needs to unwind, is linked statically too. The list is what
// `cargo rustc -p barrier-ffi --crate-type staticlib -- --print native-static-libs` prints.
// For musl the core must be built for its own target.

/*
#cgo CFLAGS: -I${SRCDIR}/../../../rust-core/ffi/include
#cgo linux LDFLAGS: ${SRCDIR}/lib/libbarrier_ffi.a -static-libgcc -lm -ldl -lpthread
#cgo darwin LDFLAGS: ${SRCDIR}/lib/libbarrier_ffi.a -lm -framework CoreFoundation -framework Security
*/
import "C"
