package sse

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/sobek"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"
	"gopkg.in/guregu/null.v3"

	httpmodule "go.k6.io/k6/v2/js/modules/k6/http"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/metrics"
)

// farAway is a time that a test which works never waits for.
const farAway = 30 * time.Second

// vu is one VU with the module in the globals sse, open, asyncOpen, openAsync and EventSource, and k6/http in http.
type vu struct {
	*modulestest.Runtime
	t         testing.TB
	root      *RootModule
	state     *lib.State
	dialer    *netext.Dialer
	transport *http.Transport
	logs      *logtest.Hook

	mu      sync.Mutex
	samples []metrics.Sample
	out     chan metrics.SampleContainer
	drained chan struct{}
}

// newInitVU makes a VU that is still in the init context.
func newInitVU(t testing.TB) *vu {
	t.Helper()
	logger, hook := logtest.NewNullLogger()
	logger.SetLevel(logrus.DebugLevel)
	v := &vu{
		t: t, Runtime: modulestest.NewRuntime(t), root: New(), logs: hook,
		out: make(chan metrics.SampleContainer, 100), drained: make(chan struct{}),
	}
	registry := v.VU.InitEnv().Registry
	v.dialer = netext.NewDialer(net.Dialer{}, netext.NewResolver(net.LookupIP, 0, 0, 0))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	v.transport = &http.Transport{
		DialContext: v.dialer.DialContext, DisableCompression: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	v.state = &lib.State{
		Logger:         logger,
		Dialer:         v.dialer,
		Transport:      v.transport,
		CookieJar:      jar,
		BuiltinMetrics: metrics.RegisterBuiltinMetrics(registry),
		Samples:        v.out,
		BufferPool:     lib.NewBufferPool(),
		Tags:           lib.NewVUStateTags(registry.RootTagSet().With("group", "::g")),
		Options: lib.Options{
			SystemTags: &metrics.DefaultSystemTagSet, MaxRedirects: null.IntFrom(10),
			UserAgent: null.StringFrom("a user agent"),
		},
	}

	exports := v.root.NewModuleInstance(v.VU).Exports()
	rt := v.VU.Runtime()
	require.NoError(t, rt.Set("sse", exports.Default))
	exported := rt.ToValue(exports.Default).ToObject(rt)
	for _, name := range exported.Keys() {
		require.NoError(t, rt.Set(name, exported.Get(name)))
	}
	require.NoError(t, rt.Set("http", httpmodule.New().NewModuleInstance(v.VU).Exports().Default))

	go func() {
		defer close(v.drained)
		for container := range v.out {
			v.mu.Lock()
			v.samples = append(v.samples, container.GetSamples()...)
			v.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		v.CancelContext()
		v.transport.CloseIdleConnections()
		close(v.out)
		<-v.drained
	})
	return v
}

func newVU(t testing.TB) *vu {
	t.Helper()
	v := newInitVU(t)
	v.MoveToVUContext(v.state)
	return v
}

func (v *vu) set(name string, value any) {
	v.t.Helper()
	require.NoError(v.t, v.VU.Runtime().Set(name, value))
}

// cancellable gives the VU a context of its own, as k6 does for an iteration.
func (v *vu) cancellable() context.CancelFunc {
	ctx, cancel := context.WithCancel(context.Background())
	v.VU.CtxField, v.CancelContext = ctx, cancel
	return cancel
}

// run runs a script on the event loop until everything that it began has ended.
func (v *vu) run(script string, args ...any) (sobek.Value, error) {
	return v.RunOnEventLoop(fmt.Sprintf(script, args...))
}

// eval is run for a script that must not fail, and returns the value of its global `out`.
func (v *vu) eval(script string, args ...any) any {
	v.t.Helper()
	_, err := v.run(script, args...)
	require.NoError(v.t, err)
	out := v.VU.Runtime().Get("out")
	if out == nil {
		return nil
	}
	return out.Export()
}

// values returns the values of all samples of a metric so far.
func (v *vu) values(metric string) []float64 {
	var values []float64
	for _, s := range v.find(metric) {
		values = append(values, s.Value)
	}
	return values
}

func (v *vu) sum(metric string) float64 {
	var sum float64
	for _, value := range v.values(metric) {
		sum += value
	}
	return sum
}

func (v *vu) find(metric string) []metrics.Sample {
	// Samples pass through a channel: one that is sent behind all others and seen proves that they are there.
	fence := &metrics.Metric{Name: fmt.Sprintf("fence %p", new(int))}
	v.out <- metrics.Sample{TimeSeries: metrics.TimeSeries{Metric: fence}}
	for {
		v.mu.Lock()
		var found []metrics.Sample
		fenced := false
		for _, s := range v.samples {
			switch s.Metric.Name {
			case metric:
				found = append(found, s)
			case fence.Name:
				fenced = fenced || s.Metric == fence
			}
		}
		v.mu.Unlock()
		if fenced {
			return found
		}
		time.Sleep(time.Millisecond)
	}
}

// logged returns the messages of the VU's log.
func (v *vu) logged() string {
	var lines []string
	for _, entry := range v.logs.AllEntries() {
		line, err := entry.String()
		require.NoError(v.t, err)
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// wire is one connection of a test server, in full control of the bytes that go out.
type wire struct {
	t    testing.TB
	conn net.Conn
	req  *http.Request
	gone chan struct{} // closed once the client closed the connection
	seen chan struct{} // for the test that serves it
}

// send writes without any framing: the body ends with the connection.
func (w *wire) send(parts ...string) bool {
	for _, part := range parts {
		if _, err := w.conn.Write([]byte(part)); err != nil {
			return false
		}
	}
	return true
}

// head sends a status line and headers.
func (w *wire) head(status int, headers ...string) {
	w.send(fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\n", status, http.StatusText(status)))
	for _, header := range headers {
		w.send(header, "\r\n")
	}
	w.send("\r\n")
}

// stream sends the head of an event stream.
func (w *wire) stream() { w.head(http.StatusOK, "Content-Type: text/event-stream") }

// reset ends the connection so that the peer sees "connection reset".
func (w *wire) reset() {
	_ = w.conn.(*net.TCPConn).SetLinger(0) //nolint:forcetypeassert // it is one
	_ = w.conn.Close()
}

// hang waits until the client closed the connection.
func (w *wire) hang() {
	select {
	case <-w.gone:
	case <-time.After(farAway):
		w.t.Error("the client did not close the connection")
	}
}

// rawServer answers every request by handler and closes the connection after it. It returns the URL of its root.
func rawServer(t testing.TB, handler func(*wire)) string {
	t.Helper()
	return httpServer(t, func(res http.ResponseWriter, req *http.Request) {
		conn, _, err := res.(http.Hijacker).Hijack() //nolint:forcetypeassert // it is one
		if err != nil {
			t.Error(err)
			return
		}
		w := &wire{t: t, conn: conn, req: req, gone: make(chan struct{})}
		go func() {
			defer close(w.gone)
			_, _ = conn.Read(make([]byte, 1)) // a client sends nothing more
		}()
		handler(w)
		_ = conn.Close()
		<-w.gone
	})
}

// httpServer is a server of net/http, whose connections can be used again.
func httpServer(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// unusedURL is the URL of a port on which nobody listens.
func unusedURL(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return "http://" + listener.Addr().String()
}

func hostOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u.Host
}
