package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// orders are starts of children. To the kernel the parent of a child is the thread that started it, and a child ends with its parent:
// this thread lives as long as the process.
var orders = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go nurse(c, os.Getppid())
	return c
})

// nurse starts children. Where `go test` is killed it ends the test, which goes on for no one.
func nurse(orders <-chan func(), parent int) {
	runtime.LockOSThread()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case order := <-orders:
			order()
		case <-ticker.C:
			if os.Getppid() != parent {
				_, _ = fmt.Fprintln(os.Stderr, "whoever started this test has ended, and so does the test")
				os.Exit(1)
			}
		}
	}
}

// start starts a child that ends with this process, however that ends.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error, 1)
	orders() <- func() { done <- cmd.Start() }
	return <-done
}
