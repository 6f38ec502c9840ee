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
	"go.k6.io/k6/v2/lib/types"
	"go.k6.io/k6/v2/metrics"
)

// Defaults of the options. The reference lists the same ones, and a test compares them.
const (
	defaultConnectTimeout = 60 * time.Second // the timeout of k6/http
	defaultIdleTimeout    = 5 * time.Minute  // above every usual heartbeat: only a dead peer is silent for longer
	defaultReconnectDelay = 3 * time.Second
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
}

// option reads one value that is not null or undefined.
type option func(p *paramsParser, value sobek.Value) error

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
	eventSourceOptions = merge(commonOptions, map[string]option{
		"reconnectDelay": durationOption("reconnectDelay", func(r *request) *time.Duration { return &r.reconnectDelay }),
		// Cookies of the jar are always sent: there are no origins here that would have to agree first.
		"withCredentials": func(*paramsParser, sobek.Value) error { return nil },
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
	}
	r.headers.Set("Accept", eventStreamType)
	r.headers.Set("User-Agent", state.Options.UserAgent.String)

	if !common.IsNullish(params) {
		obj, ok := params.(*sobek.Object)
		if !ok {
			return nil, nil, newOptionError(op, "params: got %s; expected an object", describe(params))
		}
		p := &paramsParser{rt: mi.vu.Runtime(), request: r}
		for _, key := range obj.Keys() {
			if slices.Contains(ignoredOptions, key) {
				mi.root.warnOnce(state.Logger, op+key, "%s ignores the option %q of k6/http", op, key)
				continue
			}
			read, known := options[key]
			if !known {
				return nil, nil, newOptionError(op, "unknown option %q, got %s; allowed are %s",
					key, describe(obj.Get(key)), strings.Join(sortedKeys(options), ", "))
			}
			if value := obj.Get(key); !common.IsNullish(value) {
				if err := read(p, value); err != nil {
					return nil, nil, newOptionError(op, "%v", err)
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
		return httpext.URL{}, newInvalidURLError(op, "got "+describe(value))
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
	return func(p *paramsParser, value sobek.Value) error {
		d, err := parseDuration(value)
		if err != nil {
			return fmt.Errorf(
				"%s: got %s; expected a number of milliseconds or a string with a unit such as \"15s\", 0 for no limit",
				name, describe(value))
		}
		*field(p.request) = d
		return nil
	}
}

func parseDuration(value sobek.Value) (time.Duration, error) {
	exported := value.Export()
	switch v := exported.(type) {
	case string, int64:
	case float64:
		if math.IsNaN(v) {
			return 0, fmt.Errorf("not a number")
		}
	default:
		return 0, fmt.Errorf("not a duration")
	}
	if ms := value.ToFloat(); ms >= float64(math.MaxInt64/int64(time.Millisecond)) {
		return 0, fmt.Errorf("too large")
	}
	d, err := types.GetDurationValue(exported)
	if err == nil && d < 0 {
		err = fmt.Errorf("negative")
	}
	return d, err
}

func (p *paramsParser) methodOption(value sobek.Value) error {
	method := strings.ToUpper(strings.TrimSpace(value.String()))
	if _, ok := value.Export().(string); !ok || method == "" {
		return fmt.Errorf("method: got %s; expected the name of an HTTP method such as \"GET\"", describe(value))
	}
	p.request.method = method
	return nil
}

func (p *paramsParser) bodyOption(value sobek.Value) error {
	switch body := value.Export().(type) {
	case string:
		p.request.body = []byte(body)
	case sobek.ArrayBuffer:
		p.request.body = slices.Clone(body.Bytes())
	case []byte:
		p.request.body = slices.Clone(body)
	default:
		return fmt.Errorf("body: got %s; expected a string, an ArrayBuffer or a Uint8Array", describe(value))
	}
	return nil
}

func (p *paramsParser) headersOption(value sobek.Value) error {
	obj, ok := value.(*sobek.Object)
	if !ok {
		return fmt.Errorf("headers: got %s; expected an object of names and values", describe(value))
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
func (p *paramsParser) setHeader(name string, values []string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("headers: got the name %q; expected letters, digits and a few signs such as '-'", name)
	}
	p.request.headers.Del(name)
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("headers: the value of %q holds a control character; expected printable text", name)
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
func (p *paramsParser) cookiesOption(value sobek.Value) error {
	obj, ok := value.(*sobek.Object)
	if !ok {
		return fmt.Errorf("cookies: got %s; expected an object of names and values", describe(value))
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

func (p *paramsParser) jarOption(value sobek.Value) error {
	jar, ok := value.Export().(*httpmodule.CookieJar)
	if !ok {
		return fmt.Errorf("jar: got %s; expected an http.CookieJar", describe(value))
	}
	p.request.jar = jar.Jar
	return nil
}

func (p *paramsParser) maxEventSizeOption(value sobek.Value) error {
	size := value.ToFloat()
	if _, isString := value.Export().(string); isString || size != math.Trunc(size) || size < 1 || size > maxMaxEventSize {
		return fmt.Errorf("maxEventSize: got %s; expected a whole number of bytes from 1 to %d",
			describe(value), maxMaxEventSize)
	}
	p.request.maxEventSize = int(size)
	return nil
}

func (p *paramsParser) redirectsOption(value sobek.Value) error {
	n, ok := value.Export().(int64)
	if !ok || n < 0 {
		return fmt.Errorf("redirects: got %s; expected a whole number from 0 on", describe(value))
	}
	p.request.redirects = null.IntFrom(n)
	return nil
}

func (p *paramsParser) tagsOption(value sobek.Value) error {
	if _, ok := value.(*sobek.Object); !ok {
		return fmt.Errorf("tags: got %s; expected an object of names and values", describe(value))
	}
	if err := common.ApplyCustomUserTags(p.rt, &p.request.tags, value); err != nil {
		return fmt.Errorf("tags: %w", err)
	}
	return nil
}

func (p *paramsParser) throwOption(value sobek.Value) error {
	throws, ok := value.Export().(bool)
	if !ok {
		return fmt.Errorf("throw: got %s; expected true or false", describe(value))
	}
	p.request.throw = throws
	return nil
}

// describe says what was received: the value where it is a short one, else its kind.
func describe(value sobek.Value) string {
	const longest = 40
	if common.IsNullish(value) {
		return "nothing"
	}
	switch v := value.Export().(type) {
	case string:
		if len(v) <= longest {
			return fmt.Sprintf("the string %q", v)
		}
		return fmt.Sprintf("a string of %d bytes", len(v))
	case bool:
		return fmt.Sprintf("the boolean %t", v)
	case int64, float64:
		return "the number " + value.String()
	}
	if _, ok := sobek.AssertFunction(value); ok {
		return "a function"
	}
	if obj, ok := value.(*sobek.Object); ok && obj.ClassName() == "Array" {
		return "an array"
	}
	return "an object"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
