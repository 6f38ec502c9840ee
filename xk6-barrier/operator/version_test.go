package operator

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

func TestVersionNamesTheLinkedCore(t *testing.T) {
	t.Parallel()
	abi, id, err := core.Linked()
	require.NoError(t, err)
	require.NotEmpty(t, id)

	// No store is needed, and none is asked.
	var found versions
	require.NoError(t, json.Unmarshal([]byte(prints(t, "", "version", "--json")), &found))
	assert.Equal(t, id, found.Core)
	assert.Equal(t, abi, found.ABI)
	line := fmt.Sprintf("k6 %s, xk6-barrier %s, core %s, ABI %d, %s\n", found.K6, found.Module, id, abi, found.Go)
	assert.Equal(t, line, prints(t, "", "version"))
}

func TestVersionsAreThoseOfTheBuild(t *testing.T) {
	t.Parallel()
	module := func(path, version string) *debug.Module { return &debug.Module{Path: path, Version: version} }
	folder := module(modulePath, "v0.0.0-unpublished")
	folder.Replace = &debug.Module{Path: "/somewhere"}
	for _, c := range []struct {
		module   *debug.Module
		expected string
	}{
		{module(modulePath, "v1.2.3"), "v1.2.3"},
		{folder, "(devel)"},
		{module("example.com/other", "v9"), "unknown"},
	} {
		found, err := versionsOf(&debug.BuildInfo{Deps: []*debug.Module{module(k6Path, "v2.2.0"), c.module}}, true)
		require.NoError(t, err)
		assert.Equal(t, "v2.2.0", found.K6)
		assert.Equal(t, c.expected, found.Module)
	}
	assert.Equal(t, "v0.1.0", versionOf(folder, "v0.1.0"), "a folder that is built as a release")
	assert.Equal(t, "v1.2.3", versionOf(module(modulePath, "v1.2.3"), "v0.1.0"), "Go knows best")
	found, err := versionsOf(nil, false)
	require.NoError(t, err)
	assert.Equal(t, "unknown", found.K6)
}
