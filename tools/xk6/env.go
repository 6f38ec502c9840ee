package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Keep Go's own resolver: with cgo on, the C library's would otherwise change how k6 looks up names.
const pureGoTags = "netgo,osusergo"

// linkEnv adds to env what a k6 with the Rust core inside needs, where the user has not decided otherwise.
// lookup gives the Go tool's own value of a variable, whichever way it was set.
func linkEnv(env []string, call invocation, lookup func(name string) (string, error)) ([]string, error) {
	env = slices.Clone(env)

	if value(env, "CGO_ENABLED") == "" && call.cgo == "" {
		env = append(env, "CGO_ENABLED=1")
	}

	if call.tags {
		return env, nil
	}

	// By environment and not by --build-flags: giving that flag once drops xk6's own defaults.
	flags, err := lookup("GOFLAGS")
	if err != nil {
		return nil, err
	}

	return append(env, "GOFLAGS="+addTags(flags, pureGoTags)), nil
}

// cgoOff tells whether the user asked for a build without cgo. Such a k6 has the extension's stub, and needs no core.
func cgoOff(env []string, call invocation) bool {
	if call.cgo != "" { // as in xk6, the flag wins
		return call.cgo == "0"
	}

	return value(env, "CGO_ENABLED") == "0"
}

// addTags joins tags to those in flags, because the Go tool heeds only the last -tags.
func addTags(flags, tags string) string {
	fields := strings.Fields(flags)

	for i, field := range fields {
		if name, has, found := strings.Cut(field, "="); found && strings.TrimLeft(name, "-") == "tags" {
			fields[i] = "-tags=" + has + "," + tags

			return strings.Join(fields, " ")
		}
	}

	return strings.Join(append(fields, "-tags="+tags), " ")
}

// value returns the last setting of a variable, which is the one in force.
func value(env []string, name string) string {
	for _, entry := range slices.Backward(env) {
		if key, val, _ := strings.Cut(entry, "="); key == name {
			return val
		}
	}

	return ""
}

func goEnv(name string) (string, error) {
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		return "", fmt.Errorf("'go env %s' failed: %w; Go must be installed and on the PATH", name, err)
	}

	return strings.TrimSpace(string(out)), nil
}
