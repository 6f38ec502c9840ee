package sse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
	"gopkg.in/guregu/null.v3"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext/httpext"
	"go.k6.io/k6/v2/metrics"
)

// A response that is no event stream is read to its end, so that its connection can serve again, but no further than
// this.
const (
	drainBytes = 64 << 10
	drainTime  = 500 * time.Millisecond
)

// shownBytes is how much of it a script gets: enough for a reason, and little for each of thousands who are refused at once.
const shownBytes = 8 << 10

// stream is one HTTP response that is read as an event stream. It knows nothing of JavaScript. One goroutine at a
// time may use it, except for close, which any goroutine may call.
type stream struct {
	ctx     context.Context //nolint:containedctx // that of the iteration
	state   *lib.State
	metrics *streamMetrics
	req     *request

	reqCtx context.Context //nolint:containedctx // ends the connection; its cause says why
	cancel context.CancelCauseFunc
	total  *time.Timer

	hops    hopTransport
	res     *http.Response
	body    atomic.Pointer[http.Response] // res for close, which may run at any time
	wire    *wireBody
	parser  *parser
	tags    metrics.TagsAndMeta // of the samples that belong to this stream
	sent    time.Time
	opened  time.Time
	accept  bool   // the response is an event stream
	said    string // by a response that is none; see drain
	gotData bool
}

// newStream makes a stream that ends with scope, a context derived from that of the iteration, ctx.
func newStream(ctx, scope context.Context, state *lib.State, m *streamMetrics, req *request) *stream {
	s := &stream{ctx: ctx, state: state, metrics: m, req: req, tags: req.tags}
	s.reqCtx, s.cancel = context.WithCancelCause(scope)
	s.hops = hopTransport{base: state.Transport, measure: func(h *hop) { s.measure(h, nil) }}
	return s
}

// connect sends the request and waits for the response headers. It reports whether there is a response; without one and
// without an error, nobody is interested any more. lastEventID is empty for a first connection.
func (s *stream) connect(lastEventID string) (bool, *streamError) {
	if limit := s.state.RPSLimit; limit != nil {
		if err := limit.Wait(s.reqCtx); err != nil {
			return false, s.failure(err, newConnectError)
		}
	}
	s.startTimers()
	var connectTimer *time.Timer
	if d := s.req.connectTimeout; d > 0 {
		connectTimer = time.AfterFunc(d, func() {
			s.cancel(newTimeoutError(s.req.op, nameConnectTimeoutError, "connectTimeout", d, "no response headers"))
		})
		defer connectTimer.Stop()
	}

	res, err := s.client().Do(s.httpRequest(lastEventID))
	if err != nil {
		return false, s.failure(err, newConnectError)
	}
	s.res = res
	s.body.Store(res)
	s.opened = time.Now()
	if jar := s.req.jar; jar != nil {
		if cookies := res.Cookies(); len(cookies) > 0 {
			jar.SetCookies(res.Request.URL, cookies)
		}
	}
	s.tags = systemTags(s.state.Options.SystemTags, s.req.tags, s.urlName(), s.hops.last)
	s.wire = newWireBody(res.Body, s.req.idleTimeout, func() {
		s.cancel(newTimeoutError(s.req.op, nameIdleTimeoutError, "idleTimeout", s.req.idleTimeout, "nothing was received"))
	})
	s.parser = newParser(decoded(s.wire, res.Header), s.req.maxEventSize)
	if err := s.reqCtx.Err(); err != nil { // a limit was reached while the headers arrived, or close was called
		return false, s.failure(err, newConnectError)
	}
	s.accept = res.StatusCode == http.StatusOK && isEventStream(res.Header)
	return true, nil
}

func (s *stream) startTimers() {
	s.sent = time.Now()
	if d := s.req.timeout; d > 0 {
		s.total = time.AfterFunc(d, func() {
			s.cancel(newTimeoutError(s.req.op, nameTimeoutError, "timeout", d, "the stream did not end"))
		})
	}
}

func isEventStream(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return mediaType == eventStreamType
}

// urlName is the template of an http.url`…` literal, and empty for any other URL.
func (s *stream) urlName() string {
	if u := s.req.url; u.Name != u.Clean() {
		return u.Name
	}
	return ""
}

