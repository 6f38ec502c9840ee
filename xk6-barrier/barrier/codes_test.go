package barrier

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// The codes are in barrier.h, in package core and in index.d.ts; the names of errors in Go and in index.d.ts.
func TestCodesAgree(t *testing.T) {
	t.Parallel()
	header, err := os.ReadFile("../../rust-core/ffi/include/barrier.h")
	require.NoError(t, err)
	typings, err := os.ReadFile("../index.d.ts")
	require.NoError(t, err)

	inHeader := map[string]string{}
	for _, define := range regexp.MustCompile(`#define (KBAR_[A-Z_]+) (-[0-9]+)\b`).FindAllStringSubmatch(string(header), -1) {
		inHeader[define[1]] = define[2]
	}
	inGo := map[string]string{}
	for status := core.Closed; status >= core.Empty; status-- {
		inGo[status.String()] = strconv.Itoa(int(status))
	}
	assert.Equal(t, inHeader, inGo)

	var codes []string
	for code := range inGo {
		codes = append(codes, code)
	}
	assert.ElementsMatch(t, append(codes, lateCode), find(typings, `\| '(KBAR_[A-Z_]+)'`))

	names := []string{
		timeoutError, brokenError, optionError, storeError, conflictError, lateError, queueTypeError, queueTimeoutError,
		internalError,
	}
	assert.ElementsMatch(t, names, find(typings, `name: '([A-Za-z]+Error)'`))
}

// Each option, and each method, of the code is in index.d.ts.
func TestTypingsAreComplete(t *testing.T) {
	t.Parallel()
	typings, err := os.ReadFile("../index.d.ts")
	require.NoError(t, err)
	p := newProcess(t)
	v := p.initUser(1)
	known := find([]byte(v.errorOf(`new Barrier('x', { parties: 1, unknown: 1 })`, `e.allowed`)), `([a-zA-Z]+)`)
	declared := find(find1(t, typings, `(?s)interface BarrierOptions \{(.*?)\n  \}`), `(?m)^    ([a-zA-Z]+)\??:`)
	assert.ElementsMatch(t, known, declared)

	for class, construct := range map[string]string{
		"Barrier":      `new Barrier('x', { parties: 1 })`,
		"QueueCounter": `new QueueCounter({ redis: 'redis://localhost', keys: ['k'] })`,
	} {
		methods := find([]byte(v.mustRun(`Object.keys(`+construct+`).join(' ')`).String()), `([a-zA-Z]+)`)
		declared := find(find1(t, typings, `(?s)export class `+class+` \{(.*?)\n  \}`), `(?m)^    ([a-zA-Z]+)\(`)
		declared = slices.DeleteFunc(declared, func(name string) bool { return name == "constructor" })
		assert.ElementsMatch(t, methods, declared, class)
	}
}

func find(text []byte, pattern string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	return found
}

func find1(t *testing.T, text []byte, pattern string) []byte {
	t.Helper()
	match := regexp.MustCompile(pattern).FindSubmatch(text)
	require.NotNil(t, match, pattern)
	return match[1]
}
