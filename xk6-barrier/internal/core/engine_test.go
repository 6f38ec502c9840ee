package core

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scriptedEngine stands in for the core where a test must decide what comes over the pipe and when. What a barrier means
// is tested against the real core, in package barrier.
type scriptedEngine struct {
	read, write *os.File

	onSubmit func(token uint64, frame *Frame) Status
	onOpen   func(token uint64) (uint64, Status)
	onQuery  func(token uint64) Status

	resolve  Resolver
	resolved chan string

	mu        sync.Mutex
	texts     map[uint64]string
	releases  map[uint32]string
	logs      []string
	cancelled []uint64
	closeOnce sync.Once
}

var _ Engine = (*scriptedEngine)(nil)

func newScriptedEngine(t *testing.T) *scriptedEngine {
	t.Helper()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	return &scriptedEngine{read: read, write: write, texts: map[uint64]string{}, releases: map[uint32]string{},
		resolved: make(chan string, 1)}
}

// client starts a client of the engine that is closed with the test.
func (e *scriptedEngine) client(t *testing.T, log func(LogLine)) *Client {
	t.Helper()
	c, err := NewClient(e, log, e.resolve)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(time.Second) })
	return c
}

func (e *scriptedEngine) send(t *testing.T, frames ...Frame) {
	t.Helper()
	var bytes []byte
	for _, frame := range frames {
		bytes = append(bytes, encodeFrame(frame)...)
	}
	_, err := e.write.Write(bytes)
	assert.NoError(t, err)
}

func (e *scriptedEngine) Start() (io.ReadCloser, error) { return e.read, nil }
func (e *scriptedEngine) Close(time.Duration) {
	e.closeOnce.Do(func() { _ = e.write.Close() })
}
func (e *scriptedEngine) CheckOptions([]byte) error                    { return nil }
func (e *scriptedEngine) Open(token uint64, _ []byte) (uint64, Status) { return e.onOpen(token) }
func (e *scriptedEngine) OpenCounter([]byte) (uint64, error)           { return 9, nil }
func (e *scriptedEngine) CheckGroup([]byte) error                      { return nil }
func (e *scriptedEngine) OpenGroup([]byte) (uint64, error)             { return 11, nil }
func (e *scriptedEngine) OpenOperator([]byte) (uint64, error)          { return 10, nil }
func (e *scriptedEngine) Submit(_ *Request, token uint64, _, _ string, frame *Frame) Status {
	return e.onSubmit(token, frame)
}
func (e *scriptedEngine) Arrivals(_ uint64, tokens []uint64, arrivals []Arrival) Status {
	for at, token := range tokens {
		arrivals[at] = Arrival(token % 3) //nolint:gosec // below 3
	}
	return OK
}
func (e *scriptedEngine) Query(_, token uint64, _ []byte) Status { return e.onQuery(token) }
func (e *scriptedEngine) Resolved(token uint64, answer []byte) {
	e.resolved <- fmt.Sprintf("%d %s", token, answer)
}
func (e *scriptedEngine) Cancel(token uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancelled = append(e.cancelled, token)
}
func (e *scriptedEngine) BarrierStatus(uint64) ([]byte, Status) { return []byte(`{"parties":3}`), OK }
func (e *scriptedEngine) ReleaseInfo(_ uint64, phase uint32) ([]byte, Status) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if text, ok := e.releases[phase]; ok {
		return []byte(text), OK
	}
	return nil, Empty
}

func (e *scriptedEngine) TakeText(token uint64) ([]byte, Status) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text, ok := e.texts[token]
	delete(e.texts, token)
	if !ok {
		return nil, Empty
	}
	return []byte(text), OK
}

func (e *scriptedEngine) NextLog() ([]byte, Status) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.logs) == 0 {
		return nil, Empty
	}
	line := e.logs[0]
	e.logs = e.logs[1:]
	return []byte(line), OK
}

func (e *scriptedEngine) setText(token uint64, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts[token] = text
}

// encodeFrame writes a frame as the core does.
func encodeFrame(f Frame) []byte {
	order := binary.NativeEndian
	b := make([]byte, FrameSize)
	order.PutUint64(b[0:], f.Token)
	order.PutUint16(b[8:], uint16(f.Kind))
	b[10], b[11] = uint8(f.Outcome), f.Flags
	order.PutUint32(b[12:], uint32(f.Status))
	order.PutUint32(b[16:], f.Phase)
	order.PutUint32(b[20:], f.Index)
	order.PutUint64(b[24:], f.TimeMicros)
	return b
}

func TestCheckBuildNamesBothSides(t *testing.T) {
	defer func(before string) { wantBuildID = before }(wantBuildID)

	wantBuildID = "abc"
	require.NoError(t, checkBuild(ABIVersion, "abc"))
	assert.EqualError(t, checkBuild(7, "abc"),
		`the linked core speaks ABI version 7, this module speaks 2; rebuild both with "make k6"`)
	assert.EqualError(t, checkBuild(ABIVersion, "def"),
		`the linked core has build id def, this module was built for abc; rebuild both with "make k6"`)

	wantBuildID = ""
	assert.ErrorContains(t, checkBuild(ABIVersion, "def"), "built without a build id")
}
