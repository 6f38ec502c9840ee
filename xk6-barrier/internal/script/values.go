// Package script is what the modules do alike with the values of a script: reading them, describing them in a message, and
// making errors and plain data.
package script

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib/types"
)

// maxMilliseconds is the longest time.Duration.
const maxMilliseconds = math.MaxInt64 / int64(time.Millisecond)

// Duration reads a number of milliseconds or a string with units, as all of k6 does. k6 itself does not look for an overflow.
func Duration(v sobek.Value) (d time.Duration, ok bool) {
	exported := v.Export()
	var ms float64
	switch n := exported.(type) {
	case int64:
		ms = float64(n)
	case float64:
		ms = n
	case string:
		ms, _ = strconv.ParseFloat(n, 64) // 0 for one with a unit, which k6 does look at
	default:
		return 0, false
	}
	if !(math.Abs(ms) < float64(maxMilliseconds)) {
		return 0, false
	}
	d, err := types.GetDurationValue(exported)
	return d, err == nil
}

// Describe shows a value in a message: by what it is where it is short, else by its kind. A URL is never shown, because it
// may hold a password.
func Describe(v sobek.Value) string {
	if common.IsNullish(v) {
		return "nothing"
	}
	switch x := v.Export().(type) {
	case string:
		return Quote(x)
	case int64, float64, bool:
		return v.String()
	case []any:
		if len(x) == 0 {
			return "an empty array"
		}
		return "an array"
	default:
		if kind := reflect.TypeOf(x); kind != nil && kind.Kind() == reflect.Func {
			return "a function"
		}
		return "an object"
	}
}

// Quote shows a string of any length.
func Quote(s string) string {
	const most = 64
	if strings.Contains(s, "://") {
		return "a URL"
	}
	if utf8.RuneCountInString(s) > most {
		return strconv.Quote(string([]rune(s)[:most])) + "…"
	}
	return strconv.Quote(s)
}

// Data is an object in the making.
type Data struct {
	rt     *sobek.Runtime
	Object *sobek.Object
}

// NewData begins plain data: an ordinary object that a script may print, copy, freeze and send.
func NewData(rt *sobek.Runtime) Data { return Data{rt, rt.NewObject()} }

// Put gives the object a property, of what sobek's ToValue takes.
func (d Data) Put(name string, value any) Data {
	if name == "__proto__" { // to set this one would change the prototype
		return d.define(name, value, sobek.FLAG_TRUE)
	}
	_ = d.Object.Set(name, value) // a fresh object refuses nothing
	return d
}

// Tell is Put for a property that is not listed.
func (d Data) Tell(name string, value any) Data { return d.define(name, value, sobek.FLAG_FALSE) }

func (d Data) define(name string, value any, listed sobek.Flag) Data {
	_ = d.Object.DefineDataProperty(name, d.rt.ToValue(value), sobek.FLAG_TRUE, sobek.FLAG_TRUE, listed)
	return d
}
