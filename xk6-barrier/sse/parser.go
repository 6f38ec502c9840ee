package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
)

// Buffer sizes of a parser. A stream whose events come one by one lives in the first one, which ten thousand open streams
// have each; one that fills it gets the usual one. What a long event needed is given back once it is larger than
// keptBuffer.
const (
	firstBuffer = 512
	usualBuffer = 4 << 10
	keptBuffer  = 64 << 10
	// eolWindow is how far the search for a line feed looks ahead of the search for a carriage return, so that a
	// stream with bare carriage returns does not scan a large buffer anew for every line.
	eolWindow = 512
	// maxEmptyReads is how often a reader may return nothing without an error before the parser gives up on it.
	maxEmptyReads = 100
)

// errEventTooLarge tells that a line, together with the data of the event it belongs to, exceeds the limit.
var errEventTooLarge = errors.New("event too large")

// event is one block of an event stream, as the grammar delivers it.
type event struct {
	id      string // the last event ID of the stream when the block ended, so it persists from block to block
	name    string // the value of the last event field, empty without one
	data    string // the values of the data fields, joined by line feeds
	comment string // the last comment of the block
	hasData bool   // false for a block without a data field, which the standard does not know
}

// parser reads an event stream as the WHATWG HTML standard describes it ("Interpreting an event stream"), and differs
// in one point: a block that holds a comment, a name or an id but no data is delivered too. It is not safe for concurrent use.
//
// The bytes of the stream decide what it delivers, never how a reader splits them.
type parser struct {
	src     io.Reader
	maxSize int
	err     error // what ended src, returned after everything read before it was delivered

	buf        []byte
	start, end int  // the unread part of buf
	scanned    int  // how much of the unread part is known to hold no line end
	filled     bool // the last read took all the room there was
	pastBOM    bool
	skipLF     bool // the last line ended in a carriage return: a line feed that follows belongs to it

	// The block so far.
	data       []byte
	hasData    bool
	comment    string
	hasComment bool
	name       string
	hasName    bool

	hasID     bool
	pendingID string // the last event ID buffer
	lastID    string // the last event ID, set from the buffer where a block ends
	retry     time.Duration
	hasRetry  bool
}

func newParser(src io.Reader, maxSize int) *parser {
	return &parser{src: src, maxSize: maxSize}
}

// resumeFrom sets the last event ID that an earlier connection ended with.
func (p *parser) resumeFrom(id string) { p.lastID, p.pendingID = id, id }

// lastEventID is the last event ID at the end of the last complete block.
func (p *parser) lastEventID() string { return p.lastID }

// reconnectionTime is the value of the last valid retry field.
func (p *parser) reconnectionTime() (time.Duration, bool) { return p.retry, p.hasRetry }

// next reads until one event is complete. It returns the error of the source after the last complete event (io.EOF for
// a stream that ended), and an error that wraps errEventTooLarge for an event above the limit. An event that the stream
// does not complete is dropped.
func (p *parser) next(ev *event) error {
	for {
		if ok, err := p.scan(ev); ok || err != nil {
			return err
		}
		if p.err != nil {
			return p.err
		}
		p.fill()
	}
}

// buffered is next without reading: it reports whether a complete event was in memory already.
func (p *parser) buffered(ev *event) (bool, error) {
	return p.scan(ev)
}

// scan consumes lines until one of them completes an event.
func (p *parser) scan(ev *event) (bool, error) {
	for {
		if !p.dropMarks() {
			return false, nil
		}
		unread := p.buf[p.start:p.end]
		at := indexEOL(unread[p.scanned:])
		length := len(unread)
		if at >= 0 {
			length = p.scanned + at
		}
		if len(p.data)+length > p.maxSize {
			return false, fmt.Errorf("%w: more than maxEventSize = %d bytes without an end", errEventTooLarge, p.maxSize)
		}
		if at < 0 {
			p.scanned = length
			return false, nil
		}
		p.scanned = 0
		p.start += length + 1
		p.skipLF = unread[length] == '\r'
		if length == 0 {
			if p.dispatch(ev) {
				return true, nil
			}
			continue
		}
		p.line(unread[:length])
	}
}

