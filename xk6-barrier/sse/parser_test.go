package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parse reads a whole stream.
func parse(src io.Reader, maxSize int) ([]event, *parser, error) {
	p := newParser(src, maxSize)
	var events []event
	for {
		var ev event
		if err := p.next(&ev); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return events, p, err
		}
		events = append(events, ev)
	}
}

func data(values ...string) []event {
	events := make([]event, len(values))
	for i, value := range values {
		events[i] = event{data: value, hasData: true}
	}
	return events
}

var grammar = []struct {
	name   string
	stream string
	events []event
	lastID string
}{
	{"nothing", "", nil, ""},
	{"one line", "data: a\n\n", data("a"), ""},
	{"no space after the colon", "data:a\n\n", data("a"), ""},
	{"one space of two is taken", "data:  a\n\n", data(" a"), ""},
	{"a tab is no space", "data:\ta\n\n", data("\ta"), ""},
	{"carriage returns and line feeds", "data: a\r\ndata: b\r\n\r\n", data("a\nb"), ""},
	{"carriage returns alone", "data: a\r\rdata: b\r\r", data("a", "b"), ""},
	{"all line ends mixed", "data: a\ndata: b\rdata: c\r\n\ndata: d\r\n\rdata: e\n\r\n", data("a\nb\nc", "d", "e"), ""},
	{"two line feeds after a carriage return", "data: a\r\n\ndata: b\n\n", data("a", "b"), ""},
	{"several lines", "data: YHOO\ndata: +2\ndata: 10\n\n", data("YHOO\n+2\n10"), ""},
	{"an empty value", "data:\n\n", data(""), ""},
	{"a field without a colon", "data\n\n", data(""), ""},
	{"two empty values", "data\ndata\n\n", data("\n"), ""},
	{"trailing empty values stay", "data: a\ndata:\n\n", data("a\n"), ""},
	{"only the first colon separates", "data: a: b:c\n\n", data("a: b:c"), ""},
	{"a byte order mark", "\xEF\xBB\xBFdata: a\n\n", data("a"), ""},
	{"only one byte order mark", "\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\ndata: b\n\n", data("b"), ""},
	{"a byte order mark later is text", "data: \xEF\xBB\xBFa\n\n", data("\uFEFFa"), ""},
	{"half a byte order mark", "\xEF\xBBdata: a\n\ndata: b\n\n", data("b"), ""},
	{"nothing but a byte order mark", "\xEF\xBB\xBF", nil, ""},
	{"empty lines", "\n\n\n\r\r\r\n\r\n", nil, ""},
	{"unknown fields", "foo: x\nDATA: y\n data: z\ndata : w\ndata: a\n\n", data("a"), ""},
	{"a name", "event: add\ndata: a\n\n", []event{{name: "add", data: "a", hasData: true}}, ""},
	{"the last name counts", "event: add\nevent: sub\ndata: a\n\n", []event{{name: "sub", data: "a", hasData: true}}, ""},
	{"a name does not last", "event: add\ndata: a\n\ndata: b\n\n", []event{{name: "add", data: "a", hasData: true}, {data: "b", hasData: true}}, ""},
	{"a name without data", "event: done\n\ndata: b\n\n", []event{{name: "done"}, {data: "b", hasData: true}}, ""},
	{"an empty name without data", "event:\n\ndata: b\n\n", []event{{}, {data: "b", hasData: true}}, ""},
	{"a retry without data", "retry: 10\n\ndata: b\n\n", data("b"), ""},
	{"the same name again after none", "event: x\ndata: a\n\ndata: b\n\nevent: x\ndata: c\n\n", []event{
		{name: "x", data: "a", hasData: true}, {data: "b", hasData: true}, {name: "x", data: "c", hasData: true},
	}, ""},
	{"an id lasts", "id: 1\ndata: a\n\ndata: b\n\n", []event{{id: "1", data: "a", hasData: true}, {id: "1", data: "b", hasData: true}}, "1"},
	{"an empty id resets", "id: 1\ndata: a\n\nid\ndata: b\n\n", []event{{id: "1", data: "a", hasData: true}, {data: "b", hasData: true}}, ""},
	{"an id with NUL is ignored", "id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n", []event{{id: "1", data: "a", hasData: true}, {id: "1", data: "b", hasData: true}}, "1"},
	{"an id without data", "id: 7\n\ndata: a\n\n", []event{{id: "7"}, {id: "7", data: "a", hasData: true}}, "7"},
	{"an id with NUL without data", "id: 2\x003\n\ndata: a\n\n", data("a"), ""},
	{"an id of an unfinished block does not count", "id: 1\ndata: a\n\nid: 2\ndata: b\n", []event{{id: "1", data: "a", hasData: true}}, "1"},
	{"an id of an unfinished block counts in none before", "data: a\n\nid: 2\n", data("a"), ""},
	{"a comment alone", ": ping\n\n", []event{{comment: "ping"}}, ""},
	{"an empty comment", ":\n\n", []event{{}}, ""},
	{"a heartbeat without a space", ":heartBeat\n\ndata: a\n\n", []event{{comment: "heartBeat"}, {data: "a", hasData: true}}, ""},
	{"the last comment counts", ": a\n: b\n\n", []event{{comment: "b"}}, ""},
	{"a comment beside data", ": c\ndata: a\n\n", []event{{comment: "c", data: "a", hasData: true}}, ""},
	{"a comment block carries the id", "id: 1\ndata: a\n\n: c\n\n", []event{{id: "1", data: "a", hasData: true}, {id: "1", comment: "c"}}, "1"},
	{"an unfinished line", "data: a\n\ndata: b", data("a"), ""},
	{"an unfinished block", "data: a\n\ndata: b\n", data("a"), ""},
	{"a block that ends with a carriage return", "data: a\r\n\r", data("a"), ""},
	{"NUL in data", "data: a\x00b\n\n", data("a\x00b"), ""},
	{"text beyond ASCII", "data: größe 日本 🎫\n\n", data("größe 日本 🎫"), ""},
	{"malformed text", "data: a\xffb\xe2\x82c\xf0\x9f\x8e\n\n", data("a\uFFFDb\uFFFDc\uFFFD"), ""},
	{
		"the stocks of the standard",
		": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
		[]event{{comment: "test stream"}, {id: "1", data: "first event", hasData: true}, {data: "second event", hasData: true}, {data: " third event", hasData: true}},
		"",
	},
}

