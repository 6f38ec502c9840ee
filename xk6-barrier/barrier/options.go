package barrier

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

const (
	maxSafeInteger = 1<<53 - 1
	maxParticipant = 128  // bytes
	maxAbortReason = 1024 // bytes
	maxMissing     = 1000
)

// What is allowed, for messages.
const (
	allowedDuration    = `a duration above 0: milliseconds, or a string such as "30s" or "5m"`
	allowedDelay       = `a duration of 0 or more: milliseconds, or a string such as "200ms"`
	allowedWhole       = "a whole number"
	allowedParticipant = "a string of 1 to 128 bytes or a whole number from 0 to 2^53 - 1"
	allowedRedisURL    = "redis[s][+cluster]://[[user]:password@]host[:port][/database]"
	allowedQuorum      = `a number of arrivals such as 90, or a whole percentage such as "90%"`
	allowedRelease     = allowedQuorum + `, or an object such as { spread: "2s" }`
)

// options reads an options object and keeps the first thing that is wrong with it.
type options struct {
	rt     *sobek.Runtime
	object *sobek.Object // nil where no options were given
	known  []string
	prefix string // of an object within the object
	err    *Error
}

// newOptions takes an object, or nothing. The example is for the message about anything else.
func newOptions(rt *sobek.Runtime, given sobek.Value, example string) (*options, error) {
	o := &options{rt: rt}
	if common.IsNullish(given) {
		return o, nil
	}
	object, ok := given.(*sobek.Object)
	if !ok || object.ClassName() != "Object" {
		return nil, newOptionError("options", script.Describe(given), "an object such as "+example)
	}
	o.object = object
	return o, nil
}

// fail keeps the first error.
func (o *options) fail(option string, got sobek.Value, allowed string) {
	if o.err == nil {
		o.err = newOptionError(o.prefix+option, script.Describe(got), allowed)
	}
}

// get reads an option; nullish is nil, which means the default.
func (o *options) get(option string) sobek.Value {
	o.known = append(o.known, option)
	return o.peek(option)
}

// peek is an option's value, whether or not it is one of those that are allowed.
func (o *options) peek(option string) sobek.Value {
	if o.object == nil {
		return nil
	}
	if v := o.object.Get(option); !common.IsNullish(v) {
		return v
	}
	return nil
}

// done reports the first error, or an option that does not exist.
func (o *options) done() error {
	unknown := func(key string) bool { return !slices.Contains(o.known, key) }
	// Listing only what is enumerable takes several times as long, and each call of a script comes by here.
	if o.err == nil && o.object != nil && slices.ContainsFunc(o.object.GetOwnPropertyNames(), unknown) {
		for _, key := range o.object.Keys() {
			if unknown(key) {
				slices.Sort(o.known)
				o.err = newOptionError(o.prefix+key, script.Describe(o.object.Get(key)), strings.Join(o.known, ", "))
				o.err.reason = script.UnknownOption(o.err.option, o.err.allowed)
				break
			}
		}
	}
	if o.err != nil {
		return o.err
	}
	return nil
}

// present is an option that has to be there.
type present struct{ value sobek.Value }

func (o *options) required(option string) present { return present{o.get(option)} }

func (p present) whole(o *options, option string) int64 {
	n, ok := wholeNumber(p.value)
	if !ok {
		o.fail(option, p.value, allowedWhole)
	}
	return n
}

func (o *options) optionalWhole(option string) *int64 {
	v := o.get(option)
	if v == nil {
		return nil
	}
	n := present{v}.whole(o, option)
	return &n
}

func (o *options) boolean(option string) bool {
	v := o.get(option)
	if v == nil {
		return false
	}
	b, ok := v.Export().(bool)
	if !ok {
		o.fail(option, v, "true or false")
	}
	return b
}

// text is a value that has to be a string.
func (o *options) text(option string, v sobek.Value) string {
	if v != nil {
		if s, ok := v.Export().(string); ok {
			return s
		}
	}
	o.fail(option, v, "a string")
	return ""
}

