package sse

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/grafana/sobek"

	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/lib/netext/httpext"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// The names of the errors that scripts see. index.d.ts lists the same ones, and a test compares them.
const (
	nameOptionError         = "SSEOptionError"
	nameInvalidURLError     = "SSEInvalidURLError"
	nameConnectError        = "SSEConnectError"
	nameConnectTimeoutError = "SSEConnectTimeoutError"
	nameConnectionError     = "SSEConnectionError"
	nameTimeoutError        = "SSETimeoutError"
	nameIdleTimeoutError    = "SSEIdleTimeoutError"
	nameContentTypeError    = "SSEContentTypeError"
	nameDecodingError       = "SSEDecodingError"
	nameEventTooLargeError  = "SSEEventTooLargeError"
	nameStatusError         = "SSEStatusError"
	nameClosedError         = "SSEClosedError"
)

// The error codes of k6 that this module uses. k6 documents them for scripts but does not export them.
const (
	codeDefault          = 1000
	codeInvalidURL       = 1020
	codeRequestTimeout   = 1050
	codeDNS              = 1100
	codeDNSNoSuchHost    = 1101
	codeBlacklistedIP    = 1110
	codeBlockedHostname  = 1111
	codeTCP              = 1200
	codeBrokenPipe       = 1201
	codeDial             = 1210
	codeDialTimeout      = 1211
	codeDialRefused      = 1212
	codeReset            = 1220
	codeTLS              = 1300
	codeTLSHeader        = 1301
	codeUnknownAuthority = 1310
	codeHostname         = 1311
	codeHTTP2GoAway      = 1610
	codeHTTP2Stream      = 1630
	codeHTTP2Connection  = 1650
	codeDecompression    = 1701
	codeHTTPStatus       = 1000 // plus the status, from 400 on
)

// errClosed is the cause of a stream that the script closed.
var errClosed = errors.New("closed by the script")

// errNotRun is for a function that the event loop did not get to the end of.
var errNotRun = errors.New("the event loop did not run the handler")

// streamError is what ended a stream, or kept it from opening.
type streamError struct {
	op     string // the call that failed, for the message
	name   string
	reason string
	code   int
	label  string       // the value of the error tag: short, and the same for every server and VU
	wrong  *wrongOption // with nameOptionError
	body   *string      // what came instead of a stream, where there was an answer
	cause  error
}

func (e *streamError) Error() string { return fmt.Sprintf("%s failed; reason: %s", e.op, e.reason) }
func (e *streamError) Unwrap() error { return e.cause }

// newOptionError is for arguments that cannot be used: it is always thrown.
func newOptionError(op string, w *wrongOption) *streamError {
	return &streamError{
		op: op, name: nameOptionError, code: codeDefault, label: "invalid option", wrong: w,
		reason: script.WrongOption(w.option, w.got, w.allowed),
	}
}

func newInvalidURLError(op, reason string) *streamError {
	return &streamError{
		op: op, name: nameInvalidURLError, code: codeInvalidURL, label: "invalid URL",
		reason: "invalid URL: " + reason + "; expected an absolute http:// or https:// URL",
	}
}

func newTimeoutError(op, name, option string, limit time.Duration, what string) *streamError {
	return &streamError{
		op: op, name: name, code: codeRequestTimeout, label: "request timeout",
		reason: fmt.Sprintf("%s within %s (%s)", what, limit, option),
		cause:  context.DeadlineExceeded,
	}
}

// newStatusError is for what cannot go on without a 200.
func newStatusError(op string, status int, body string) *streamError {
	e := &streamError{
		op: op, name: nameStatusError, code: codeDefault, label: "unexpected status",
		reason: fmt.Sprintf("got the status %d; expected %d", status, http.StatusOK), body: &body,
	}
	if status >= http.StatusBadRequest {
		e.code = codeHTTPStatus + status
	}
	return e
}

// newClosedError is for a wait that nothing can end any more.
func newClosedError(op, reason string) *streamError {
	return &streamError{op: op, name: nameClosedError, code: codeDefault, label: "closed", reason: reason}
}

// newConnectError is for everything before the response headers.
func newConnectError(op string, err error) *streamError {
	err = withoutURL(err)
	code, label := classify(err)
	return &streamError{op: op, name: nameConnectError, code: code, label: label, reason: err.Error(), cause: err}
}

// newReadError is for everything after them.
func newReadError(op string, err error) *streamError {
	e := &streamError{op: op, name: nameConnectionError, reason: err.Error(), cause: err}
	var unsupported *unsupportedEncodingError
	switch {
	case errors.Is(err, errEventTooLarge):
		e.name, e.code, e.label = nameEventTooLargeError, codeDefault, errEventTooLarge.Error()
	case errors.As(err, &unsupported), isDecodingError(err):
		e.name, e.code, e.label = nameDecodingError, codeDecompression, "error decompressing response body"
		e.reason = e.label + ": " + e.reason
	default:
		e.code, e.label = classify(err)
		e.reason = "the connection was lost: " + e.reason
	}
	return e
}

