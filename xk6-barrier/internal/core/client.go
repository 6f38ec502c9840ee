package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// ErrEnded is returned by calls whose context ended first.
var ErrEnded = errors.New("k6 ended the iteration")

// pipeGrace is how long the end of the pipe may come after the end of the engine.
const pipeGrace = time.Second

// LogLine is a line of the core's log.
type LogLine struct {
	Level   string
	Message string
	Fields  map[string]any
}

// To writes the line where k6 writes its own.
func (l LogLine) To(logger logrus.FieldLogger) {
	entry := logger.WithFields(l.Fields)
	switch level, err := logrus.ParseLevel(l.Level); {
	case err != nil || level == logrus.InfoLevel:
		entry.Info(l.Message)
	case level <= logrus.ErrorLevel: // one that is fatal to the core is not to k6
		entry.Error(l.Message)
	case level == logrus.WarnLevel:
		entry.Warn(l.Message)
	default:
		entry.Debug(l.Message)
	}
}

// Client lets goroutines wait for the core. One goroutine reads the pipe, another one the log.
type Client struct {
	engine   Engine
	pipe     io.Closer
	tokens   *tokens
	turns    *turns
	barriers sync.Map // handle -> *gates; made by whoever names a handle first, the reader included
	log      func(LogLine)
	resolve  Resolver
	logs     chan struct{} // of capacity 1
	strays   atomic.Uint64

	lost      chan struct{} // closed when nothing can complete any more
	lostError error         // set before lost is closed
	closeOnce sync.Once
	closing   atomic.Bool
	done      sync.WaitGroup
}

// Resolver gives the address (ip:port) that a host and port stand for.
type Resolver func(hostPort string) (string, error)

// SystemResolver looks a name up as the system does.
func SystemResolver(hostPort string) (string, error) {
	addr, err := net.ResolveTCPAddr("tcp", hostPort)
	if err != nil {
		return "", err //nolint:wrapcheck // it says all that is to be said
	}
	return addr.String(), nil
}

// NewClient starts the engine. The log function is called on a goroutine of the client, the resolver before every
// connection on one of its own.
func NewClient(engine Engine, log func(LogLine), resolve Resolver) (*Client, error) {
	pipe, err := engine.Start()
	if err != nil {
		return nil, err
	}
	c := &Client{
		engine:  engine,
		pipe:    pipe,
		tokens:  newTokens(),
		log:     log,
		resolve: resolve,
		logs:    make(chan struct{}, 1),
		lost:    make(chan struct{}),
	}
	c.turns = newTurns(func(frame Frame) { c.tokens.deliver(frame) }) // nobody is there any more whom k6 ended meanwhile
	c.done.Add(2)
	go c.read(pipe)
	go c.drainLogs()
	return c, nil
}

// read runs until the pipe ends, and then fails everyone who still waits.
func (c *Client) read(pipe io.ReadCloser) {
	defer c.done.Done()
	defer func() { _ = pipe.Close() }()

	err := readFrames(pipe, c.handle)
	c.lostError = &Error{Status: Closed, Message: "the barrier's engine is closed"}
	if !c.closing.Load() {
		c.lostError = &Error{Status: Closed, Message: "the core is lost: " + err.Error()}
	}
	close(c.lost)
	c.turns.end()
	c.barriers.Range(func(_, g any) bool {
		g.(*gates).lose() //nolint:forcetypeassert // the map holds nothing else
		return true
	})
}

// handle does three things: look up, hand over, and nothing else. It must not block.
func (c *Client) handle(frame Frame) {
	switch frame.Kind {
	case FrameDone:
		if frame.TimeMicros > 0 {
			c.turns.add(frame)
		} else if !c.tokens.deliver(frame) {
			c.strays.Add(1)
		}
	case FrameOwed:
		if !c.tokens.owe(frame.Token) {
			c.strays.Add(1)
		}
	case FrameRelease:
		c.gates(frame.Token).release(frame.Phase, frame.Flags&Shared != 0)
	case FrameBroken:
		c.gates(frame.Token).breakAll()
	case FrameForgotten:
		if g, known := c.barriers.LoadAndDelete(frame.Token); known {
			g.(*gates).forget() //nolint:forcetypeassert // the map holds nothing else
		}
	case FrameLog:
		select {
		case c.logs <- struct{}{}:
		default: // a drain is due already and will see these lines too
		}
	case FrameResolve:
		go c.answerResolve(frame.Token) // as long as the look-up takes; nobody waits for it when the engine closes
	}
}

func (c *Client) answerResolve(token uint64) {
	hostPort, status := c.engine.TakeText(token)
	if status != OK {
		return // given up meanwhile
	}
	answer := map[string]string{}
	if addr, err := c.resolve(string(hostPort)); err != nil {
		answer["error"] = err.Error()
	} else {
		answer["addr"] = addr
	}
	if text, err := json.Marshal(answer); err == nil {
		c.engine.Resolved(token, text)
	}
}

func (c *Client) drainLogs() {
	defer c.done.Done()
	for {
		select {
		case <-c.logs:
			c.drainLog()
		case <-c.lost:
			c.drainLog()
			return
		}
	}
}