func TestGrammar(t *testing.T) {
	t.Parallel()
	for _, test := range grammar {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for name, reader := range map[string]io.Reader{
				"at once":          strings.NewReader(test.stream),
				"byte by byte":     iotest.OneByteReader(strings.NewReader(test.stream)),
				"error with data":  iotest.DataErrReader(strings.NewReader(test.stream)),
				"halves of a read": iotest.HalfReader(strings.NewReader(test.stream)),
			} {
				events, p, err := parse(reader, defaultMaxEventSize)
				require.NoError(t, err, name)
				assert.Equal(t, test.events, events, name)
				assert.Equal(t, test.lastID, p.lastEventID(), name)
			}
			for at := range test.stream {
				events, _, err := parse(splitReader(test.stream, at), defaultMaxEventSize)
				require.NoError(t, err, "split at %d", at)
				assert.Equal(t, test.events, events, "split at %d", at)
			}
		})
	}
}

// splitReader returns a stream in parts that end at the given places.
func splitReader(stream string, at ...int) io.Reader {
	parts, from := make([]io.Reader, 0, len(at)+1), 0
	for _, to := range append(at, len(stream)) {
		parts = append(parts, strings.NewReader(stream[from:to]))
		from = to
	}
	return io.MultiReader(parts...)
}

// TestEventIsCompleteAtItsLastByte makes sure that no event waits for a byte after its empty line, which may come much later.
func TestEventIsCompleteAtItsLastByte(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n\n", "\r\r", "\r\n\r\n", "\r\n\r", "\n\r"} {
		stuck := errors.New("the parser read on")
		var ev event
		p := newParser(io.MultiReader(strings.NewReader("data: a"+end), iotest.ErrReader(stuck)), 100)
		require.NoError(t, p.next(&ev), "%q", end)
		assert.Equal(t, "a", ev.data, "%q", end)
		require.ErrorIs(t, p.next(&ev), stuck, "%q", end)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]time.Duration{
		"retry: 1500\n":                     1500 * time.Millisecond,
		"retry:0\n":                         0,
		"retry: 1500\nretry: soon\n":        1500 * time.Millisecond,
		"retry: 10\nretry: 20\n\n":          20 * time.Millisecond,
		"data: a\n\nretry: 30\ndata: b\n\n": 30 * time.Millisecond,
	} {
		_, p, err := parse(strings.NewReader(stream), 100)
		require.NoError(t, err)
		got, ok := p.reconnectionTime()
		assert.True(t, ok, "%q", stream)
		assert.Equal(t, want, got, "%q", stream)
	}
	for _, stream := range []string{"retry\n", "retry:\n", "retry: -1\n", "retry: 1.5\n", "retry: 1e3\n", "retry: １\n", "retry:  1\n"} {
		_, p, err := parse(strings.NewReader(stream), 100)
		require.NoError(t, err)
		_, ok := p.reconnectionTime()
		assert.False(t, ok, "%q", stream)
	}
	_, p, err := parse(strings.NewReader("retry: 99999999999999999999999999\n"), 100)
	require.NoError(t, err)
	got, _ := p.reconnectionTime()
	assert.Greater(t, got, 24*time.Hour)
}

func TestEventSizeIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 100
	for name, test := range map[string]struct {
		stream string
		events []event
		fails  bool
	}{
		"a line at the limit":            {"data: " + strings.Repeat("x", limit-6) + "\n\n", data(strings.Repeat("x", limit-6)), false},
		"a line above it":                {"data: a\n\ndata: " + strings.Repeat("x", limit-5) + "\n\n", data("a"), true},
		"a line without an end":          {"data: a\n\n" + strings.Repeat("x", limit+1), data("a"), true},
		"an endless comment":             {":" + strings.Repeat("x", 100*limit), nil, true},
		"many lines":                     {"data: a\n\n" + strings.Repeat("data: 123456789\n", limit/10), data("a"), true},
		"many comments without an event": {strings.Repeat(": ping\n", 10*limit) + "data: a\n\n", []event{{comment: "ping", data: "a", hasData: true}}, false},
		"many unknown fields":            {strings.Repeat("unknown: 123456789\n", 10*limit) + "data: a\n\n", data("a"), false},
		"many events":                    {strings.Repeat("data: 123456789\n\n", 3), data("123456789", "123456789", "123456789"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for split, reader := range map[string]io.Reader{
				"at once":      strings.NewReader(test.stream),
				"byte by byte": iotest.OneByteReader(strings.NewReader(test.stream)),
			} {
				events, p, err := parse(reader, limit)
				assert.Equal(t, test.events, events, split)
				assert.Equal(t, test.fails, errors.Is(err, errEventTooLarge), "%s: %v", split, err)
				assert.LessOrEqual(t, len(p.buf)+cap(p.data), usualBuffer+4*limit, split)
			}
		})
	}
}

func TestLargeEventsGiveTheirMemoryBack(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 500_000)
	stream := "data: " + large + "\n\n" + strings.Repeat("data: a\r\n\r\n", 1000)
	events, p, err := parse(strings.NewReader(stream), defaultMaxEventSize)
	require.NoError(t, err)
	require.Len(t, events, 1001)
	assert.Equal(t, large, events[0].data)
	assert.LessOrEqual(t, len(p.buf)+cap(p.data), 2*keptBuffer)
}

func TestReaderWithoutProgress(t *testing.T) {
	t.Parallel()
	_, _, err := parse(iotest.ErrReader(nil), 100)
	require.ErrorIs(t, err, io.ErrNoProgress)
}

func TestBufferedNeverReads(t *testing.T) {
	t.Parallel()
	p := newParser(iotest.OneByteReader(strings.NewReader("data: a\n\n")), 100)
	var ev event
	ok, err := p.buffered(&ev)
	assert.False(t, ok)
	require.NoError(t, err)

	p = newParser(strings.NewReader("data: a\n\ndata: b\n\ndata: c"), 100)
	require.NoError(t, p.next(&ev))
	ok, err = p.buffered(&ev)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "b", ev.data)
	ok, err = p.buffered(&ev)
	require.NoError(t, err)
	assert.False(t, ok)
}

// FuzzSplits: the bytes decide, not how they arrive; and a straightforward reading of the standard agrees.
func FuzzSplits(f *testing.F) {
	for i, test := range grammar {
		f.Add([]byte(test.stream), uint8(i), uint8(3*i))
	}
	f.Add([]byte(strings.Repeat("data: 0123456789\r\n", 100)+"\r\n"), uint8(1), uint8(200))
	f.Fuzz(func(t *testing.T, stream []byte, first, second uint8) {
		const limit = 1000
		whole, p, err := parse(strings.NewReader(string(stream)), limit)
		for _, reader := range []io.Reader{
			iotest.OneByteReader(strings.NewReader(string(stream))),
			&cyclicReader{src: string(stream), sizes: []int{int(first), int(second)}},
		} {
			events, other, otherErr := parse(reader, limit)
			require.Equal(t, whole, events)
			require.Equal(t, p.lastEventID(), other.lastEventID())
			require.Equal(t, err, otherErr)
		}
		if err == nil {
			require.Equal(t, model(string(stream)), whole)
		}
	})
}

// cyclicReader returns as many bytes at a time as its sizes say, over and over.
type cyclicReader struct {
	src   string
	sizes []int
	turn  int
}

func (r *cyclicReader) Read(p []byte) (int, error) {
	if r.src == "" {
		return 0, io.EOF
	}
	n := min(max(1, r.sizes[r.turn%len(r.sizes)]), len(p), len(r.src))
	r.turn++
	copy(p, r.src[:n])
	r.src = r.src[n:]
	return n, nil
}

// model reads the standard word by word, with everything in memory.
func model(stream string) []event {
	var (
		events []event
		block  event
		data   []string
		more   bool // than data
		id     string
	)
	stream = strings.TrimPrefix(stream, "\xEF\xBB\xBF")
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stream), "\n")
	for _, line := range lines[:len(lines)-1] {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if len(data) > 0 || more {
				block.id, block.data, block.hasData = text([]byte(id)), text([]byte(strings.Join(data, "\n"))), len(data) > 0
				events = append(events, block)
			}
			block, data, more = event{}, nil, false
		case strings.HasPrefix(line, ":"):
			more, block.comment = true, text([]byte(value))
		case field == "data":
			data = append(data, value)
		case field == "event":
			more, block.name = true, text([]byte(value))
		case field == "id" && !strings.Contains(value, "\x00"):
			more, id = true, value
		}
	}
	return events
}
