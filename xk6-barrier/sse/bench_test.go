package sse

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The benchmarks show what an event and an open stream cost, side by side with a bare reader of net/http that splits the
// same stream into lines. The server is a process of its own, so that its memory is not counted.

const (
	benchServerEnv = "K6_SSE_BENCH_SERVER"
	benchEvent     = "data:{\"userId\":\"acc-1\",\"eventId\":\"e-1\",\"status\":\"IN_ENTRY\",\"order\":12345}\n\n"
)

// runBenchServer answers /events?n=N with N events, and any other path with one event and silence.
func runBenchServer() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	handler := http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		res.Header().Set("Content-Type", eventStreamType)
		n, _ := strconv.Atoi(req.URL.Query().Get("n"))
		const batch = 100
		many := strings.Repeat(benchEvent, batch)
		for ; n > 0; n -= batch {
			_, _ = io.WriteString(res, many[:min(n, batch)*len(benchEvent)])
		}
		if req.URL.Path != "/events" {
			_, _ = io.WriteString(res, benchEvent)
			_ = http.NewResponseController(res).Flush()
			<-req.Context().Done()
		}
	})
	go func() {
		panic(http.Serve(listener, handler)) //nolint:gosec // for a benchmark on the loopback interface
	}()
	_, _ = fmt.Fprintln(os.Stdout, "http://"+listener.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
}

func benchServer(b *testing.B) string {
	b.Helper()
	self, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(self) //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), benchServerEnv+"=1")
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	url, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(b, err)
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return strings.TrimSpace(url)
}

// lineReader is what a careless client would do: lines, without any grammar.
func lineReader(b *testing.B, body io.Reader) (lines int) {
	b.Helper()
	reader := bufio.NewReader(body)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return lines
		}
		lines += len(line) & 1
	}
}

func parserOnly(b *testing.B, body io.Reader) (events int) {
	b.Helper()
	parser := newParser(body, defaultMaxEventSize)
	var ev event
	for parser.next(&ev) == nil {
		events++
	}
	return events
}

// BenchmarkEventInMemory is the cost of the grammar alone; one operation is one event.
func BenchmarkEventInMemory(b *testing.B) {
	for name, read := range map[string]func(*testing.B, io.Reader) int{"bare line reader": lineReader, "parser": parserOnly} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(benchEvent)))
			read(b, &repeated{text: benchEvent, left: b.N})
		})
	}
}

// repeated reads as n copies of a text.
type repeated struct {
	text string
	at   int
	left int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) && r.left > 0 {
		copied := copy(p[n:], r.text[r.at:])
		n += copied
		if r.at += copied; r.at == len(r.text) {
			r.at, r.left = 0, r.left-1
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// BenchmarkEvent is the cost of an event that comes over a connection; one operation is one event.
func BenchmarkEvent(b *testing.B) {
	url := benchServer(b)
	events := func(b *testing.B) string { b.Helper(); return fmt.Sprintf("%s/events?n=%d", url, b.N) }
	b.Run("bare net-http line reader", func(b *testing.B) {
		b.ReportAllocs()
		res, err := http.Get(events(b)) //nolint:noctx // a benchmark
		require.NoError(b, err)
		lineReader(b, res.Body)
		require.NoError(b, res.Body.Close())
		http.DefaultClient.CloseIdleConnections()
	})
	b.Run("parser", func(b *testing.B) {
		b.ReportAllocs()
		res, err := http.Get(events(b)) //nolint:noctx // a benchmark
		require.NoError(b, err)
		require.Equal(b, b.N, parserOnly(b, res.Body))
		require.NoError(b, res.Body.Close())
		http.DefaultClient.CloseIdleConnections()
	})
	for _, script := range []string{
		"sse.open(url, {}, (client) => client.on('event', (e) => { n += e.data.length & 1; }));",
		"sse.asyncOpen(url, {}, (client) => client.on('event', (e) => { n += e.data.length & 1; }));",
	} {
		name, _, _ := strings.Cut(script, "(")
		b.Run(name+" with a handler", func(b *testing.B) {
			v := newVU(b)
			v.set("url", events(b))
			b.ReportAllocs()
			b.ResetTimer()
			v.eval("var n = 0;\n%s", script)
		})
	}
}

// BenchmarkOpenStream is the memory of a stream that is open and silent: for each, the growth of heap and stacks from a VU
// (or a goroutine) that is parked to one that waits for an event. Look at B/stream only.
func BenchmarkOpenStream(b *testing.B) {
	const streams = 300
	url := benchServer(b)

	b.Run("bare net-http line reader", func(b *testing.B) {
		for range b.N {
			transport := &http.Transport{DisableCompression: true}
			measureStreams(b, streams, func(p *parking) func() {
				return func() {
					p.park()
					res, err := (&http.Client{Transport: transport}).Get(url) //nolint:noctx // a benchmark
					if err != nil {
						b.Error(err)
						return
					}
					stop := context.AfterFunc(p.ctx, func() { _ = res.Body.Close() })
					defer stop()
					reader := bufio.NewReader(res.Body)
					for line := ""; err == nil; line, err = reader.ReadString('\n') {
						if line == "\n" {
							p.reached.Done()
						}
					}
				}
			})
		}
	})
	for _, script := range []string{
		"sse.open(url, {}, (client) => client.on('event', reached));",
		"sse.asyncOpen(url, {}, (client) => client.on('event', reached));",
		"new EventSource(url).onmessage = reached;",
	} {
		name, _, _ := strings.Cut(script, "(")
		b.Run(name, func(b *testing.B) {
			for range b.N {
				measureStreams(b, streams, func(p *parking) func() {
					v := newVU(b)
					v.VU.CtxField = p.ctx
					v.set("url", url)
					v.set("park", p.park)
					v.set("reached", p.reached.Done)
					return func() {
						if _, err := v.run("park(); %s", script); err != nil && p.ctx.Err() == nil {
							b.Error(err)
						}
					}
				})
			}
		})
	}
}

// parking is where workers meet: first before they open a stream, then when the stream is open.
type parking struct {
	ctx     context.Context //nolint:containedctx // ends all streams
	start   chan struct{}
	parked  sync.WaitGroup
	reached sync.WaitGroup
}

func (p *parking) park() {
	p.parked.Done()
	<-p.start
}

// measureStreams reports what it takes to get n workers from the one point to the other. Scripts park too, so that what a VU
// of k6 itself needs is there before.
func measureStreams(b *testing.B, n int, prepare func(*parking) func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &parking{ctx: ctx, start: make(chan struct{})}
	p.parked.Add(n)
	p.reached.Add(n)
	var ended sync.WaitGroup
	for range n {
		ended.Go(prepare(p))
	}
	p.parked.Wait()
	before := inUse()
	close(p.start)
	p.reached.Wait()
	b.ReportMetric(float64(inUse()-before)/float64(n), "B/stream")
	cancel()
	ended.Wait()
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse) //nolint:gosec // far below the limit
}
