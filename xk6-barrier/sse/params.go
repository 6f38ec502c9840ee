package sse

import (
	"fmt"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/sobek"
	"golang.org/x/net/http/httpguts"
	"gopkg.in/guregu/null.v3"

	"go.k6.io/k6/v2/js/common"
	httpmodule "go.k6.io/k6/v2/js/modules/k6/http"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext/httpext"
	"go.k6.io/k6/v2/metrics"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// Defaults of the options. The reference lists the same ones, and a test compares them.
const (
	defaultConnectTimeout = 60 * time.Second // the timeout of k6/http
	defaultIdleTimeout    = 5 * time.Minute  // above every usual heartbeat: only a dead peer is silent for longer
	defaultReconnectDelay = 3 * time.Second
	defaultBaseDelay      = time.Second
	defaultMaxDelay       = 30 * time.Second
	defaultMaxEventSize   = 1 << 20
	maxMaxEventSize       = 1 << 30
)

const eventStreamType = "text/event-stream"

// request is what one call asked for, free of JavaScript values, so that any goroutine may use it.
type request struct {
	op      string // the call, for messages
	url     httpext.URL
	method  string
	body    []byte
	headers http.Header
	host    string
	cookies map[string]*httpext.HTTPRequestCookie
	jar     *cookiejar.Jar
	tags    metrics.TagsAndMeta

	redirects      null.Int
	throw          bool
	timeout        time.Duration // of the whole stream, 0 for none
	connectTimeout time.Duration // until the response headers, 0 for none
	idleTimeout    time.Duration // between two reads, 0 for none
	reconnectDelay time.Duration // EventSource only, until the server sends a retry field
	maxEventSize   int

	// openAsync only
	maxRetries int
	baseDelay  time.Duration // before the first repetition, doubled before each further one
	maxDelay   time.Duration
}

// option reads one value that is not null or undefined.
type option func(p *paramsParser, value sobek.Value) *wrongOption

// Every call knows the options of its own table and no others.
//
//nolint:gochecknoglobals // constant tables
var (
	commonOptions = map[string]option{
		"connectTimeout": durationOption("connectTimeout", func(r *request) *time.Duration { return &r.connectTimeout }),
		"cookies":        (*paramsParser).cookiesOption,
		"headers":        (*paramsParser).headersOption,
		"idleTimeout":    durationOption("idleTimeout", func(r *request) *time.Duration { return &r.idleTimeout }),
		"jar":            (*paramsParser).jarOption,
		"maxEventSize":   (*paramsParser).maxEventSizeOption,
		"redirects":      (*paramsParser).redirectsOption,
		"tags":           (*paramsParser).tagsOption,
		"timeout":        durationOption("timeout", func(r *request) *time.Duration { return &r.timeout }),
	}
	openOptions = merge(commonOptions, map[string]option{
		"body":   (*paramsParser).bodyOption,
		"method": (*paramsParser).methodOption,
		"throw":  (*paramsParser).throwOption,
	})
	openAsyncOptions = merge(commonOptions, map[string]option{
		"baseDelay":  durationOption("baseDelay", func(r *request) *time.Duration { return &r.baseDelay }),
		"body":       (*paramsParser).bodyOption,
		"maxDelay":   durationOption("maxDelay", func(r *request) *time.Duration { return &r.maxDelay }),
		"maxRetries": (*paramsParser).maxRetriesOption,
		"method":     (*paramsParser).methodOption,
	})
	eventSourceOptions = merge(commonOptions, map[string]option{
		"reconnectDelay": durationOption("reconnectDelay", func(r *request) *time.Duration { return &r.reconnectDelay }),
		// Cookies of the jar are always sent: there are no origins here that would have to agree first.
		"withCredentials": func(*paramsParser, sobek.Value) *wrongOption { return nil },
	})

	// ignoredOptions are those of k6/http that mean nothing here. Scripts share one params object between http and sse
	// calls, and earlier modules took it silently.
	ignoredOptions = []string{"auth", "compression", "responseCallback", "responseType"}
)

func merge(tables ...map[string]option) map[string]option {
	merged := make(map[string]option)
	for _, table := range tables {
		for name, read := range table {
			merged[name] = read
		}
	}
	return merged
}

// allowedDuration is what all durations may be, for messages.
const allowedDuration = `a duration of 0 or more, 0 for no limit: milliseconds, or a string such as "15s"`

// wrongOption says which option or argument cannot be used, what it was and what it may be.
type wrongOption struct{ option, got, allowed string }

func wrong(option string, got sobek.Value, allowed string) *wrongOption {
	return &wrongOption{option, script.Describe(got), allowed}
}

type paramsParser struct {
	rt      *sobek.Runtime
	request *request
}

// newRequest reads the arguments of a call. Only an option can be wrong here: a URL that cannot be used is reported in
// the second result, because it fails like a connection does.
func (mi *instance) newRequest(
	op string, state *lib.State, options map[string]option, urlValue, params sobek.Value,
) (*request, *streamError, error) {
	r := &request{
		op:             op,
		method:         http.MethodGet,
		headers:        make(http.Header),
		jar:            state.CookieJar,
		tags:           state.Tags.GetCurrentValues(),
		redirects:      state.Options.MaxRedirects,
		throw:          state.Options.Throw.Bool,
		connectTimeout: defaultConnectTimeout,
		idleTimeout:    defaultIdleTimeout,
		reconnectDelay: defaultReconnectDelay,
		maxEventSize:   defaultMaxEventSize,
		baseDelay:      defaultBaseDelay,
		maxDelay:       defaultMaxDelay,
	}
	r.headers.Set("Accept", eventStreamType)
	r.headers.Set("User-Agent", state.Options.UserAgent.String)

	if !common.IsNullish(params) {
		obj, ok := params.(*sobek.Object)
		if _, isFunction := sobek.AssertFunction(params); !ok || isFunction {
			return nil, nil, newOptionError(op, wrong("params", params, "an object such as { headers: {} }"))
		}
		p := &paramsParser{rt: mi.vu.Runtime(), request: r}
		for _, key := range obj.Keys() {
			if slices.Contains(ignoredOptions, key) {
				mi.root.warnOnce(state.Logger, op+key, "%s ignores the option %q of k6/http", op, key)
				continue
			}
			read, known := options[key]
			if !known {
				unknown := wrong(key, obj.Get(key), strings.Join(sortedKeys(options), ", "))
				e := newOptionError(op, unknown)
				e.reason = script.UnknownOption(key, unknown.allowed)
				return nil, nil, e
			}
			if value := obj.Get(key); !common.IsNullish(value) {
				if w := read(p, value); w != nil {
					return nil, nil, newOptionError(op, w)
				}
			}
		}
	}

	var urlErr *streamError
	r.url, urlErr = parseURL(op, urlValue)
	return r, urlErr, nil
}

// parseURL accepts a string and what http.url`…` makes. Its errors never repeat the URL, which may hold a password.
func parseURL(op string, value sobek.Value) (httpext.URL, *streamError) {
	if common.IsNullish(value) {
		return httpext.URL{}, newInvalidURLError(op, "none given")
	}
	u, err := httpext.ToURL(value.Export())
	if err != nil {
		if k6Err, ok := err.(httpext.K6Error); ok && k6Err.OriginalError != nil { //nolint:errorlint // made as this type
			return httpext.URL{}, newInvalidURLError(op, withoutURL(k6Err.OriginalError).Error())
		}
		return httpext.URL{}, newInvalidURLError(op, "got "+script.Describe(value))
	}
	switch parsed := u.GetURL(); {
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return httpext.URL{}, newInvalidURLError(op, fmt.Sprintf("got the scheme %q", parsed.Scheme))
	case parsed.Host == "":
		return httpext.URL{}, newInvalidURLError(op, "it names no host")
	}
	return u, nil
}

func durationOption(name string, field func(*request) *time.Duration) option {
	return func(p *paramsParser, value sobek.Value) *wrongOption {
		d, ok := script.Duration(value)
		if !ok || d < 0 {
			return wrong(name, value, allowedDuration)
		}
		*field(p.request) = d
		return nil
	}
}

func (p *paramsParser) methodOption(value sobek.Value) *wrongOption {
	method := strings.ToUpper(strings.TrimSpace(value.String()))
	if _, ok := value.Export().(string); !ok || method == "" {
		return wrong("method", value, "the name of an HTTP method such as \"GET\"")
	}
	p.request.method = method
	return nil
}

func (p *paramsParser) bodyOption(value sobek.Value) *wrongOption {
	switch body := value.Export().(type) {
	case string:
		p.request.body = []byte(body)
	case sobek.ArrayBuffer:
		p.request.body = slices.Clone(body.Bytes())
	case []byte:
		p.request.body = slices.Clone(body)
	default:
		p.request.body = []byte(value.String()) // as earlier modules sent it; a script that wants JSON says so
	}
	return nil
}

func (p *paramsParser) headersOption(value sobek.Value) *wrongOption {
	obj, ok := value.(*sobek.Object)
	if !ok {
		return wrong("headers", value, "an object of names and values")
	}
	for _, name := range obj.Keys() {
		header := obj.Get(name)
		if common.IsNullish(header) {
			continue
		}
		values := []string{header.String()}
		if list, ok := header.Export().([]any); ok {
			values = values[:0]
			for i := range list {
				values = append(values, header.ToObject(p.rt).Get(strconv.Itoa(i)).String())
			}
		}
		if err := p.setHeader(name, values); err != nil {
			return err
		}
	}
	return nil
}

// setHeader does not repeat a wrong value in its error, because it may be a token.
func (p *paramsParser) setHeader(name string, values []string) *wrongOption {
	if !httpguts.ValidHeaderFieldName(name) {
		return &wrongOption{"headers", fmt.Sprintf("the name %q", name), "letters, digits and a few signs such as '-'"}
	}
	p.request.headers.Del(name)
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(value) {
			return &wrongOption{"headers", fmt.Sprintf("a value of %q with a control character", name), "printable text"}
		}
		if textproto.CanonicalMIMEHeaderKey(name) == "Host" {
			p.request.host = value
			continue
		}
		p.request.headers.Add(name, value)
	}
	return nil
}

