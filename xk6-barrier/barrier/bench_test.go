package barrier

import (
	"cmp"
	"fmt"
	"runtime"
	rtmetrics "runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// benchBarrier opens a barrier on an engine of its own.
func benchBarrier(b *testing.B, options string) *core.Barrier {
	b.Helper()
	engine, err := core.NewEngine()
	require.NoError(b, err)
	client, err := core.NewClient(engine, func(core.LogLine) {}, core.SystemResolver)
	require.NoError(b, err)
	b.Cleanup(func() { client.Close(time.Second) })
	barrier, err := client.Open(b.Context(), []byte(options))
	require.NoError(b, err)
	return barrier
}

// BenchmarkArriveAgain is a call to the core and back: an arrival that stands already changes nothing.
func BenchmarkArriveAgain(b *testing.B) {
	barrier := benchBarrier(b, `{"store":"memory","name":"bench","parties":1000000}`)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := barrier.Do(b.Context(), core.Request{Kind: core.Arrive, Owner: 1}, "1", ""); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkArriveFirst is an arrival that the store in memory has not seen before.
func BenchmarkArriveFirst(b *testing.B) {
	barrier := benchBarrier(b, `{"store":"memory","name":"bench","parties":10000000}`)
	b.ReportAllocs()
	var user uint64
	for b.Loop() {
		user++
		request := core.Request{Kind: core.Arrive, Owner: user, Flags: core.Explicit}
		if _, err := barrier.Do(b.Context(), request, strconv.FormatUint(user, 10), ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkArriveFromScript is the whole call: its options, the core, a note for the sample, the result.
func BenchmarkArriveFromScript(b *testing.B) {
	p := newProcess(b)
	v := p.user(1, fmt.Sprintf(`const b = new Barrier('bench-%d', { parties: 10000000 })`, b.N))
	b.ReportAllocs()
	b.ResetTimer()
	v.mustRun(fmt.Sprintf(`for (let participant = 1; participant <= %d; participant++) b.arrive({ participant })`, b.N))
}

// BenchmarkArriveFromScriptAtNewBarriers is the same with a new barrier for every hundred arrivals, as a script that makes one
// for each round has it; making and opening them is a part of it.
func BenchmarkArriveFromScriptAtNewBarriers(b *testing.B) {
	const round = 100
	p := newProcess(b)
	v := p.user(1, "")
	b.ReportAllocs()
	b.ResetTimer()
	v.mustRun(fmt.Sprintf(`for (let arrival = 0, barrier; arrival < %d; arrival++) {
		if (arrival %% %d === 0) barrier = new Barrier('round-' + arrival, { parties: %[2]d });
		barrier.arrive({ participant: arrival });
	}`, b.N, round))
}

// BenchmarkRelease is one phase of a cyclic barrier with a thousand goroutines: all arrive, all are released.
func BenchmarkRelease(b *testing.B) {
	const parties = 1000
	barrier := benchBarrier(b, `{"store":"memory","name":"bench","parties":1000,"cyclic":true}`)
	ids := make([]string, parties)
	for at := range ids {
		ids[at] = strconv.Itoa(at + 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		var all sync.WaitGroup
		for at, id := range ids {
			all.Go(func() {
				request := core.Request{Kind: core.Arrive, Owner: uint64(at + 1), Flags: core.Explicit} //nolint:gosec // small
				answer, err := barrier.Do(b.Context(), request, id, "")
				if err != nil {
					b.Error(err)
					return
				}
				<-barrier.Gate(answer.Phase)
			})
		}
		all.Wait()
	}
}

// BenchmarkMeet is one call of each of a thousand users that come at once, from the script to its next statement: at one barrier, and
// in groups of four.
func BenchmarkMeet(b *testing.B) {
	const users = 1000
	measure := func(b *testing.B, script, code string) {
		b.Helper()
		p := newProcess(b)
		crowd := p.users(users, script)
		meet := func() {
			for at, result := range together(crowd, "("+code+", 1)") {
				if result != "1" {
					b.Errorf("user %d: %s", at+1, result)
				}
			}
		}
		meet() // methods are made when first used
		for b.Loop() {
			meet()
			p.forget()
		}
	}
	b.Run("barrier", func(b *testing.B) {
		measure(b, fmt.Sprintf(`const b = new Barrier('meet', { parties: %d, cyclic: true })`, users), `b.arriveAndWait()`)
	})
	b.Run("groups", func(b *testing.B) { measure(b, `const g = new Group('meet', { size: 4 })`, `g.join()`) })
}

// BenchmarkWaitingUser is what a thousand users take of Go's memory while they wait, each: beside users that sleep, so that
// only the difference is the barrier's. The core's memory is not Go's.
func BenchmarkWaitingUser(b *testing.B) {
	const users = 1000
	measure := func(b *testing.B, store string) {
		b.Helper()
		p := newProcess(b)
		crowd := p.users(users+1, fmt.Sprintf(`const b = new Barrier('wait', { parties: %d, cyclic: true, timeout: '1h', store: '%s' })`,
			users+1, cmp.Or(store, memoryStore)))
		last, crowd := crowd[users], crowd[:users]
		code := `b.arriveAndWait()`
		wake := make(chan struct{})
		var asleep atomic.Int64
		if store == "" {
			code = `sleep()`
			for _, v := range crowd {
				require.NoError(b, v.VU.Runtime().Set("sleep", func() {
					timer := time.NewTimer(time.Hour)
					defer timer.Stop()
					asleep.Add(1)
					select {
					case <-wake:
					case <-timer.C:
					case <-v.VU.Context().Done():
					}
				}))
			}
		}
		waiting := func() bool {
			if store == "" {
				return asleep.Load() == users
			}
			return p.waiting("wait") == users && last.json(`b.status().arrived`) == strconv.Itoa(users)
		}
		for _, v := range crowd {
			v.mustRun(`b.status; b.arriveAndWait; 1`) // methods are made when first used
		}
		last.mustRun(`b.missing()`)
		for b.Loop() {
			p.forget()
			heap, stacks := inUse()
			var all sync.WaitGroup
			for _, v := range crowd {
				all.Go(func() {
					if _, err := v.run(code); err != nil {
						b.Error(err)
					}
				})
			}
			require.Eventually(b, waiting, wakeLimit, wakeTick)
			time.Sleep(3 * batchEvery) // samples are handed over
			p.forget()
			heapNow, stacksNow := inUse()
			b.ReportMetric((heapNow-heap)/users, "heap-B/user")
			b.ReportMetric((stacksNow-stacks)/users, "stack-B/user")
			if store == "" {
				close(wake)
			} else {
				last.mustRun(`b.arriveAndWait()`)
			}
			all.Wait()
			wake = make(chan struct{})
			asleep.Store(0)
		}
	}
	b.Run("sleep", func(b *testing.B) { measure(b, "") })
	b.Run("memory", func(b *testing.B) { measure(b, memoryStore) })
	b.Run("redis", func(b *testing.B) { measure(b, redistest.Start(b).URL()) })
}

// forget drops the samples, which are k6's to keep.
func (p *process) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples = nil
}

// inUse is what is reachable and what goroutines have for stacks, in bytes.
func inUse() (heap, stacks float64) {
	for range 3 { // finalizers and pools need more than one
		runtime.GC()
	}
	samples := []rtmetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	rtmetrics.Read(samples)
	return float64(samples[0].Value.Uint64()), float64(samples[1].Value.Uint64())
}
