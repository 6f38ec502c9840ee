package barrier

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// The codes are in barrier.h, in package core and in index.d.ts; the names of errors in Go and in index.d.ts.
func TestCodesAgree(t *testing.T) {
	t.Parallel()
	header, err := os.ReadFile("../../rust-core/ffi/include/barrier.h")
	require.NoError(t, err)
	typings := readTypings(t)

	inHeader := map[string]string{}
	for _, define := range regexp.MustCompile(`#define (KBAR_[A-Z_]+) (-[0-9]+)\b`).FindAllStringSubmatch(string(header), -1) {
		inHeader[define[1]] = define[2]
	}
	inGo := map[string]string{}
	for status := core.Closed; status >= core.Empty; status-- {
		inGo[status.String()] = strconv.Itoa(int(status))
	}
	assert.Equal(t, inHeader, inGo)

	assert.ElementsMatch(t, append(errorNames, internalError), find(typings, `name: '([A-Za-z]+Error)'`))
	assert.ElementsMatch(t, codes(), find(find1(t, typings, `(?s)type BarrierErrorCode =(.*?);`), `'([A-Z_]+)'`))
	assert.NotContains(t, string(typings), "KBAR_")
}

var errorNames = []string{ //nolint:gochecknoglobals // a constant that Go has no constant form for
	timeoutError, brokenError, optionError, storeError, conflictError, lateError, queueTypeError, queueTimeoutError,
	groupTimeoutError, groupLeftError,
}