// cookiesOption reads cookies as k6/http does: a value, or an object that says whether it replaces the jar's cookie.
func (p *paramsParser) cookiesOption(value sobek.Value) *wrongOption {
	obj, ok := value.(*sobek.Object)
	if !ok {
		return wrong("cookies", value, "an object of names and values")
	}
	p.request.cookies = make(map[string]*httpext.HTTPRequestCookie)
	for _, name := range obj.Keys() {
		cookie := obj.Get(name)
		if common.IsNullish(cookie) {
			continue
		}
		parsed := &httpext.HTTPRequestCookie{Name: name}
		if attributes, ok := cookie.(*sobek.Object); ok {
			if v := attributes.Get("value"); !common.IsNullish(v) {
				parsed.Value = v.String()
			}
			if v := attributes.Get("replace"); !common.IsNullish(v) {
				parsed.Replace = v.ToBoolean()
			}
		} else {
			parsed.Value = cookie.String()
		}
		p.request.cookies[name] = parsed
	}
	return nil
}

func (p *paramsParser) jarOption(value sobek.Value) *wrongOption {
	jar, ok := value.Export().(*httpmodule.CookieJar)
	if !ok {
		return wrong("jar", value, "an http.CookieJar")
	}
	p.request.jar = jar.Jar
	return nil
}