func isDecodingError(err error) bool {
	var corrupt flate.CorruptInputError
	for _, known := range []error{gzip.ErrHeader, gzip.ErrChecksum, zlib.ErrHeader, zlib.ErrChecksum, zlib.ErrDictionary} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &corrupt)
}

// withoutURL takes off the wrapper of net/http that repeats the whole URL, which may hold a token.
func withoutURL(err error) error {
	var wrapper *url.Error
	for errors.As(err, &wrapper) {
		err = wrapper.Err
	}
	return err
}

// classify gives an error the code and the short text that k6/http would give it.
func classify(err error) (code int, label string) {
	var (
		k6Err       httpext.K6Error
		dnsErr      *net.DNSError
		blacklisted netext.BlackListedIPError
		blocked     netext.BlockedHostError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		header      tls.RecordHeaderError
		certificate *tls.CertificateVerificationError
		opErr       *net.OpError
	)
	switch {
	case errors.As(err, &k6Err):
		return int(k6Err.Code), k6Err.Message
	case errors.As(err, &dnsErr):
		if dnsErr.IsNotFound {
			return codeDNSNoSuchHost, "lookup: no such host"
		}
		return codeDNS, "lookup failed"
	case errors.As(err, &blacklisted):
		return codeBlacklistedIP, "ip is blacklisted"
	case errors.As(err, &blocked):
		return codeBlockedHostname, "hostname is blocked"
	case errors.As(err, &authority):
		return codeUnknownAuthority, "x509: unknown authority"
	case errors.As(err, &hostname):
		return codeHostname, "x509: certificate doesn't match hostname"
	case errors.As(err, &header):
		return codeTLSHeader, "tls: not a TLS handshake"
	case errors.As(err, &certificate):
		return codeTLS, "tls: certificate verification failed"
	case errors.As(err, &opErr):
		return classifyNetwork(opErr)
	}
	return classifyMessage(err.Error())
}

func classifyNetwork(err *net.OpError) (code int, label string) {
	dial := err.Op == "dial"
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return codeReset, err.Op + ": connection reset by peer"
	case errors.Is(err, syscall.EPIPE):
		return codeBrokenPipe, err.Op + ": broken pipe"
	case dial && errors.Is(err, syscall.ECONNREFUSED):
		return codeDialRefused, "dial: connection refused"
	case dial && err.Timeout():
		return codeDialTimeout, "dial: i/o timeout"
	case dial:
		return codeDial, "dial failed"
	default:
		return codeTCP, err.Op + " failed"
	}
}

// classifyMessage covers the HTTP/2 errors, whose types the standard library does not export.
func classifyMessage(message string) (code int, label string) {
	switch {
	case strings.HasPrefix(message, "stream error: "):
		return codeHTTP2Stream, "http2: stream error"
	case strings.HasPrefix(message, "connection error: "):
		return codeHTTP2Connection, "http2: connection error"
	case strings.HasPrefix(message, "http2: server sent GOAWAY"):
		return codeHTTP2GoAway, "http2: received GoAway"
	default:
		return codeDefault, message
	}
}

// errorValue makes the error that handlers receive and that sse.open() throws: an Error with its name and code, k6's own
// code, and error(), by which scripts written for earlier modules read the message. It must run on the VU's goroutine.
func (mi *instance) errorValue(e *streamError) *sobek.Object {
	object := mi.errors.New(mi.vu.Runtime(), e.Error(), e.name, "").Tell("errorCode", e.code).Tell("error", e.Error)
	if w := e.wrong; w != nil {
		object.TellOption(w.option, w.got, w.allowed)
	}
	if e.body != nil {
		object.Tell("body", *e.body)
	}
	return object.Object
}

// throw makes err an exception of the script. An exception or interruption that came out of a handler passes unchanged.
func (mi *instance) throw(err error) {
	var (
		exception   *sobek.Exception
		interrupted *sobek.InterruptedError
		overflow    *sobek.StackOverflowError
	)
	switch {
	case errors.As(err, &exception):
		panic(exception)
	case errors.As(err, &interrupted):
		panic(interrupted)
	case errors.As(err, &overflow):
		panic(overflow)
	default:
		panic(mi.errorOf(err))
	}
}

// errorOf makes any error a JavaScript one.
func (mi *instance) errorOf(err error) *sobek.Object {
	var ours *streamError
	if errors.As(err, &ours) {
		return mi.errorValue(ours)
	}
	return mi.vu.Runtime().NewGoError(err) // k6's own, such as the one about the init context
}

// must is for operations on objects made here, which fail only if this code is wrong.
func must(rt *sobek.Runtime, err error) {
	if err != nil {
		common.Throw(rt, err)
	}
}