func (s *stream) httpRequest(lastEventID string) *http.Request {
	req := (&http.Request{
		Method: s.req.method,
		URL:    s.req.url.GetURL(),
		Header: s.req.headers.Clone(),
		Host:   s.req.host,
	}).WithContext(s.reqCtx)
	if lastEventID != "" && httpguts.ValidHeaderFieldValue(lastEventID) {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	if body := s.req.body; len(body) > 0 {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	if s.req.jar != nil {
		httpext.SetRequestCookies(req, s.req.jar, s.req.cookies)
	}
	return req
}

func (s *stream) client() *http.Client {
	return &http.Client{
		Transport: withDebug(&s.hops, s.state, s.req.tags),
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if jar := s.req.jar; jar != nil {
				if cookies := next.Response.Cookies(); len(cookies) > 0 {
					jar.SetCookies(via[len(via)-1].URL, cookies)
				}
				next.Header.Del("Cookie")
				httpext.SetRequestCookies(next, jar, s.req.cookies)
			}
			if int64(len(via)) <= s.req.redirects.Int64 {
				return nil
			}
			if !s.req.redirects.Valid {
				s.state.Logger.WithField("url", s.req.url.Clean()).Warnf(
					"%s stopped after %d redirects and returned the last response; set the option redirects or maxRedirects",
					s.req.op, len(via))
			}
			return http.ErrUseLastResponse
		},
	}
}

// pass takes the stream from connecting to its end, for calls that cannot go on without a 200. read is called where there is a
// stream to read; opened tells of that.
func (s *stream) pass(lastEventID string, read func() error) (opened bool, failure *streamError) {
	connected, failure := s.connect(lastEventID)
	opened = connected && s.accept
	var readErr error
	switch {
	case failure != nil:
		readErr = failure
	case opened:
		readErr = read()
	case connected:
		s.drain()
	}
	failure = s.finish(readErr)
	if failure == nil && connected && s.status() != http.StatusOK {
		failure = newStatusError(s.req.op, s.status(), s.said)
	}
	return opened, failure
}

// next waits for the next event. It returns nil when there is one; else the stream is over, and the error goes to
// finish.
func (s *stream) next(ev *event) error {
	if err := s.reqCtx.Err(); err != nil {
		return err
	}
	return s.parser.next(ev)
}

// buffered is next for what has been received already: it never waits.
func (s *stream) buffered(ev *event) (bool, error) {
	if err := s.reqCtx.Err(); err != nil {
		return false, err
	}
	return s.parser.buffered(ev)
}

// count records one event before it is handed to handlers.
func (s *stream) count(ev *event) {
	now := time.Now()
	s.push(s.metrics.events, now, 1)
	if ev.hasData && !s.gotData {
		s.gotData = true
		s.push(s.metrics.firstEvent, now, metrics.D(now.Sub(s.sent)))
	}
}

// drain reads a response that is no event stream, and keeps the beginning of what it says.
func (s *stream) drain() {
	timer := time.AfterFunc(drainTime, s.closeBody)
	defer timer.Stop()
	// How it ends is of no interest, here and below: what has come so far may tell why, and finish closes it.
	head, _ := io.ReadAll(io.LimitReader(decoded(io.LimitReader(s.wire, drainBytes), s.res.Header), shownBytes))
	s.said = readable(head)
	_, _ = io.CopyN(io.Discard, s.wire, drainBytes-s.wire.bytes)
}

// readable makes a text of bytes that may have been cut off within a character, or be none at all.
func readable(head []byte) string {
	for range utf8.UTFMax - 1 {
		if last, size := utf8.DecodeLastRune(head); last != utf8.RuneError || size != 1 {
			break
		}
		head = head[:len(head)-1]
	}
	return strings.ToValidUTF8(string(head), string(utf8.RuneError))
}

// close ends the connection at once.
func (s *stream) close() {
	s.cancel(errClosed)
	s.closeBody()
}

func (s *stream) closeBody() {
	if res := s.body.Load(); res != nil {
		_ = res.Body.Close() // nothing more is read from it
	}
}

// finish closes what is left, records the request and returns what went wrong, if anything did. readErr is what next or
// connect returned, nil where the caller itself ended the stream.
func (s *stream) finish(readErr error) *streamError {
	var failure *streamError
	if readErr != nil && !errors.Is(readErr, io.EOF) {
		failure = s.failure(readErr, newReadError)
	}
	if failure == nil && s.wrongType() {
		failure = &streamError{
			op: s.req.op, name: nameContentTypeError, code: codeDefault, label: "unexpected content type",
			reason: fmt.Sprintf("got Content-Type %q; expected %s", s.res.Header.Get("Content-Type"), eventStreamType),
			body:   &s.said,
		}
	}
	if s.total != nil {
		s.total.Stop()
	}
	s.closeBody()
	s.cancel(nil)

	now := time.Now()
	if s.hops.last != nil {
		s.hops.measure = func(h *hop) { s.measure(h, failure) }
		s.hops.flush()
	}
	if s.accept {
		s.push(s.metrics.stream, now, metrics.D(now.Sub(s.opened)))
	}
	if s.wire != nil {
		s.push(s.metrics.received, now, float64(s.wire.bytes))
	}
	return failure
}

// wrongType is for a 200 that is no event stream: the status alone would not tell the script that nothing can come.
func (s *stream) wrongType() bool {
	return s.res != nil && s.res.StatusCode == http.StatusOK && !s.accept &&
		s.ctx.Err() == nil && !errors.Is(context.Cause(s.reqCtx), errClosed)
}

// failure says what err means, given who ended the connection. It is nil where nobody is to be told: the script
// closed the stream, or k6 is ending the VU.
func (s *stream) failure(err error, wrap func(string, error) *streamError) *streamError {
	var known *streamError
	switch cause := context.Cause(s.reqCtx); {
	case errors.As(err, &known):
		return known
	case errors.As(cause, &known):
		return known
	case s.ctx.Err() != nil, errors.Is(cause, errClosed):
		return nil
	default:
		return wrap(s.req.op, err)
	}
}

func (s *stream) measure(h *hop, failure *streamError) {
	enabled := s.state.Options.SystemTags
	tags := systemTags(enabled, s.req.tags, s.urlName(), h)
	if failure == nil && h.err != nil {
		failure = s.failure(h.err, newConnectError)
	}
	if failure != nil {
		tags = errorTags(enabled, tags, failure)
	}
	expected := failure == nil && h.res != nil && isExpected(h.res.StatusCode)
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagExpectedResponse, strconv.FormatBool(expected))
	trail := h.tracer.Done()
	trail.SaveSamples(s.state.BuiltinMetrics, &tags)
	trail.Failed = null.BoolFrom(!expected)
	failed := trail.Samples[0] // with the same tags and the same time
	failed.Metric, failed.Value = s.state.BuiltinMetrics.HTTPReqFailed, metrics.B(!expected)
	trail.Samples = append(trail.Samples, failed)
	metrics.PushIfNotDone(s.ctx, s.state.Samples, trail)
}

