// Package suite is a small piece of code with a small suite of tests: what the gate of phase 11 measures.
package suite

import (
	"fmt"
	"time"
)

// Bucket lets a steady rate through, and a burst.
type Bucket struct {
	perSecond float64
	size      float64
	tokens    float64
	last      time.Time
}

// NewBucket makes a full bucket of the given size, which gets perSecond tokens a second.
func NewBucket(perSecond, size float64, now time.Time) (*Bucket, error) {
	if perSecond <= 0 || size < 1 {
		return nil, fmt.Errorf("bucket: got %g a second and a size of %g; above 0, and at least 1, are allowed", perSecond, size)
	}
	return &Bucket{perSecond: perSecond, size: size, tokens: size, last: now}, nil
}

// Take takes a token, and reports whether there was one. A clock that goes back adds none.
func (b *Bucket) Take(now time.Time) bool {
	if passed := now.Sub(b.last).Seconds(); passed > 0 {
		b.tokens = min(b.size, b.tokens+passed*b.perSecond)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Wait tells how long it takes until there is a token.
func (b *Bucket) Wait() time.Duration {
	if b.tokens >= 1 {
		return 0
	}
	return time.Duration((1 - b.tokens) / b.perSecond * float64(time.Second))
}
