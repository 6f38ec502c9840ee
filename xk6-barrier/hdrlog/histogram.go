package hdrlog

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/bits"
)

// The geometry of all histograms, as HdrHistogram has it for integers from 1 with three significant digits.
const (
	// significantDigits of a value are kept: percentiles are right within 0.1 %.
	significantDigits = 3
	// subBuckets is the power of two above 2 · 10^significantDigits: up to there each integer is counted by itself. Each
	// further bucket has the upper half as many counters, for twice the range.
	subBuckets     = 2048
	halfBuckets    = subBuckets / 2
	subBucketsBits = 11
	// highest is what is recorded at most: the largest integer that a float64 holds with all those below it. What is beyond is
	// recorded as this; the exact max stands beside it.
	highest = 1<<53 - 1
	// hour in µs is what the head of a histogram names as its highest value, so that readers need no more memory than that
	// takes; where it holds larger ones, the head names the highest.
	hour = 3_600_000_000
)

// Marks of the encoding V2, with the word size of a variable length in their second digit.
const (
	cookieV2           = 0x1c849303 | 0x10
	cookieV2Compressed = 0x1c849304 | 0x10
)

// encoder writes histograms of values in HdrHistogram's encoding V2, compressed, as base64, one after another in the same
// 400 KB. hdrhistogram-go makes 700 KB anew for each, most for its compressor: with a thousand series that have samples every
// second it would need several times the processor time that it takes here.
type encoder struct {
	counts     [(53 - subBucketsBits + 2) * halfBuckets]int64 // all 0 between calls
	payload    []byte
	compressed bytes.Buffer
	zlib       *zlib.Writer
	text       []byte
}

// counter is the place of a value, from 0 to highest.
func counter(value int64) int {
	bucket := max(bits.Len64(uint64(value))-subBucketsBits, 0) // #nosec G115 -- not negative
	return bucket*halfBuckets + int(value>>bucket)
}

// encode is valid until the next call. There is at least one value.
func (e *encoder) encode(values []int64) ([]byte, error) {
	first, last := len(e.counts), 0
	for _, value := range values {
		at := counter(value)
		e.counts[at]++
		first, last = min(first, at), max(last, at)
	}
	e.putPayload(first, last)
	clear(e.counts[first : last+1])

	e.compressed.Reset()
	e.compressed.Write(make([]byte, 8)) // what comes first is known last
	if e.zlib == nil {
		// The fastest level has no tables that would have to be cleared for each histogram, and the sizes hardly differ.
		e.zlib, _ = zlib.NewWriterLevel(&e.compressed, zlib.BestSpeed) // the level is one
	} else {
		e.zlib.Reset(&e.compressed)
	}
	if _, err := e.zlib.Write(e.payload); err != nil {
		return nil, err
	}
	if err := e.zlib.Close(); err != nil {
		return nil, err
	}
	all := e.compressed.Bytes()
	binary.BigEndian.PutUint32(all, cookieV2Compressed)
	binary.BigEndian.PutUint32(all[4:], uint32(len(all)-8)) // #nosec G115 -- as small as the payload
	e.text = base64.StdEncoding.AppendEncode(e.text[:0], all)
	return e.text, nil
}

// putPayload writes the head, and the counters up to the last that is not 0.
func (e *encoder) putPayload(first, last int) {
	top := int64(hour)
	if last > counter(hour) {
		top = highest
	}
	b := binary.BigEndian.AppendUint32(e.payload[:0], cookieV2)
	b = binary.BigEndian.AppendUint32(b, 0) // the length of the counters, known below
	b = binary.BigEndian.AppendUint32(b, 0) // counters are not shifted
	b = binary.BigEndian.AppendUint32(b, significantDigits)
	b = binary.BigEndian.AppendUint64(b, 1)                   // the lowest value
	b = binary.BigEndian.AppendUint64(b, uint64(top))         // #nosec G115 -- not negative
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(1)) // integers are what they are
	head := len(b)
	zeros := int64(first)
	for _, count := range e.counts[first : last+1] {
		if count == 0 {
			zeros++
			continue
		}
		// HdrHistogram's variable lengths are those of this package, but for numbers above 2^55, which are not reached here.
		if zeros == 1 {
			b = binary.AppendVarint(b, 0)
		} else if zeros > 1 {
			b = binary.AppendVarint(b, -zeros) // below 0, it is how many counters are 0
		}
		zeros = 0
		b = binary.AppendVarint(b, count)
	}
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-head)) // #nosec G115 -- at most 9 bytes for each counter
	e.payload = b
}