// isExpected is what k6 expects of a response where the script has not set another callback; which one it has set, k6/http does
// not tell.
func isExpected(status int) bool { return status >= http.StatusOK && status < http.StatusBadRequest }

func (s *stream) push(metric *metrics.Metric, at time.Time, value float64) {
	pushSample(s.ctx, s.state, metric, s.tags, at, value)
}

func pushSample(
	ctx context.Context, state *lib.State, metric *metrics.Metric, tags metrics.TagsAndMeta, at time.Time, value float64,
) {
	metrics.PushIfNotDone(ctx, state.Samples, metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: metric, Tags: tags.Tags},
		Time:       at,
		Metadata:   tags.Metadata,
		Value:      value,
	})
}

// status is 0 without a response.
func (s *stream) status() int {
	if s.res == nil {
		return 0
	}
	return s.res.StatusCode
}

// url is the one the script gave, or the last one that redirects led to.
func (s *stream) url() string {
	if s.res != nil && s.res.Request.URL.String() != s.req.url.GetURL().String() {
		return s.res.Request.URL.String()
	}
	return s.req.url.URL
}

// origin is the scheme and host that the events come from.
func (s *stream) origin() string {
	u := s.res.Request.URL
	return u.Scheme + "://" + u.Host
}

// headers joins repeated ones, as k6/http does.
func (s *stream) headers() map[string]string {
	joined := make(map[string]string)
	if s.res != nil {
		for name, values := range s.res.Header {
			joined[name] = strings.Join(values, ", ")
		}
	}
	return joined
}