// dropMarks skips a byte order mark at the very beginning and the line feed of a CRLF pair. It reports false if it
// takes more bytes to decide.
func (p *parser) dropMarks() bool {
	const bom = "\xEF\xBB\xBF"
	unread := p.buf[p.start:p.end]
	if len(unread) == 0 {
		return false
	}
	if !p.pastBOM {
		if n := min(len(unread), len(bom)); string(unread[:n]) == bom[:n] {
			if n < len(bom) && p.err == nil {
				return false
			}
			if n == len(bom) {
				p.start += n
			}
		}
		p.pastBOM = true
		return p.start < p.end
	}
	if p.skipLF {
		p.skipLF = false
		if unread[0] == '\n' {
			p.start++
		}
		return p.start < p.end
	}
	return true
}

// indexEOL returns the position of the first line feed or carriage return, or -1.
func indexEOL(b []byte) int {
	for base := 0; base < len(b); base += eolWindow {
		window := b[base:min(base+eolWindow, len(b))]
		lf := bytes.IndexByte(window, '\n')
		if lf >= 0 {
			window = window[:lf]
		}
		if cr := bytes.IndexByte(window, '\r'); cr >= 0 {
			return base + cr
		}
		if lf >= 0 {
			return base + lf
		}
	}
	return -1
}

// line takes one line that is not empty into the block.
func (p *parser) line(line []byte) {
	field, value := line, []byte(nil)
	if colon := bytes.IndexByte(line, ':'); colon >= 0 {
		field, value = line[:colon], line[colon+1:]
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:]
		}
	}
	switch string(field) {
	case "data":
		if p.hasData {
			p.data = append(p.data, '\n')
		}
		p.data = append(p.data, value...)
		p.hasData = true
	case "event":
		setText(&p.name, value)
		p.hasName = true
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			setText(&p.pendingID, value)
			p.hasID = true
		}
	case "retry":
		p.setRetry(value)
	case "":
		// Only the last comment is kept: a server that sends comments and never an empty line must not fill memory.
		setText(&p.comment, value)
		p.hasComment = true
	}
}

// setRetry accepts nothing but ASCII digits.
func (p *parser) setRetry(value []byte) {
	const limit = math.MaxInt64 / int64(time.Millisecond)
	if len(value) == 0 {
		return
	}
	var ms int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return
		}
		if ms <= limit/10-1 {
			ms = ms*10 + int64(c-'0')
		}
	}
	p.retry, p.hasRetry = time.Duration(ms)*time.Millisecond, true
}

// dispatch ends the block and reports whether there is something to deliver.
func (p *parser) dispatch(ev *event) bool {
	p.lastID = p.pendingID
	deliver := p.hasData || p.hasComment || p.hasName || p.hasID
	if deliver {
		*ev = event{id: p.lastID, hasData: p.hasData}
		if p.hasData {
			ev.data = text(p.data)
		}
		if p.hasName {
			ev.name = p.name
		}
		if p.hasComment {
			ev.comment = p.comment
		}
	}
	// The strings of name and comment stay, so that the next block with the same ones needs no new memory.
	p.hasData, p.hasName, p.hasComment, p.hasID = false, false, false, false
	p.data = p.data[:0]
	if cap(p.data) > keptBuffer {
		p.data = nil
	}
	return deliver
}

// fill reads once from the source, after making room.
func (p *parser) fill() {
	switch {
	case p.start == p.end:
		p.start, p.end = 0, 0
		if len(p.buf) > keptBuffer || p.filled && len(p.buf) < usualBuffer {
			p.buf = nil
		}
	case p.end == len(p.buf) && p.start > 0:
		p.end = copy(p.buf, p.buf[p.start:p.end])
		p.start = 0
	}
	if p.end == len(p.buf) {
		// The limit was checked before, so this grows to twice maxSize at the most.
		least := firstBuffer
		if p.filled {
			least = usualBuffer
		}
		grown := make([]byte, max(least, 2*len(p.buf)))
		p.end = copy(grown, p.buf[p.start:p.end])
		p.start, p.buf = 0, grown
	}
	for range maxEmptyReads {
		n, err := p.src.Read(p.buf[p.end:])
		p.end += n
		p.filled = p.end == len(p.buf)
		if err != nil {
			p.err = err
			return
		}
		if n > 0 {
			return
		}
	}
	p.err = io.ErrNoProgress
}

// setText stores a value and allocates only if it changed.
func setText(dst *string, value []byte) {
	if *dst != string(value) {
		*dst = text(value)
	}
}

// text decodes UTF-8 and puts one replacement character in the place of each malformed sequence, as browsers do.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	decoded, err := unicode.UTF8.NewDecoder().Bytes(b)
	if err != nil {
		return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
	}
	return string(decoded)
}
