package script_test

import (
	"testing"
	"time"

	"github.com/grafana/sobek"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

func value(t *testing.T, expression string) sobek.Value {
	t.Helper()
	v, err := sobek.New().RunString("(" + expression + ")")
	require.NoError(t, err)
	return v
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]time.Duration{
		`250`: 250 * time.Millisecond, `0.5`: 500 * time.Microsecond, `'1m30s'`: 90 * time.Second, `'1d'`: 24 * time.Hour,
		`'20'`: 20 * time.Millisecond, `0`: 0, `-5`: -5 * time.Millisecond, `'-1s'`: -time.Second,
	} {
		d, ok := script.Duration(value(t, expression))
		assert.True(t, ok, expression)
		assert.Equal(t, want, d, expression)
	}
	for _, expression := range []string{
		`NaN`, `Infinity`, `1e300`, `-1e300`, `9223372036855`, `'1e300'`, `'9223372036855'`, `'soon'`, `''`, `true`, `{}`, `[]`, `() => 1`,
	} {
		_, ok := script.Duration(value(t, expression))
		assert.False(t, ok, expression)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		`null`: "nothing", `undefined`: "nothing", `true`: "true", `1.5`: "1.5", `'a "b"'`: `"a \"b\""`, `[]`: "an empty array",
		`[1]`: "an array", `{}`: "an object", `() => 1`: "a function", `'redis://:secret@host'`: "a URL",
		`'ä'.repeat(64) + 'x'`: `"ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää"…`,
	} {
		assert.Equal(t, want, script.Describe(value(t, expression)), expression)
	}
}

func TestCodeIsTheKind(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"BarrierTimeoutError": "TIMEOUT", "QueueTimeoutError": "TIMEOUT", "QueueTypeError": "TYPE", "BarrierError": "",
		"SSEInvalidURLError": "INVALID_URL", "SSEEventTooLargeError": "EVENT_TOO_LARGE",
	} {
		assert.Equal(t, want, script.Code(name), name)
	}
}
