package lazy_test

import (
	"testing"

	"github.com/grafana/sobek"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/lazy"
)

// run gives the script an object with a field of each kind, and returns what the script came to and how often the fields
// were asked for.
func run(t *testing.T, script string) (result string, filled, got int) {
	t.Helper()
	rt := sobek.New()
	require.NoError(t, rt.Set("o", lazy.Object(rt, func() []lazy.Field {
		filled++
		return []lazy.Field{
			{Name: "plain", Value: 1},
			{Name: "method", Make: func() any { return func() {} }},
			{Name: "got", Get: func() any { got++; return got }, Fixed: true},
			{Name: "fixed", Value: "f", Fixed: true},
		}
	})))
	value, err := rt.RunString(script)
	require.NoError(t, err)
	return value.String(), filled, got
}

func TestNothingIsMadeBeforeAScriptLooks(t *testing.T) {
	t.Parallel()
	_, filled, got := run(t, `const same = o; typeof same`)
	require.Equal(t, []int{0, 0}, []int{filled, got})
	result, filled, got := run(t, `o.plain + o.plain`)
	require.Equal(t, "2", result)
	require.Equal(t, []int{1, 0}, []int{filled, got})
	result, filled, got = run(t, `[o.method === o.method, typeof o.method, o.got, o.got].join()`)
	require.Equal(t, "true,function,1,2", result)
	require.Equal(t, []int{1, 2}, []int{filled, got})
}

func TestScriptsUseItLikeAPlainObject(t *testing.T) {
	t.Parallel()
	for script, expected := range map[string]string{
		`Object.keys(o).join()`: "plain,method,got,fixed",
		`JSON.stringify(o)`:     `{"plain":1,"got":1,"fixed":"f"}`,
		`const { plain, ...rest } = { ...o }; plain + rest.fixed`:                                        "1f",
		`[o.other, 'other' in o, 'fixed' in o].join()`:                                                   ",false,true",
		`o.plain = 2; o.own = 3; o.method = 4; [o.plain, o.own, o.method, Object.keys(o).length].join()`: "2,3,4,5",
		`delete o.plain; delete o.unknown; Object.keys(o).join()`:                                        "method,got,fixed",
		`o.fixed = 1; o.got = 7; [o.fixed, o.got].join()`:                                                "f,1",
		`'use strict'; try { o.fixed = 1; } catch (e) { e.name }`:                                        "TypeError",
		`'use strict'; try { delete o.fixed; } catch (e) { e.name }`:                                     "TypeError",
	} {
		result, _, _ := run(t, script)
		require.Equal(t, expected, result, script)
	}
}
