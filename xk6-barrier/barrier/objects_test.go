package barrier

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/objecttest"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

func TestClassesAreClasses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, class := range map[string]struct {
		options string
		methods objecttest.Methods
	}{
		"Barrier": {`'x' + n++, { parties: 5 }`, objecttest.Methods{
			Call: "arrive", Other: "wait", Third: "leave", Async: "asyncArrive", AsyncOther: "asyncWait", Returns: "{}",
		}},
		"Group": {`'x' + n++, { size: 5 }`, objecttest.Methods{
			Call: "leave", Other: "join", Third: "status", Async: "asyncLeave", AsyncOther: "asyncJoin", Returns: "{}",
		}},
		"QueueCounter": {fmt.Sprintf(`{ redis: '%s', keys: ['q'] }`, server.URL()), objecttest.Methods{
			Call: "counts", Other: "waitFor", Third: "total", Async: "asyncCounts", AsyncOther: "asyncTotal", Returns: "{}",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours := fmt.Sprintf(`const C = %s; let n = 0; const make = (Class) => new Class(%s);`, name, class.options)
			for _, line := range class.methods.Lines() {
				p := newProcess(t)
				evaluate := func(prelude string) string {
					v := p.user(1, "")
					_, err := v.run(prelude)
					require.NoError(t, err)
					return v.mustRun(objecttest.Evaluated(line)).String()
				}
				assert.Equal(t, evaluate(class.methods.Plain(name)), evaluate(ours), line)
			}
		})
	}
}

func TestResultsArePlainData(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	server := redistest.Start(t)
	for _, key := range []string{"q1", "q2", "__proto__"} {
		require.NoError(t, server.ZAdd(t.Context(), key, redis.Z{Member: "m"}).Err())
	}
	v := p.user(1, fmt.Sprintf(`let n = 0;
		const make = (options) => new Barrier('x' + n++, { parties: 1, ...options });
		const q = new QueueCounter({ redis: '%s', keys: ['q2', 'q1', '__proto__'] });
		const caught = (f) => { try { f() } catch (e) { return e } };
		const group = () => new Group('g' + n++, { size: 2, onTimeout: 'release' });`, server.URL())+objecttest.Copies)
	for _, call := range []string{
		`make().arriveAndWait()`, `make().arrive()`, `make().fail('login')`, `make().leave()`, `make({ parties: 2 }).status()`,
		`(() => { const b = make({ parties: 2, maxFailures: 0 }); b.fail('x'); return b.status() })()`,
		`make({ parties: 3 }).missing()`, `make().abort('why')`, `(() => { const b = make(); b.arrive(); return b.wait() })()`,
		`caught(() => make({ parties: 2 }).arriveAndWait({ timeout: 1 })).status`,
		`q.counts()`, `q.waitFor(1)`, `q.waitFor(1).counts`,
		`make({ parties: 2 }).status().failed`,
		`group().join({ payload: 'p', timeout: 1 })`, `group().join({ timeout: 1 }).members[0]`, `group().leave()`, `group().status()`,
	} {
		v.mustRun(`var one = ` + call + `, other;`)
		for _, line := range objecttest.DataLines {
			v.mustRun(`other = plain(one)`)
			do := func(name string) string {
				return v.mustRun(objecttest.EvaluatedOn(line, name)).String()
			}
			want := do("other")
			v.mustRun(`var again = ` + `(() => { const o = ` + call + `; for (const key of Object.keys(one)) o[key] = plain(one[key]); return o })()`)
			if line == `'__proto__' in o && Object.keys(o).includes('__proto__')` {
				v.mustRun(`again = one`) // a plain assignment would change its prototype
			}
			assert.Equal(t, want, do("again"), "%s: %s", call, line)
		}

		// As k6 takes out a form body and the result of setup(), which it writes on another goroutine.
		exported, ok := v.mustRun(call).Export().(map[string]any)
		require.True(t, ok, call)
		written := make(chan error)
		go func() {
			_, err := json.Marshal(exported)
			written <- err
		}()
		v.mustRun(`for (let i = 0; i < 100; i++) ({ ...one })`)
		require.NoError(t, <-written, call)
	}
}
