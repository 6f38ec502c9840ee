package core

import (
	"sync"
	"sync/atomic"
)

// tokenShards spreads the lock of the token table over this many, so that ten thousand goroutines that arrive at
// once, and the reader that answers them, rarely meet.
const tokenShards = 64

// waiter is who waits for the one frame of a token.
type waiter struct {
	frame chan Frame  // of capacity 1, so that the reader never blocks
	owed  atomic.Bool // the gate that opens is not the answer: the frame is
}

// tokens is the table of calls under way. A token is in it from before its submission until its frame was handed over
// or it was given up; exactly one of both takes it out.
type tokens struct {
	last   atomic.Uint64
	pool   sync.Pool
	shards [tokenShards]struct {
		sync.Mutex

		waiters map[uint64]*waiter
		_       [40]byte // keeps neighbours off one cache line
	}
}

func newTokens() *tokens {
	t := &tokens{pool: sync.Pool{New: func() any { return &waiter{frame: make(chan Frame, 1)} }}}
	for i := range t.shards {
		t.shards[i].waiters = make(map[uint64]*waiter)
	}
	return t
}

// reserve makes a token, never 0, and the waiter for its frame.
func (t *tokens) reserve() (uint64, *waiter) {
	token := t.last.Add(1)
	w := t.pool.Get().(*waiter) //nolint:forcetypeassert // the pool holds nothing else
	w.owed.Store(false)
	shard := &t.shards[token%tokenShards]
	shard.Lock()
	shard.waiters[token] = w
	shard.Unlock()
	return token, w
}

// take removes a token and returns its waiter, or nil where the token is not there any more.
func (t *tokens) take(token uint64) *waiter {
	shard := &t.shards[token%tokenShards]
	shard.Lock()
	defer shard.Unlock()
	w := shard.waiters[token]
	delete(shard.waiters, token)
	return w
}

// number is a token that nobody waits with: only texts are kept under it.
func (t *tokens) number() uint64 { return t.last.Add(1) }

// owe tells whoever waits with the token that its frame is still to come, whatever gate opens. It reports false for a token
// that nobody waits for.
func (t *tokens) owe(token uint64) bool {
	shard := &t.shards[token%tokenShards]
	shard.Lock()
	defer shard.Unlock()
	w := shard.waiters[token]
	if w == nil {
		return false
	}
	w.owed.Store(true)
	return true
}

// deliver hands a frame to whoever waits for it. It reports false for a token that nobody waits for.
func (t *tokens) deliver(frame Frame) bool {
	w := t.take(frame.Token)
	if w == nil {
		return false
	}
	w.frame <- frame
	return true
}

// forget gives up a token whose frame has not been received. Where the reader was quicker, the frame is on its way or
// already there, and is received here so that the waiter can be used again.
func (t *tokens) forget(token uint64, w *waiter) (frame Frame, came bool) {
	if t.take(token) == nil {
		frame, came = <-w.frame, true
	}
	t.pool.Put(w)
	return frame, came
}

// release puts a waiter back whose frame has been received.
func (t *tokens) release(w *waiter) { t.pool.Put(w) }

// len is the number of calls under way.
func (t *tokens) len() int {
	n := 0
	for i := range t.shards {
		shard := &t.shards[i]
		shard.Lock()
		n += len(shard.waiters)
		shard.Unlock()
	}
	return n
}
