// Command xk6 stands in front of the real xk6 and makes
//
//	xk6 build --with ./xk6-barrier
//
// do what its user means. xk6 refuses a bare directory after --with, builds without cgo, and knows nothing of the Rust
// core that the extension links. For the build command this program therefore
//
//   - rewrites "--with ./DIR" to "--with MODULE=./DIR", with MODULE read from DIR/go.mod;
//   - and, where one of these directories is this project's extension, first brings the Rust core up to date and sets
//     the environment that its build needs (cgo, build tags).
//
// Every other argument, every other command, the standard streams and the exit code are those of the real xk6.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Places relative to the project's root, which is the parent of the folder that holds this program (bin/xk6).
const (
	realXk6      = "bin/libexec/xk6"
	extensionDir = "xk6-barrier"
	coreScript   = "scripts/build-core.sh"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "xk6:", err)
	}

	os.Exit(code)
}

// run returns the exit code, and an error only where the real xk6 has not reported one itself.
func run(args []string) (int, error) {
	root, err := projectRoot()
	if err != nil {
		return 1, err
	}

	call, err := plan(args, filepath.Join(root, extensionDir))
	if err != nil {
		return 1, err
	}

	env := os.Environ()

	if call.extension {
		if env, err = linkEnv(env, call, goEnv); err != nil {
			return 1, err
		}

		if !cgoOff(env, call) {
			// On stderr, so that what xk6 itself prints on stdout stays clean.
			if code, err := execute(os.Stderr, nil, filepath.Join(root, coreScript)); code != 0 {
				return code, fmt.Errorf("the Rust core could not be built: %w", err)
			}
		}
	}

	code, err := execute(os.Stdout, env, filepath.Join(root, realXk6), call.args...)

	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if call.extension && !call.verbose {
			fmt.Fprintln(os.Stderr, "xk6: run again with --verbose to see what the Go tool said")
		}

		return code, nil
	}

	if err != nil {
		return code, fmt.Errorf("%w: run 'make tools' in %s", err, root)
	}

	return code, nil
}

func projectRoot() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the project that this program belongs to: %w", err)
	}

	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", fmt.Errorf("cannot find the project that this program belongs to: %w", err)
	}

	return filepath.Dir(filepath.Dir(self)), nil
}

// execute runs a program with our input and errors. A nil env hands on ours.
func execute(stdout *os.File, env []string, path string, args ...string) (int, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, os.Stderr

	// Let the program end in its own way, and tell its exit code, when the user interrupts.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	defer signal.Stop(signals)

	if err := cmd.Start(); err != nil {
		return 1, err
	}

	ended := make(chan struct{})
	defer close(ended)

	go func() {
		for {
			select {
			case sig := <-signals:
				_ = cmd.Process.Signal(sig)
			case <-ended:
				return
			}
		}
	}()

	err := cmd.Wait()

	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), err
	default:
		return 1, err
	}
}
