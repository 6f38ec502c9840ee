// Package barrier is the JavaScript module k6/x/barrier: a barrier at which virtual users meet and at which every one
// of them is accounted for, groups that form by themselves, and a counter of queues in Redis.
//
// The package reads options, parks goroutines, and makes JavaScript values, errors and metrics. What a barrier means is
// decided by the Rust core behind package core. Every call is synchronous and may be made in a handler that blocks the
// virtual user's event loop; its async twin returns a promise.
package barrier

import (
	"crypto/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grafana/sobek"
	"github.com/sirupsen/logrus"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// runIDEnv names the run for all barriers of the process that have no option runId.
const runIDEnv = "K6_BARRIER_RUN_ID"

const (
	// closeDeadline is how long the end of k6 may be held up by what is not delivered yet.
	closeDeadline = 3 * time.Second
	// endingsDeadline is the same for what is not even handed to the core yet.
	endingsDeadline = time.Second
)

type (
	// RootModule is what the virtual users of a process share: the engine, the open barriers and the open counters.
	RootModule struct {
		newEngine     func() (core.Engine, error)
		progressEvery time.Duration
		lookUp        netext.MultiResolver

		loadOnce  sync.Once
		engine    core.Engine
		engineErr error

		startOnce sync.Once
		client    *core.Client
		startErr  error
		resolver  atomic.Pointer[lib.AddrResolver]

		loggerOnce sync.Once
		logger     logrus.FieldLogger

		randomRunID  func() string
		checked      sync.Map // time-out and JSON of options that the core found good -> *config
		checkedCount atomic.Int64
		opens        sync.Map // the JSON of options -> *opening
		shared       sync.Map // handle -> *openBarrier
		counters     sync.Map // the JSON of counter options -> *counting
		groups       sync.Map // the JSON of group options -> *grouping
		counted      sync.Map // where groups are and what they are called -> *atomic.Uint32
		watch        watch
		outbox       outbox
		unaccounted  sync.Map // the identities of barriers whose failUnaccounted failed
		misnamed     sync.Map // lists of scenarios that this test does not have, and that were named once
	}

	// instance is the module as one virtual user has it.
	instance struct {
		root    *RootModule
		vu      modules.VU
		events  common.Events
		metrics *barrierMetrics
		runID   string
		errors  script.Errors
		exports *sobek.Object
		watcher iterationWatcher

		mu    sync.Mutex
		users []*user // one for each barrier; mostly a single one
	}
)

var (
	_ modules.Module   = &RootModule{}
	_ modules.Instance = &instance{}
)

// New makes the module.
func New() *RootModule { return newRootModule(core.NewEngine) }

func newRootModule(newEngine func() (core.Engine, error)) *RootModule {
	return &RootModule{
		newEngine:     newEngine,
		progressEvery: progressEvery,
		lookUp:        net.LookupIP,
		randomRunID:   sync.OnceValue(func() string { return "random-" + rand.Text() }),
	}
}

// NewModuleInstance is called once for each virtual user that imports the module, in its init context.
func (r *RootModule) NewModuleInstance(vu modules.VU) modules.Instance {
	r.loadOnce.Do(func() { r.engine, r.engineErr = r.newEngine() })
	if r.engineErr != nil {
		common.Throw(vu.Runtime(), r.engineErr)
	}

	env := vu.InitEnv()
	r.loggerOnce.Do(func() { r.logger = env.Logger.WithField("source", "barrier") })

	metrics, err := registerMetrics(env.Registry)
	if err != nil {
		common.Throw(vu.Runtime(), err)
	}
	i := &instance{
		root:    r,
		vu:      vu,
		events:  vu.Events(),
		metrics: metrics,
	}
	if env.LookupEnv != nil {
		i.runID, _ = env.LookupEnv(runIDEnv)
	}
	r.watch.enrol(i)
	return i
}

// Exports are the classes of the module. k6 asks for them each time a script names one. A class takes 1.2 KB of each virtual
// user, so each is made when a script first names it.
func (i *instance) Exports() modules.Exports {
	if i.exports == nil {
		i.exports = class.Exports(i.vu.Runtime(), exported, i.export)
	}
	return modules.Exports{Default: i.exports}
}

var exported = []string{"Barrier", "Group", "QueueCounter"} //nolint:gochecknoglobals // a constant that Go has no constant form for

func (i *instance) export(name string) class.Field {
	switch name {
	case "Barrier":
		return class.Field{Make: func() any {
			return construct(i, class.Class[*barrierObject]{Name: name, Length: 2, New: i.newBarrier, Methods: barrierMethods})
		}}
	case "Group":
		return class.Field{Make: func() any {
			return construct(i, class.Class[*groupObject]{Name: name, Length: 2, New: i.newGroup, Methods: groupMethods})
		}}
	case "QueueCounter":
		return class.Field{Make: func() any {
			return construct(i, class.Class[*counterObject]{Name: name, Length: 1, New: i.newQueueCounter, Methods: queueCounterMethods})
		}}
	}
	return class.Field{}
}

// construct makes a class for this virtual user.
func construct[T class.Value](i *instance, c class.Class[T]) *sobek.Object {
	constructor, err := c.Constructor(i.vu.Runtime())
	if err != nil {
		i.throw(err)
	}
	return constructor
}

// start starts the engine with the first call that needs it, and closes it when k6 exits.
func (r *RootModule) start(events common.Events) (*core.Client, error) {
	r.startOnce.Do(func() {
		r.client, r.startErr = core.NewClient(r.engine, func(line core.LogLine) { line.To(r.logger) }, r.resolve)
		if r.startErr == nil {
			r.gatherSamples(events)
			r.closeOnExit(events)
		}
	})
	return r.client, r.startErr
}

// closeOnExit tells the core that this process is leaving, so that the others need not find out by its silence. It is
// best effort: a second Ctrl-C ends k6 at once.
func (r *RootModule) closeOnExit(events common.Events) {
	if events.Global == nil {
		return
	}
	exit, ok := eventNamed(events.Global.Subscribe, "Exit")
	if !ok {
		return
	}
	_, exits := events.Global.Subscribe(exit)
	go func() {
		event, ok := <-exits
		r.watch.close(endingsDeadline)
		r.client.Close(closeDeadline)
		if ok {
			event.Done()
		}
	}()
}
