package barrier

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/grafana/sobek"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"
	"go.uber.org/goleak"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Lasting()) }

// process is a k6 process: one root module and the virtual users that share it.
type process struct {
	t        testing.TB
	root     *RootModule
	logger   *logrus.Logger
	logs     *logtest.Hook
	env      map[string]string
	registry *metrics.Registry
	events   common.Events

	mu      sync.Mutex
	samples []metrics.Sample
	drains  sync.WaitGroup
	pushed  chan metrics.SampleContainer
}

// newProcess starts a process whose engine is closed with the test.
func newProcess(t testing.TB) *process {
	t.Helper()
	p := &process{t: t, root: New(), env: map[string]string{}, registry: metrics.NewRegistry()}
	p.logger, p.logs = logtest.NewNullLogger()
	p.logger.SetLevel(logrus.DebugLevel)
	p.pushed = make(chan metrics.SampleContainer, 1000)
	p.drains.Go(func() {
		for container := range p.pushed {
			p.mu.Lock()
			p.samples = append(p.samples, container.GetSamples()...)
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		if p.root.client != nil {
			p.root.client.Close(5 * time.Second)
		}
		p.root.outbox.close()
		close(p.pushed)
		p.drains.Wait()
	})
	return p
}

// collected are the samples of a metric that were pushed, by the time that this is called.
func (p *process) collected(name string) []metrics.Sample {
	p.t.Helper()
	// What was pushed before this marker has been drained once the marker has.
	marker := metrics.Samples{{TimeSeries: metrics.TimeSeries{Metric: &metrics.Metric{Name: "marker"}}}}
	p.mu.Lock()
	seen := len(p.samples)
	p.mu.Unlock()
	p.pushed <- marker
	require.Eventually(p.t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, s := range p.samples[seen:] {
			if s.Metric.Name == "marker" {
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond)

	p.mu.Lock()
	defer p.mu.Unlock()
	var found []metrics.Sample
	for _, s := range p.samples {
		if s.Metric.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// messages are the lines logged so far.
func (p *process) messages() []string {
	var lines []string
	for _, entry := range p.logs.AllEntries() {
		lines = append(lines, entry.Message)
	}
	return lines
}

// virtualUser runs JavaScript as a virtual user does.
type virtualUser struct {
	*modulestest.Runtime

	process *process
	id      uint64
	cancel  context.CancelFunc
}

// initUser makes a virtual user in the init context.
func (p *process) initUser(id uint64) *virtualUser {
	p.t.Helper()
	rt := modulestest.NewRuntime(p.t)
	rt.VU.InitEnvField.Logger = p.logger
	rt.VU.InitEnvField.Registry = p.registry
	rt.VU.InitEnvField.LookupEnv = func(key string) (string, bool) { v, ok := p.env[key]; return v, ok }
	rt.VU.EventsField = p.events
	ctx, cancel := context.WithCancel(context.Background())
	rt.VU.CtxField = ctx
	p.t.Cleanup(cancel)
	module := rt.VU.Runtime().ToValue(p.root.NewModuleInstance(rt.VU).Exports().Default).ToObject(rt.VU.Runtime())
	for _, name := range module.Keys() {
		require.NoError(p.t, rt.VU.Runtime().Set(name, module.Get(name)))
	}
	return &virtualUser{Runtime: rt, process: p, id: id, cancel: cancel}
}

// start ends the init context.
func (v *virtualUser) start(change ...func(*lib.State)) *virtualUser {
	tags := lib.NewVUStateTags(v.process.registry.RootTagSet().With("scenario", "users"))
	state := &lib.State{
		Options:    lib.Options{SystemTags: metrics.NewSystemTagSet(metrics.TagVU)},
		Logger:     v.process.logger,
		Samples:    v.process.pushed,
		Tags:       tags,
		VUID:       v.id,
		VUIDGlobal: v.id,
	}
	for _, f := range change {
		f(state)
	}
	v.MoveToVUContext(state)
	return v
}

// user makes a running virtual user after it ran the script's init code.
func (p *process) user(id uint64, script string, change ...func(*lib.State)) *virtualUser {
	p.t.Helper()
	v := p.initUser(id)
	v.mustRun(script)
	return v.start(change...)
}

// mustRun runs code that must not fail and returns its value.
func (v *virtualUser) mustRun(code string) sobek.Value {
	v.process.t.Helper()
	value, err := v.run(code)
	require.NoError(v.process.t, err)
	return value
}

// run runs code on the event loop. A promise is replaced by what it is settled with.
func (v *virtualUser) run(code string) (sobek.Value, error) {
	value, err := v.RunOnEventLoop(code)
	if err != nil || value == nil {
		return value, err
	}
	if promise, ok := value.Export().(*sobek.Promise); ok {
		if promise.State() == sobek.PromiseStateRejected {
			return nil, fmt.Errorf("rejected: %v", promise.Result())
		}
		return promise.Result(), nil
	}
	return value, nil
}

// json runs an expression and returns it as JSON.
func (v *virtualUser) json(expression string) string {
	v.process.t.Helper()
	return v.mustRun("JSON.stringify(" + expression + ")").String()
}

// errorOf runs code that must throw, and returns expression, in which e is what was thrown.
func (v *virtualUser) errorOf(code, expression string) string {
	v.process.t.Helper()
	return v.mustRun(`(() => { try { ` + code + ` } catch (e) { return String(` + expression + `) }
		throw new Error("nothing was thrown") })()`).String()
}

// together runs code in several virtual users at once and returns the results as JSON, in their order.
func together(users []*virtualUser, code string) []string {
	results := make([]string, len(users))
	var all sync.WaitGroup
	for at, v := range users {
		all.Go(func() {
			value, err := v.run("JSON.stringify(" + code + ")")
			if err != nil {
				results[at] = err.Error()
				return
			}
			results[at] = value.String()
		})
	}
	all.Wait()
	return results
}

// users makes running virtual users with the ids 1 to n.
func (p *process) users(n int, script string) []*virtualUser {
	p.t.Helper()
	users := make([]*virtualUser, n)
	for at := range users {
		users[at] = p.user(uint64(at+1), script) //nolint:gosec // small
	}
	return users
}

// What a test waits for comes as soon as it can; these only bound a test that fails.
const (
	wakeLimit = 20 * time.Second
	wakeTick  = time.Millisecond
)

// waiting is how many wait at a barrier.
func (p *process) waiting(name string) int {
	n := 0
	p.root.shared.Range(func(_, found any) bool {
		if s := found.(*openBarrier); s.config.Name == name { //nolint:forcetypeassert // the map holds nothing else
			n += int(s.progress.waiting.Load())
		}
		return true
	})
	return n
}