func (o *options) string(option string) string {
	v := o.get(option)
	if v == nil {
		return ""
	}
	s := o.text(option, v)
	if s == "" && o.err == nil {
		o.fail(option, v, "a string that is not empty")
	}
	return s
}

// choice is one of a few strings.
func (o *options) choice(option string, allowed ...string) string {
	v := o.get(option)
	if v == nil {
		return ""
	}
	s, ok := v.Export().(string)
	if !ok || !slices.Contains(allowed, s) {
		o.fail(option, v, "'"+strings.Join(allowed, "' or '")+"'")
	}
	return s
}

func (o *options) strings(option string) []string {
	v := o.get(option)
	if v == nil {
		return nil
	}
	const allowed = "an array of strings"
	items, ok := v.Export().([]any)
	if !ok {
		o.fail(option, v, allowed)
		return nil
	}
	list := make([]string, 0, len(items))
	for at, item := range items {
		s, ok := item.(string)
		if !ok {
			o.fail(fmt.Sprintf("%s[%d]", option, at), o.rt.ToValue(item), "a string")
			return nil
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (o *options) duration(option, allowed string, least time.Duration) *time.Duration {
	v := o.get(option)
	if v == nil {
		return nil
	}
	d, ok := script.Duration(v)
	if !ok || d < least {
		o.fail(option, v, allowed)
		return nil
	}
	return &d
}

var percentage = regexp.MustCompile(`^[0-9]{1,9}%$`)

// quorum is how many arrivals are enough; nil where all are waited for.
func (o *options) quorum(option, allowed string) *quorum {
	v := o.get(option)
	if v == nil {
		return nil
	}
	if n, ok := wholeNumber(v); ok && n > 0 {
		return &quorum{Count: n}
	}
	if s, ok := v.Export().(string); ok && percentage.MatchString(s) {
		if n, err := strconv.ParseInt(strings.TrimSuffix(s, "%"), 10, 64); err == nil && n > 0 {
			return &quorum{Percent: n}
		}
	}
	o.fail(option, v, allowed)
	return nil
}

// participantID is a participant that the script named.
type participantID struct{ id string }

// participant reads the option participant; nil means the default.
func (o *options) participant() *participantID {
	v := o.get("participant")
	if v == nil {
		return nil
	}
	if n, ok := wholeNumber(v); ok && n >= 0 {
		return &participantID{strconv.FormatInt(n, 10)}
	}
	if s, ok := v.Export().(string); ok && s != "" && len(s) <= maxParticipant && utf8.ValidString(s) {
		return &participantID{s}
	}
	o.fail("participant", v, allowedParticipant)
	return nil
}

// wholeNumber is the value of a safe integer.
func wholeNumber(v sobek.Value) (int64, bool) {
	if v == nil {
		return 0, false
	}
	switch n := v.Export().(type) {
	case int64:
		return n, n <= maxSafeInteger && n >= -maxSafeInteger
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) <= maxSafeInteger
	}
	return 0, false
}

// milliseconds rounds up, so that what is above 0 stays so.
func milliseconds(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	ms := int64((*d + time.Millisecond - 1) / time.Millisecond)
	return &ms
}

// callOptions are the options of a single call.
type callOptions struct {
	participant *participantID
	timeout     *time.Duration
}

// readCallOptions reads those of participant and timeout that the call takes.
func (i *instance) readCallOptions(given sobek.Value, takes ...string) (callOptions, error) {
	var c callOptions
	example := "{ timeout: '30s' }"
	if slices.Contains(takes, "participant") {
		example = "{ participant: 7 }"
	}
	o, err := newOptions(i.vu.Runtime(), given, example)
	if err != nil {
		return c, err
	}
	if slices.Contains(takes, "participant") {
		c.participant = o.participant()
	}
	if slices.Contains(takes, "timeout") {
		c.timeout = o.duration("timeout", allowedDuration, time.Nanosecond)
	}
	return c, o.done()
}

// needParticipant is the answer where no virtual user stands for the participant.
func needParticipant() error {
	return newOptionError("participant", "nothing", allowedParticipant+"; setup() and teardown() have no virtual user "+
		"whose id could stand for it")
}