func (p *paramsParser) maxEventSizeOption(value sobek.Value) *wrongOption {
	size := value.ToFloat()
	if _, isString := value.Export().(string); isString || size != math.Trunc(size) || size < 1 || size > maxMaxEventSize {
		return wrong("maxEventSize", value, fmt.Sprintf("a whole number of bytes from 1 to %d", maxMaxEventSize))
	}
	p.request.maxEventSize = int(size)
	return nil
}

func (p *paramsParser) maxRetriesOption(value sobek.Value) *wrongOption {
	n, ok := value.Export().(int64)
	if !ok || n < 0 || n > math.MaxInt32 {
		return wrong("maxRetries", value, "a whole number from 0 on")
	}
	p.request.maxRetries = int(n)
	return nil
}

func (p *paramsParser) redirectsOption(value sobek.Value) *wrongOption {
	n, ok := value.Export().(int64)
	if !ok || n < 0 {
		return wrong("redirects", value, "a whole number from 0 on")
	}
	p.request.redirects = null.IntFrom(n)
	return nil
}

func (p *paramsParser) tagsOption(value sobek.Value) *wrongOption {
	if _, ok := value.(*sobek.Object); !ok {
		return wrong("tags", value, "an object of names and values")
	}
	if err := common.ApplyCustomUserTags(p.rt, &p.request.tags, value); err != nil {
		return &wrongOption{"tags", err.Error(), "an object of names and strings, numbers or booleans"}
	}
	return nil
}

func (p *paramsParser) throwOption(value sobek.Value) *wrongOption {
	throws, ok := value.Export().(bool)
	if !ok {
		return wrong("throw", value, "true or false")
	}
	p.request.throw = throws
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
