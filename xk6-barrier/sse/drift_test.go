package sse

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// The tests in this file compare the typings and the reference with the code.

func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path) //nolint:gosec // a file of this repository
	require.NoError(t, err)
	return string(content)
}

func matches(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return found
}

// section returns what is between two marks.
func section(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, from)
	require.True(t, found, from)
	part, _, found := strings.Cut(rest, to)
	require.True(t, found, to)
	return part
}

func TestTypingsListTheErrors(t *testing.T) {
	t.Parallel()
	inCode := matches(`(?m)^\tname\w+\s+= "(\w+)"$`, readText(t, "errors.go"))
	require.Len(t, inCode, 12)
	assert.Equal(t, inCode, matches(`\| "(\w+)"`, section(t, readText(t, "index.d.ts"), "export type ErrorName =", ";")))
	reference := readText(t, "../../docs/reference/sse.md")
	var codes []string
	for _, name := range inCode {
		assert.Contains(t, reference, "`"+name+"`")
		codes = append(codes, script.Code(name))
	}
	slices.Sort(codes)
	assert.Equal(t, codes, matches(`\| "(\w+)"`, section(t, readText(t, "index.d.ts"), "export type ErrorCode =", ";")))
}

func TestTypingsAndReferenceListTheOptions(t *testing.T) {
	t.Parallel()
	typings := readText(t, "index.d.ts")
	keys := func(from string) []string { return matches(`(?m)^    (\w+)\?: `, section(t, typings, from, "\n  }\n")) }
	shared := keys("export interface CommonParams {")
	assert.Equal(t, sortedKeys(commonOptions), shared)
	for from, options := range map[string]map[string]option{
		"export interface OpenParams extends CommonParams {":        openOptions,
		"export interface OpenAsyncParams extends CommonParams {":   openAsyncOptions,
		"export interface EventSourceParams extends CommonParams {": eventSourceOptions,
	} {
		all := append(keys(from), shared...)
		slices.Sort(all)
		assert.Equal(t, sortedKeys(options), all)
	}

	table := section(t, readText(t, "../../docs/reference/sse.md"), "## Options", "## The stream")
	for column, options := range map[string]map[string]option{
		`(?:yes|no) \| (?:yes|no) \| yes`: eventSourceOptions, `yes \| (?:yes|no) \| (?:yes|no)`: openOptions,
		`(?:yes|no) \| yes \| (?:yes|no)`: openAsyncOptions,
	} {
		assert.Equal(t, sortedKeys(options), matches("(?m)^\\| `(\\w+)` \\| "+column+" \\|", table))
	}
	for _, name := range ignoredOptions {
		assert.Contains(t, table, "`"+name+"`")
	}
	for _, row := range []string{
		fmt.Sprintf("| `connectTimeout` | yes | yes | yes | `\"%.0fs\"` |", defaultConnectTimeout.Seconds()),
		fmt.Sprintf("| `idleTimeout` | yes | yes | yes | `\"%.0fm\"` |", defaultIdleTimeout.Minutes()),
		fmt.Sprintf("| `reconnectDelay` | no | no | yes | `\"%.0fs\"` |", defaultReconnectDelay.Seconds()),
		fmt.Sprintf("| `maxEventSize` | yes | yes | yes | `%d` |", defaultMaxEventSize),
		fmt.Sprintf("at most %d", maxMaxEventSize),
		fmt.Sprintf("| `baseDelay` | no | yes | no | `\"%.0fs\"` |", defaultBaseDelay.Seconds()),
		fmt.Sprintf("| `maxDelay` | no | yes | no | `\"%.0fs\"` |", defaultMaxDelay.Seconds()),
	} {
		assert.Contains(t, table, row)
	}
}

func TestReferenceListsTheMetrics(t *testing.T) {
	t.Parallel()
	inCode := matches(`(?m)^\tmetric\w+\s+= "(\w+)"`, readText(t, "metrics.go"))
	require.Len(t, inCode, 5)
	table := section(t, readText(t, "../../docs/reference/sse.md"), "## Metrics", "## Build without it")
	assert.Equal(t, inCode, matches("(?m)^\\| `(sse_\\w+)` \\|", table))
}
