package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "example.com/project/ext"

// inProject makes a folder with two Go modules, ext and other, and works in it.
func inProject(t *testing.T) (extension string) {
	t.Helper()

	root := t.TempDir()
	for name, content := range map[string]string{
		"ext/go.mod":   "// a comment\nmodule " + module + "\n\ngo 1.25.0\n",
		"other/go.mod": "module \"example.com/other\"\n",
		"empty/go.mod": "go 1.25.0\n",
	} {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}

	t.Chdir(root)

	return filepath.Join(root, "ext")
}

func TestPlanRewritesOnlyBareDirectories(t *testing.T) {
	extension := inProject(t)
	absolute := extension

	for name, test := range map[string]struct {
		args      string
		want      string
		extension bool
	}{
		"bare directory":        {"build --with ./ext", "build --with " + module + "=./ext", true},
		"joined":                {"build --with=./ext", "build --with=" + module + "=./ext", true},
		"trailing slash":        {"build --with ./ext/", "build --with " + module + "=./ext/", true},
		"absolute":              {"build --with " + absolute, "build --with " + module + "=" + absolute, true},
		"quoted module":         {"build --with ./other", "build --with example.com/other=./other", false},
		"module and directory":  {"build --with " + module + "=./ext", "build --with " + module + "=./ext", true},
		"module alone":          {"build --with github.com/grafana/xk6-redis@v0.4.3", "build --with github.com/grafana/xk6-redis@v0.4.3", false},
		"replacement":           {"build --with " + module + " --replace " + module + "=./ext", "build --with " + module + " --replace " + module + "=./ext", true},
		"several":               {"build v2.2.0 --with ./other --with=./ext -o out", "build v2.2.0 --with example.com/other=./other --with=" + module + "=./ext -o out", true},
		"flags before the verb": {"-v build --with ./ext", "-v build --with " + module + "=./ext", true},
		"after the end mark":    {"build -- --with ./ext", "build -- --with ./ext", false},
		"value is missing":      {"build --with", "build --with", false},
		"another verb":          {"run --with ./ext script.js", "run --with ./ext script.js", false},
		"no verb":               {"--version", "--version", false},
		"nothing":               {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			call, err := plan(strings.Fields(test.args), extension)
			require.NoError(t, err)
			assert.Equal(t, strings.Fields(test.want), call.args)
			assert.Equal(t, test.extension, call.extension)
		})
	}
}

func TestPlanInsideTheExtension(t *testing.T) {
	extension := inProject(t)
	t.Chdir(extension)

	call, err := plan([]string{"build", "--with", "."}, extension)
	require.NoError(t, err)
	assert.Equal(t, []string{"build", "--with", module + "=."}, call.args)
	assert.True(t, call.extension)
}

func TestPlanNamesWhatIsWrong(t *testing.T) {
	extension := inProject(t)

	_, err := plan([]string{"build", "--with", "./absent"}, extension)
	require.ErrorContains(t, err, "--with ./absent: there is no absent/go.mod")

	_, err = plan([]string{"build", "--with", "./empty"}, extension)
	require.ErrorContains(t, err, "empty/go.mod has no module line")
}

func TestPlanReadsWhatTheUserDecided(t *testing.T) {
	extension := inProject(t)

	for args, want := range map[string]invocation{
		"build":           {},
		"build --cgo":     {cgo: "1"},
		"build --cgo=0":   {cgo: "0"},
		"build --verbose": {verbose: true},
		"build --build-flags=-tags=barrier_shared":      {tags: true},
		"build --build-flags --tags=a --build-flags=-x": {tags: true},
		"build --build-flags=-trimpath":                 {},
	} {
		call, err := plan(strings.Fields(args), extension)
		require.NoError(t, err)

		want.args = strings.Fields(args)
		assert.Equal(t, want, call, args)
	}
}