func (c *Client) drainLog() {
	for {
		text, status := c.engine.NextLog()
		if status != OK {
			return
		}
		var fields map[string]any
		if json.Unmarshal(text, &fields) != nil {
			fields = map[string]any{"message": string(text)}
		}
		line := LogLine{Fields: fields}
		line.Level, _ = fields["level"].(string)
		line.Message, _ = fields["message"].(string)
		delete(fields, "level")
		delete(fields, "message")
		c.log(line)
	}
}

// Close ends the engine, which may take as long as the deadline, and waits for the client's goroutines. All who wait
// are failed. It may be called more than once.
func (c *Client) Close(deadline time.Duration) {
	c.closeOnce.Do(func() {
		c.closing.Store(true)
		c.engine.Close(deadline)
		// The core closes its end of the pipe, which ends the reader. Nobody is kept waiting should it not.
		late := time.AfterFunc(pipeGrace, func() { _ = c.pipe.Close() })
		defer late.Stop()
		<-c.lost
	})
	c.done.Wait()
}

// Lost is closed when the core cannot complete anything any more.
func (c *Client) Lost() <-chan struct{} { return c.lost }

func (c *Client) isLost() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}

// LostError says why Lost was closed.
func (c *Client) LostError() error { return c.lostError }

func (c *Client) gates(handle uint64) *gates {
	g, _ := c.gatesOf(handle)
	return g
}

// gatesOf also says whether this call made them.
func (c *Client) gatesOf(handle uint64) (g *gates, made bool) {
	if g, ok := c.barriers.Load(handle); ok {
		return g.(*gates), false //nolint:forcetypeassert // the map holds nothing else
	}
	found, known := c.barriers.LoadOrStore(handle, newGates())
	g = found.(*gates) //nolint:forcetypeassert // the map holds nothing else
	if c.isLost() {
		g.lose()
	}
	return g, !known
}

// call submits with a token and waits for its frame. The context's end gives the token up.
func (c *Client) call(ctx context.Context, submit func(token uint64, frame *Frame) Status) (Frame, []byte, error) {
	token, w := c.tokens.reserve()
	var frame Frame
	switch status := submit(token, &frame); status {
	case OK:
		c.tokens.forget(token, w)
		frame.Token, frame.Status = token, OK
		return frame, c.text(frame), nil
	case Pending:
	default:
		c.tokens.forget(token, w)
		text, _ := c.engine.TakeText(token)
		return frame, nil, newError(status, text)
	}

	select {
	case frame = <-w.frame:
		c.tokens.release(w)
	case <-ctx.Done():
		if answer, came := c.tokens.forget(token, w); came {
			return c.completed(answer)
		}
		c.engine.Cancel(token) // not before: it throws the text of an answer away
		return frame, nil, fmt.Errorf("%w: %w", ErrEnded, context.Cause(ctx))
	case <-c.lost:
		c.tokens.forget(token, w)
		return frame, nil, c.lostError
	}

	return c.completed(frame)
}

// completed is a frame with what belongs to it.
func (c *Client) completed(frame Frame) (Frame, []byte, error) {
	if frame.Status != OK {
		text, _ := c.engine.TakeText(frame.Token)
		return frame, nil, newError(frame.Status, text)
	}
	return frame, c.text(frame), nil
}

// text is what belongs to a frame beyond its numbers. Only an arrival has a number where others have the text's length.
func (c *Client) text(frame Frame) []byte {
	if frame.Index == 0 || frame.Outcome == OutcomeArrived {
		return nil
	}
	text, _ := c.engine.TakeText(frame.Token)
	return text
}

// Tally is how much the core holds.
type Tally struct {
	Barriers     int `json:"barriers"`
	Retired      int `json:"retired"`
	RetiredBytes int `json:"retiredBytes"`
	Handles      int `json:"handles"`
}

// Tally asks the core how much it holds.
func (c *Client) Tally(ctx context.Context) (Tally, error) {
	var tally Tally
	const engine = 0 // the handle of whoever is asked
	err := c.Query(ctx, engine, struct {
		Op string `json:"op"`
	}{"tally"}, &tally)
	return tally, err
}

// Barriers is how many barriers somebody may wait at.
func (c *Client) Barriers() int {
	n := 0
	c.barriers.Range(func(any, any) bool { n++; return true })
	return n
}

// Query asks about a barrier or a counter and decodes the answer.
func (c *Client) Query(ctx context.Context, handle uint64, question, answer any) error {
	asked, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("asking the core: %w", err)
	}
	text, err := c.ask(ctx, handle, asked)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("reading the core's answer: %w", err)
	}
	return nil
}

// ask puts a question in JSON and returns the answer's text.
func (c *Client) ask(ctx context.Context, handle uint64, question []byte) ([]byte, error) {
	_, text, err := c.call(ctx, func(token uint64, _ *Frame) Status { return c.engine.Query(handle, token, question) })
	return text, err
}

// OpenCounter opens a queue counter.
func (c *Client) OpenCounter(options []byte) (uint64, error) { return c.engine.OpenCounter(options) }
