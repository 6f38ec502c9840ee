package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheListKeepsTheCoreApart(t *testing.T) {
	t.Parallel()

	text := string(list(
		[]component{{name: "one", version: "1.0.0", licence: "MIT", inCore: true}, {name: "two", version: "2.0.0", licence: "Zlib"}},
		[]component{{name: "example.com/three", version: "v3.0.0", licence: "Apache-2.0"}},
	))
	assert.Regexp(t, `(?s)in the core\n.*\| one \| 1\.0\.0 \| MIT \|\n.*besides\n.*\| two \| 2\.0\.0 \| Zlib \|\n.*Go, in k6.*\| example\.com/three \|`, text)
}

func TestADifferenceNamesBothSides(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "\n- | old |\n+ | new |", difference([]byte("| same |\n| old |\n"), []byte("| same |\n| new |\n")))
}

func TestOnlyWhatIsLinkedIsReached(t *testing.T) {
	t.Parallel()

	seen := map[string]bool{}
	reach("a", map[string][]string{"a": {"b"}, "b": {"a", "c"}, "other": {"d"}}, seen)
	assert.Equal(t, map[string]bool{"a": true, "b": true, "c": true}, seen)
}

func TestLicenceFilesAreFound(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	for name, text := range map[string]string{"LICENSE-MIT": "one\n", "COPYING": "two", "README.md": "three"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}

	texts, err := component{dir: dir}.texts()
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"one", "two"}, texts)
}
