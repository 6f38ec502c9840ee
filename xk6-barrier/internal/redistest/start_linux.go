package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// orders are starts of children. To the kernel the parent of a child is the thread that started it, and a child ends with its parent:
// this thread lives as long as the process.
var orders = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go nurse(c)
	return c
})

// nurse starts children. Where `go test` is killed it ends the test, which goes on for no one. Whoever else starts a test may end
// before it: a shell leaves it to go on in the background.
func nurse(orders <-chan func()) {
	runtime.LockOSThread()
	var ticks <-chan time.Time
	parent := os.Getppid()
	if isGo(parent) {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case order := <-orders:
			order()
		case <-ticks:
			if os.Getppid() != parent {
				_, _ = fmt.Fprintln(os.Stderr, "whoever started this test has ended, and so does the test")
				os.Exit(1)
			}
		}
	}
}

// isGo tells whether a process is the command `go`.
func isGo(pid int) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.TrimSpace(string(name)) == "go"
}

// start starts a child that ends with this process, however that ends.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error, 1)
	orders() <- func() { done <- cmd.Start() }
	return <-done
}
