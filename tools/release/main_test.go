package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const at = "2026-01-02T15:04:05Z"

func writeModule(t *testing.T) string {
	t.Helper()

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/Org/ext\n\ngo 1.25.0\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ext.go"), []byte("package ext\n"), 0o600))

	return dir
}

// The Go tool itself finds both versions, and what it downloads is what was put in.
func TestTheGoToolTakesModulesFromTheProxy(t *testing.T) {
	t.Parallel()

	dir, proxy := writeModule(t), t.TempDir()
	require.NoError(t, publish(dir, "v0.2.0", at, proxy))
	require.NoError(t, publish(dir, "v0.10.0-rc.1", at, proxy))

	run := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "GOPROXY=file://"+proxy, "GONOSUMDB=*", "GOFLAGS=-modcacherw", "GOMODCACHE="+t.TempDir())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))

		return string(out)
	}
	assert.Equal(t, "example.com/Org/ext v0.2.0 v0.10.0-rc.1\n", run("list", "-m", "-versions", "example.com/Org/ext"))
	assert.Contains(t, run("mod", "download", "-json", "example.com/Org/ext@v0.2.0"), `"Sum": "h1:`)
}

func TestAVersionIsNeverChanged(t *testing.T) {
	t.Parallel()

	dir, proxy := writeModule(t), t.TempDir()
	require.NoError(t, publish(dir, "v0.1.0", at, proxy))
	require.ErrorContains(t, publish(dir, "v0.1.0", at, proxy), "a version is never changed")
}

func TestBadVersionsAndTimesAreNamed(t *testing.T) {
	t.Parallel()

	dir, proxy := writeModule(t), t.TempDir()
	for _, version := range []string{"", "0.1.0", "v0.1"} {
		assert.ErrorContains(t, publish(dir, version, at, proxy), `"`+version+`"`)
	}

	assert.ErrorContains(t, publish(dir, "v2.0.0", at, proxy), "should be v0 or v1, not v2")

	assert.ErrorContains(t, publish(dir, "v0.1.0", "yesterday", proxy), "-time")
	assert.NoDirExists(t, filepath.Join(proxy, "example.com"))
}
