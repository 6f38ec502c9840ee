package barrier

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

func TestProgressText(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status  core.BarrierStatus
		missing *core.MissingIDs
	}{
		`8,412 of 10,000 arrived, 3 failed (login 3), 1,585 missing`: {
			status: core.BarrierStatus{Parties: 10_000, Arrived: 8412, FailedTotal: 3, Failed: map[string]uint64{"login": 3, "sse": 0}},
		},
		`1 of 4 arrived, missing 17, 42, 43`: {
			status:  core.BarrierStatus{Parties: 4, Arrived: 1},
			missing: &core.MissingIDs{Count: 3, IDs: []string{"17", "42", "43"}},
		},
		`0 of 1,234,567 arrived, missing 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …`: {
			status:  core.BarrierStatus{Parties: 1_234_567},
			missing: &core.MissingIDs{Count: 1_234_567, IDs: strings.Split("1 2 3 4 5 6 7 8 9 10", " ")},
		},
		`2 of 10 arrived, 7 failed (sse 4, login 2, x 1), 1 left`: {
			status: core.BarrierStatus{
				Parties: 10, Arrived: 2, FailedTotal: 7, Left: 1, Failed: map[string]uint64{"login": 2, "sse": 4, "x": 1},
			},
		},
	}
	for want, test := range tests {
		assert.Equal(t, want, progressText(&test.status, test.missing))
	}
}

func TestLongWaitReportsItsProgress(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.root.progressEvery = time.Millisecond
	users := p.users(3, `const b = new Barrier('default', { parties: 3, reasons: ['login'] })`)
	users[0].mustRun(`b.arrive({ participant: 1 })`)
	waited := make(chan []string)
	go func() { waited <- together(users[1:], `b.wait().reason`) }()

	seen := func(line string) func() bool {
		return func() bool { return slices.Contains(p.messages(), line) }
	}
	require.Eventually(t, seen(`barrier "default": 1 of 3 arrived, missing 2, 3`), wakeLimit, wakeTick)
	users[0].mustRun(`b.fail('login', { participant: 2 }); b.arrive({ participant: 3 })`)
	assert.Equal(t, []string{`"all"`, `"all"`}, <-waited)
	require.Eventually(t, seen(`barrier "default": released (all): 2 of 3 arrived, 1 failed (login 1)`), wakeLimit, wakeTick)
}

func TestAReleaseThatLiesAheadIsReported(t *testing.T) {
	t.Parallel()
	says := regexp.MustCompile(`: released \(all\): 1 of 1 arrived; they go in about (59m\d+|1h0m0)s$`).MatchString
	for _, store := range []string{"memory", redistest.Start(t).URL()} {
		p := newProcess(t)
		p.root.progressEvery = time.Millisecond
		v := p.user(1, fmt.Sprintf(`const b = new Barrier('default', { parties: 1, cyclic: true, store: '%s', runId: 'r',
			releaseAt: Date.now() + 36e5 })`, store))
		ended := make(chan error, 1)
		go func() { _, err := v.run(`b.arriveAndWait()`); ended <- err }()
		require.Eventually(t, func() bool { return slices.ContainsFunc(p.messages(), says) }, wakeLimit, wakeTick, store)
		v.cancel()
		require.Error(t, <-ended)
	}
}

func TestShortWaitSaysNothing(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	together(p.users(3, `const b = new Barrier('default', { parties: 3 })`), `b.arriveAndWait().reason`)
	for _, line := range p.messages() {
		assert.NotContains(t, line, "arrived")
	}
	require.Zero(t, p.waiting("default"))
}
