// Package sse implements the k6 module k6/x/sse: Server-Sent Events for load tests.
//
// **sse.open() blocks the VU's event loop until the stream has ended.** Handlers run one after another on the VU's
// goroutine; promises and timers that they start go on only after open returned, although the work behind them has
// begun. Calls that park the VU's goroutine, such as sleep() or the synchronous calls of k6/x/barrier, may be used in
// them. sse.asyncOpen() and the class EventSource do not block: their handlers run on the event loop.
//
// A request goes through the VU's own transport. From there on the way of an event is short: parser (the grammar,
// free of k6) reads from decoded (gzip, deflate) and wireBody (idle clock) on the goroutine that calls the handlers.
// No goroutine reads ahead, so a handler that takes its time stops the reading, and nothing but the buffers of the
// connection fills up.
package sse

import (
	"sync"
	"time"

	"github.com/grafana/sobek"
	"github.com/sirupsen/logrus"

	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

type (
	// RootModule is the module's part that all VUs of a process share.
	RootModule struct {
		warned sync.Map // keys of the warnings that were given
	}

	// instance is the module's part of one VU.
	instance struct {
		vu      modules.VU
		root    *RootModule
		metrics *streamMetrics
		exports *sobek.Object
		errors  script.Errors
		counted bool // the counters have their first sample
	}
)

var (
	_ modules.Module   = &RootModule{}
	_ modules.Instance = &instance{}
)

// New returns the module for registration as k6/x/sse.
func New() *RootModule { return &RootModule{} }

// NewModuleInstance implements modules.Module.
func (root *RootModule) NewModuleInstance(vu modules.VU) modules.Instance {
	rt := vu.Runtime()
	m, err := registerMetrics(vu.InitEnv().Registry)
	if err != nil {
		common.Throw(rt, err)
	}
	mi := &instance{vu: vu, root: root, metrics: m}

	mi.exports = class.Exports(rt, exported, mi.export)
	return mi
}

var exported = []string{"open", "asyncOpen", "openAsync", "EventSource"} //nolint:gochecknoglobals // constant

func (mi *instance) export(name string) class.Field {
	rt := mi.vu.Runtime()
	switch name {
	case "open":
		return class.Field{Make: func() any { return class.Function(rt, name, mi.open) }}
	case "asyncOpen":
		return class.Field{Make: func() any { return class.Function(rt, name, mi.asyncOpen) }}
	case "openAsync":
		return class.Field{Make: func() any { return class.Function(rt, name, mi.openAsync) }}
	case "EventSource":
		return class.Field{Make: func() any { return mi.eventSourceClass() }}
	}
	return class.Field{}
}

// Exports implements modules.Instance.
func (mi *instance) Exports() modules.Exports { return modules.Exports{Default: mi.exports} }

// vuState returns the state of the VU, which does not exist in the init context.
func (mi *instance) vuState(call string) (*lib.State, error) {
	if state := mi.vu.State(); state != nil {
		return state, nil
	}
	return nil, common.NewInitContextError(call + " cannot be used in the init context")
}

// firstSamples gives the counters a sample of 0. Without any, a counter is missing from the summary, and a threshold
// on it passes whatever happened.
func (mi *instance) firstSamples(s *stream) {
	if mi.counted {
		return
	}
	mi.counted = true
	now := time.Now()
	s.push(s.metrics.events, now, 0)
	s.push(s.metrics.reconnects, now, 0)
}

// warnOnce gives a warning once per process, however many VUs meet its cause.
func (root *RootModule) warnOnce(logger logrus.FieldLogger, key, format string, args ...any) {
	if _, before := root.warned.LoadOrStore(key, struct{}{}); !before {
		logger.Warnf(format, args...)
	}
}

// plainHeaders makes the object of names and values that scripts see.
func plainHeaders(rt *sobek.Runtime, headers map[string]string) *sobek.Object {
	data := script.NewData(rt)
	for _, name := range sortedKeys(headers) {
		data.Put(name, headers[name])
	}
	return data.Object
}
