package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheBillNamesEachComponentWithItsLicence(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer

	require.NoError(t, bill(&out, "v1.2.3", []component{
		{kind: "cargo", name: "one", version: "1.0.0", licence: "MIT OR Apache-2.0"},
		{kind: "golang", name: "example.com/two", version: "v2.0.0", licence: "Apache-2.0, MIT"},
		{kind: "golang", name: "example.com/three", version: "v3.0.0", licence: "no licence file"},
	}))

	var bom struct {
		Format   string `json:"bomFormat"`
		Metadata struct {
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name     string
			URL      string `json:"purl"`
			Licenses []struct{ Expression string }
		}
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &bom))
	assert.Equal(t, "CycloneDX", bom.Format)
	assert.Equal(t, "v1.2.3", bom.Metadata.Component.Version)

	found := map[string]string{}

	for _, c := range bom.Components {
		found[c.URL] = ""
		for _, licence := range c.Licenses {
			found[c.URL] += licence.Expression
		}
	}

	assert.Equal(t, map[string]string{
		"pkg:generic/redis@6.2.14":            "BSD-3-Clause",
		"pkg:cargo/one@1.0.0":                 "MIT OR Apache-2.0",
		"pkg:golang/example.com/two@v2.0.0":   "Apache-2.0 AND MIT",
		"pkg:golang/example.com/three@v3.0.0": "",
	}, found)
}

func TestEachProgramOfAnArchiveIsARoot(t *testing.T) {
	t.Parallel()

	root := t.TempDir()
	for _, file := range []string{"one/src/main.rs", "two/src/main.rs", "kit/src/lib.rs"} {
		path := filepath.Join(root, "bench", "targets", file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}

	found, err := programs(root)
	require.NoError(t, err)
	assert.Equal(t, []string{
		filepath.Join(root, "bench", "runner"),
		filepath.Join(root, "bench", "targets", "one"), filepath.Join(root, "bench", "targets", "two"),
	}, found)
}

func TestATextIsPrintedOnceBelowAllWhoseItIs(t *testing.T) {
	t.Parallel()

	dir, bare := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("the text\n"), 0o600))

	var out bytes.Buffer

	require.NoError(t, printTexts(&out, "a test", []component{
		{name: "one", version: "1", dir: dir}, {name: "two", version: "2", dir: dir}, {name: "bare", version: "3", licence: "MIT", dir: bare},
	}))
	assert.Contains(t, out.String(), "one 1, two 2\n\nthe text\n")
	assert.Contains(t, out.String(), "bare 3\n\nLicensed under MIT; the package has no licence file.\n")
}
