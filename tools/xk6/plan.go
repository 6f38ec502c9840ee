package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// invocation is what the user's arguments come to.
type invocation struct {
	args      []string // arguments for the real xk6
	extension bool     // this project's extension is part of the build
	verbose   bool     // the user asked for the Go tool's output
	cgo       string   // value of --cgo, empty where it was not given
	tags      bool     // the user sets build tags by --build-flags
}

const (
	withFlag    = "--with"
	replaceFlag = "--replace"
)

// plan rewrites the arguments of a build. extension is the folder of this project's extension.
func plan(args []string, extension string) (invocation, error) {
	call := invocation{args: slices.Clone(args)}

	// xk6 takes flags before its command, none of them with a value.
	verb := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
	if verb < 0 || args[verb] != "build" {
		return call, nil
	}

	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			break
		}

		name, value, joined := strings.Cut(arg, "=")

		switch name {
		case "-v", "--verbose":
			call.verbose = true
		case "--cgo": // its value can only be joined
			call.cgo = "1"
			if joined {
				call.cgo = value
			}
		case "--build-flags":
			if !joined && i+1 < len(args) {
				i++
				value = args[i]
			}

			call.tags = call.tags || strings.HasPrefix(strings.TrimLeft(value, "-"), "tags")
		case withFlag, replaceFlag:
			prefix := name + "="
			if !joined {
				if i++; i == len(args) {
					break // for xk6 to complain about
				}

				prefix, value = "", args[i]
			}

			if name == withFlag {
				var err error
				if value, err = completeWith(value); err != nil {
					return call, err
				}

				call.args[i] = prefix + value
			}

			_, dir, _ := strings.Cut(value, "=")
			call.extension = call.extension || isDirectoryPath(dir) && sameDir(dir, extension)
		}
	}

	return call, nil
}

// completeWith puts the module before a --with value that is only a directory.
func completeWith(value string) (string, error) {
	if !isDirectoryPath(value) || strings.Contains(value, "=") {
		return value, nil
	}

	file := filepath.Join(value, "go.mod")

	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s %s: there is no %s; give the folder of a Go module, or MODULE=%s", withFlag, value, file, value)
	}

	if err != nil {
		return "", fmt.Errorf("%s %s: %w", withFlag, value, err)
	}

	module := modfile.ModulePath(data)
	if module == "" {
		return "", fmt.Errorf("%s %s: %s has no module line", withFlag, value, file)
	}

	return module + "=" + value, nil
}

// isDirectoryPath tells a path from a module: as for the go command, a path starts with a dot or a slash.
func isDirectoryPath(value string) bool {
	return value == "." || value == ".." || filepath.IsAbs(value) ||
		strings.HasPrefix(value, "./") || strings.HasPrefix(value, "../")
}

func sameDir(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)

	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
