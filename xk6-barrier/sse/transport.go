package sse

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/lib/netext/httpext"
	"go.k6.io/k6/v2/metrics"
)

// hop is one request of a call: there is one more for each redirect that was followed.
type hop struct {
	tracer *httpext.Tracer
	req    *http.Request
	res    *http.Response
	remote net.Addr
	err    error
}

// hopTransport times each hop on the VU's own transport, so that connections, TLS, proxies and `hosts` are those of
// k6/http. It serves one call, whose redirects net/http follows one after another.
type hopTransport struct {
	base    http.RoundTripper
	last    *hop
	measure func(*hop)
}

// RoundTrip implements http.RoundTripper.
func (t *hopTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.flush()
	current := &hop{tracer: &httpext.Tracer{}, req: req}
	trace := current.tracer.Trace()
	gotConn := trace.GotConn
	trace.GotConn = func(info httptrace.GotConnInfo) {
		current.remote = info.Conn.RemoteAddr()
		gotConn(info)
	}
	current.res, current.err = t.base.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	t.last = current
	return current.res, current.err
}

// flush measures the last hop. It is called again when the stream has ended, so that its time covers the whole stream.
func (t *hopTransport) flush() {
	if t.last != nil {
		t.measure(t.last)
		t.last = nil
	}
}

// systemTags adds to tags what k6/http adds to those of a request.
func systemTags(enabled *metrics.SystemTagSet, tags metrics.TagsAndMeta, name string, h *hop) metrics.TagsAndMeta {
	tags = tags.Clone()
	cleanURL := cleanURL(h.req)
	if given, ok := tags.Tags.Get(metrics.TagName.String()); ok {
		// A name given by the script stands in for the URL too, which may be different for every request.
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagURL, given)
	} else {
		if name == "" {
			name = cleanURL
		}
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagName, name)
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagURL, name)
	}
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagMethod, h.req.Method)

	switch {
	case h.res == nil:
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagStatus, "0")
	default:
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagStatus, strconv.Itoa(h.res.StatusCode))
		tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagProto, h.res.Proto)
		if h.res.StatusCode >= http.StatusBadRequest {
			code := strconv.Itoa(codeHTTPStatus + h.res.StatusCode)
			tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagErrorCode, code)
		}
		if h.res.TLS != nil {
			info, ocsp := netext.ParseTLSConnState(h.res.TLS)
			tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagTLSVersion, info.Version)
			tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagOCSPStatus, ocsp.Status)
		}
	}
	if enabled.Has(metrics.TagIP) && h.remote != nil {
		if ip, _, err := net.SplitHostPort(h.remote.String()); err == nil {
			tags.SetSystemTagOrMeta(metrics.TagIP, ip)
		}
	}
	return tags
}

// errorTags adds what tells a stream that failed from one that did not. Unlike k6/http it leaves the status of a
// response that was received in place.
func errorTags(enabled *metrics.SystemTagSet, tags metrics.TagsAndMeta, failure *streamError) metrics.TagsAndMeta {
	tags = tags.Clone()
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagError, failure.label)
	tags.SetSystemTagOrMetaIfEnabled(enabled, metrics.TagErrorCode, strconv.Itoa(failure.code))
	return tags
}

// cleanURL is the URL of a request without credentials.
func cleanURL(req *http.Request) string {
	raw := req.URL.String()
	if u, err := httpext.NewURL(raw, raw); err == nil {
		return u.Clean()
	}
	return ""
}

var debugID atomic.Uint64 //nolint:gochecknoglobals // tells the requests of a process apart in its log

// debugTransport logs requests and response heads when k6 runs with --http-debug. It never logs a response body, which
// for a stream has no end.
type debugTransport struct {
	base   http.RoundTripper
	full   bool
	logger logrus.FieldLogger
}

func withDebug(base http.RoundTripper, state *lib.State, tags metrics.TagsAndMeta) http.RoundTripper {
	mode := state.Options.HTTPDebug.String
	if mode == "" {
		return base
	}
	fields := logrus.Fields{}
	for key, value := range tags.Metadata {
		fields[key] = value
	}
	for key, value := range tags.Tags.Map() {
		fields[key] = value
	}
	fields["source"], fields["vu"], fields["iter"] = "http-debug", state.VUID, state.Iteration
	return &debugTransport{base: base, full: mode == "full", logger: state.Logger.WithFields(fields)}
}

// RoundTrip implements http.RoundTripper.
func (t *debugTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	logger := t.logger.WithField("request_id", fmt.Sprintf("sse-%d", debugID.Add(1)))
	log := func(what string, dump []byte, err error) {
		if err != nil {
			logger.WithError(err).Errorf("%s could not be dumped", what)
			return
		}
		logger.Infof("%s:\n%s\n", what, strings.ReplaceAll(string(dump), "\r\n", "\n"))
	}
	dump, err := httputil.DumpRequestOut(req, t.full)
	log("Request", dump, err)
	res, err := t.base.RoundTrip(req)
	if res != nil {
		dump, dumpErr := httputil.DumpResponse(res, false)
		log("Response", dump, dumpErr)
	}
	return res, err
}
