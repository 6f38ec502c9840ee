package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// project is a made-up project with this program at bin/xk6, and shell scripts in place of the real xk6 and the core's
// build that tell how they were called.
func project(t *testing.T) string {
	t.Helper()

	root := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o700))
	}
	write("xk6-barrier/go.mod", "module "+module+"\n")
	write(coreScript, "#!/bin/sh\necho core built\nexit ${CORE_CODE:-0}\n")
	write(realXk6, "#!/bin/sh\necho \"$@\"\necho \"cgo=$CGO_ENABLED goflags=$GOFLAGS\"\nexit ${XK6_CODE:-0}\n")

	out, err := exec.Command("go", "build", "-o", filepath.Join(root, "bin", "xk6"), ".").CombinedOutput()
	require.NoError(t, err, string(out))

	return root
}

func call(t *testing.T, root string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()

	var out, errs bytes.Buffer

	cmd := exec.Command(filepath.Join(root, "bin", "xk6"), args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), append([]string{"CGO_ENABLED=", "GOFLAGS=", "GOENV=off"}, env...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs

	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}

	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestBuildOfTheExtension(t *testing.T) {
	root := project(t)

	code, stdout, stderr := call(t, root, nil, "build", "--with", "./xk6-barrier")
	assert.Equal(t, 0, code)
	assert.Equal(t, "build --with "+module+"=./xk6-barrier\ncgo=1 goflags=-tags=netgo,osusergo\n", stdout)
	assert.Equal(t, "core built\n", stderr)

	code, stdout, stderr = call(t, root, []string{"CORE_CODE=3"}, "build", "--with", "./xk6-barrier")
	assert.Equal(t, 3, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "the Rust core could not be built")

	code, stdout, stderr = call(t, root, []string{"CGO_ENABLED=0"}, "build", "--with", "./xk6-barrier")
	assert.Equal(t, 0, code)
	assert.Contains(t, stdout, "cgo=0")
	assert.Empty(t, stderr)
}

func TestEverythingElsePassesThrough(t *testing.T) {
	root := project(t)

	code, stdout, stderr := call(t, root, []string{"XK6_CODE=2"}, "lint", "--json", "a b", "./xk6-barrier")
	assert.Equal(t, 2, code)
	assert.Equal(t, "lint --json a b ./xk6-barrier\ncgo= goflags=\n", stdout)
	assert.Empty(t, stderr)
}

func TestWithoutTheRealXk6(t *testing.T) {
	root := project(t)
	require.NoError(t, os.Remove(filepath.Join(root, realXk6)))

	code, _, stderr := call(t, root, nil, "version")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "run 'make tools'")
}