// codes are all that an error may have.
func codes() []string {
	var list []string
	for _, name := range errorNames {
		list = append(list, script.Code(name))
	}
	for status := core.Closed; status >= core.Empty; status-- {
		if wrapError("", &core.Error{Status: status}).name == internalError {
			list = append(list, codeOf(status))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Each option, and each method, of the code is in index.d.ts.
func TestTypingsAreComplete(t *testing.T) {
	t.Parallel()
	typings := readTypings(t)
	p := newProcess(t)
	v := p.initUser(1)
	known := find([]byte(v.errorOf(`new Barrier('x', { parties: 1, unknown: 1 })`, `e.allowed`)), `([a-zA-Z]+)`)
	declared := find(find1(t, typings, `(?s)interface BarrierOptions \{(.*?)\n  \}`), `(?m)^    ([a-zA-Z]+)\??:`)
	assert.ElementsMatch(t, known, declared)
	known = find([]byte(v.errorOf(`new Group('x', { size: 2, unknown: 1 })`, `e.allowed`)), `([a-zA-Z]+)`)
	declared = find(find1(t, typings, `(?s)interface GroupOptions \{(.*?)\n  \}`), `(?m)^    ([a-zA-Z]+)\??:`)
	assert.ElementsMatch(t, known, declared)

	for name, methods := range map[string][]string{
		"Barrier": names(barrierMethods), "Group": names(groupMethods), "QueueCounter": names(queueCounterMethods),
	} {
		declared := find(find1(t, typings, `(?s)export class `+name+` \{(.*?)\n  \}`), `(?m)^    ([a-zA-Z]+)\(`)
		declared = slices.DeleteFunc(declared, func(name string) bool { return name == "constructor" })
		assert.ElementsMatch(t, methods, declared, name)
	}
}

func names[T class.Value](methods []class.Method[T]) []string {
	list := make([]string, len(methods))
	for at, m := range methods {
		list[at] = m.Name
	}
	return list
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

// What status() returns is what the typings declare, so that a new property reaches editors and the reference.
func TestStatusIsThatOfTheTypings(t *testing.T) {
	t.Parallel()
	typings := readTypings(t)
	v := newProcess(t).user(1, `const b = new Barrier('x', { parties: 2 }); const g = new Group('x', { size: 2 })`)
	v.mustRun(`b.arrive()`)
	for shape, object := range map[string]string{"BarrierStatus": `b`, "GroupStatus": `g`} {
		declared := find(find1(t, typings, `(?s)interface `+shape+` \{(.*?)\n  \}`), `(?m)^    ([a-zA-Z]+)\??:`)
		var returned []string
		require.NoError(t, json.Unmarshal([]byte(v.json(`Object.keys(`+object+`.status())`)), &returned))
		assert.ElementsMatch(t, declared, returned, shape)
	}
}

// The reference lists what the code has, and the file that the type checker reads uses it.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	reference, err := os.ReadFile("../../docs/reference/barrier.md")
	require.NoError(t, err)
	smoke, err := os.ReadFile("../../js/types/api-smoke.ts")
	require.NoError(t, err)
	typings := readTypings(t)
	p := newProcess(t)
	v := p.initUser(1)
	optionsOf := func(code string) []string {
		return find([]byte(v.errorOf(code, `e.allowed`)), `([a-zA-Z]+)`)
	}

	options := optionsOf(`new Barrier('x', { parties: 1, unknown: 1 })`)
	table := find1(t, reference, "(?s)\\| option \\| default(.*?)\n\n")
	assert.ElementsMatch(t, options, find(table, "(?m)^\\| `([a-zA-Z]+)` \\|"))
	for _, option := range options {
		assert.Regexp(t, `(?m)^  `+option+`[:,]`, string(smoke))
	}
	table = find1(t, reference, "(?s)\\| counter option \\| default(.*?)\n\n")
	counterOptions := optionsOf(`new QueueCounter({ redis: 'redis://localhost', keys: ['k'], unknown: 1 })`)
	assert.ElementsMatch(t, counterOptions, find(table, "(?m)^\\| `([a-zA-Z]+)` \\|"))

	table = find1(t, reference, "(?s)\\| group option \\| default(.*?)\n\n")
	groupOptions := optionsOf(`new Group('x', { size: 2, unknown: 1 })`)
	assert.ElementsMatch(t, groupOptions, find(table, "(?m)^\\| `([a-zA-Z]+)` \\|"))

	for name, methods := range map[string][]string{
		"barrier": names(barrierMethods), "lobby": names(groupMethods), "queues": names(queueCounterMethods),
	} {
		for _, method := range methods {
			assert.Contains(t, string(smoke), name+"."+method+"(", method)
			assert.Regexp(t, "`"+method+"(\\(|`)", string(reference), method)
		}
	}

	for _, shape := range []string{"OutcomeResult", "WaitResult", "BarrierStatus", "QueueWaitResult", "JoinResult", "GroupStatus"} {
		declared := find1(t, typings, `(?s)interface `+shape+` \{(.*?)\n  \}`)
		for _, property := range find(declared, `(?m)^    ([a-zA-Z]+)\??:`) {
			assert.Regexp(t, `\b`+property+`\b`, string(reference), shape)
			assert.Regexp(t, `[.{,] ?`+property+`\b`, string(smoke), shape)
		}
	}

	declared := find(typings, `name: '([A-Za-z]+Error)'`)
	assert.ElementsMatch(t, declared, find(find1(t, reference, "(?s)\\| name \\| code(.*?)\n\n"), "(?m)^\\| `([A-Za-z]+)` \\|"))
	for _, name := range declared {
		assert.Contains(t, string(smoke), name)
	}
	for _, code := range codes() {
		assert.Contains(t, string(reference), "`"+code+"`")
	}

	var metrics []string
	for _, m := range p.registry.All() {
		metrics = append(metrics, m.Name)
	}
	assert.ElementsMatch(t, metrics, find(find1(t, reference, "(?s)\\| metric \\| type(.*?)\n\n"), "(?m)^\\| `([a-z_]+)` \\|"))

	for _, fact := range []string{
		fmt.Sprintf("| `timeout` | `\"%.0fs\"` |", defaultTimeout.Seconds()),
		fmt.Sprintf("(at most `limit`, 0 to %d)", maxMissing),
		fmt.Sprintf("`missing(limit = %d)`", shownMissing),
		fmt.Sprintf("`why` is 1 to %d bytes", maxAbortReason),
		fmt.Sprintf("a string of 1 to %d bytes", maxParticipant),
		fmt.Sprintf("`timeout` is `\"%.0fs\"`", defaultQueueWait.Seconds()),
		fmt.Sprintf("`\"%dms\"` (at least %d ms)", defaultQueueInterval.Milliseconds(), leastQueueInterval.Milliseconds()),
		fmt.Sprintf("at most %.0f seconds later where the store", lookTimeout.Seconds()),
		fmt.Sprintf("logs every %.0f seconds", progressEvery.Seconds()),
		fmt.Sprintf("within %.0f seconds at most", (closeDeadline + endingsDeadline).Seconds()),
		"`" + runIDEnv + "`", "`" + iterationEnded + "`",
	} {
		assert.Contains(t, string(reference), fact)
	}

	examples, err := filepath.Glob("../../js/examples/*.js")
	require.NoError(t, err)
	for _, example := range examples {
		if name := filepath.Base(example); strings.HasPrefix(name, "barrier-") || strings.HasPrefix(name, "group-") || name == "queue-counter.js" {
			assert.Contains(t, string(reference), name)
		}
	}
	for _, name := range find(reference, "`(?:js/examples/)?((?:barrier|group|queue)-[a-z-]+\\.js)`") {
		assert.FileExists(t, "../../js/examples/"+name)
	}
}

// readTypings is what scripts are told of the module.
func readTypings(t *testing.T) []byte {
	t.Helper()
	var typings []byte
	for _, file := range []string{"index", "group", "queue"} {
		part, err := os.ReadFile("../" + file + ".d.ts")
		require.NoError(t, err)
		typings = append(typings, part...)
	}
	return typings
}
