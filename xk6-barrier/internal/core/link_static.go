//go:build cgo && unix && !barrier_shared

package core

// The core is linked into k6, so that k6 stays one file. Only what is in every glibc from 2.35 on remains
// dynamic; libgcc, which the core needs to unwind, is linked statically too. The list is what
// `cargo rustc -p barrier-ffi --crate-type staticlib -- --print native-static-libs` prints.
// For musl the core must be built for its own target.
//
// Where a library is missing the compiler says so, before the linker can: a release has the header for all systems, and libraries
// for Linux alone. A library for the C library of this machine is told from another by its mark, which scripts/build-core.sh leaves.

/*
#if defined(__has_include)
#if defined(__linux__) && defined(__x86_64__)
#if !__has_include("linux_amd64/libbarrier_ffi.a")
#define KBAR_NO_LIBRARY
#endif
#elif defined(__linux__) && defined(__aarch64__)
#if !__has_include("linux_arm64/libbarrier_ffi.a")
#define KBAR_NO_LIBRARY
#endif
#elif defined(__APPLE__) && defined(__x86_64__)
#if !__has_include("darwin_amd64/libbarrier_ffi.a")
#define KBAR_NO_LIBRARY
#endif
#elif defined(__APPLE__) && defined(__aarch64__)
#if !__has_include("darwin_arm64/libbarrier_ffi.a")
#define KBAR_NO_LIBRARY
#endif
#else
#error "xk6-barrier: its native core is for Linux and macOS on amd64 and arm64; CGO_ENABLED=0 builds k6 without it"
#endif
#if defined(KBAR_NO_LIBRARY) && __has_include("barrier.h")
#error "xk6-barrier: it has no native core for this system; tags and releases have it for Linux on amd64 and arm64, `make k6` of a checkout builds it here"
#endif
#if defined(__linux__) && __has_include("glibc") && __has_include(<features.h>)
#include <features.h>
#ifndef __GLIBC__
#error "xk6-barrier: its native core was built for glibc, and this system has another C library; `make k6` of a checkout builds it here"
#endif
#endif
#endif
#cgo CFLAGS: -I${SRCDIR}/lib
#cgo linux,amd64 LDFLAGS: ${SRCDIR}/lib/linux_amd64/libbarrier_ffi.a
#cgo linux,arm64 LDFLAGS: ${SRCDIR}/lib/linux_arm64/libbarrier_ffi.a
#cgo linux LDFLAGS: -static-libgcc -lm -ldl -lpthread
#cgo darwin,amd64 LDFLAGS: ${SRCDIR}/lib/darwin_amd64/libbarrier_ffi.a
#cgo darwin,arm64 LDFLAGS: ${SRCDIR}/lib/darwin_arm64/libbarrier_ffi.a
#cgo darwin LDFLAGS: -lm -framework CoreFoundation -framework Security
*/
import "C"
