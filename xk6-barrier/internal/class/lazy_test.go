package class_test

import (
	"testing"

	"github.com/grafana/sobek"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
)

type thing struct {
	class.Hidden

	n int
}

// run lets a script use exports, an instance and a class, and returns what it came to and what was made on the way.
func run(t *testing.T, script string) (result string, made []string) {
	t.Helper()
	rt := sobek.New()
	make := func(name string, value any) func() any {
		return func() any { made = append(made, name); return value }
	}
	require.NoError(t, rt.Set("m", class.Exports(rt, []string{"one", "two"}, func(name string) class.Field {
		return map[string]class.Field{"one": {Make: make("one", 1)}, "two": {Make: make("two", 2)}}[name]
	})))
	got := 0
	require.NoError(t, rt.Set("o", class.Instance(rt, func(name string) class.Field {
		return map[string]class.Field{
			"method": {Make: make("method", func() string { return "called" })},
			"got":    {Get: func() any { got++; return got }},
		}[name]
	})))
	constructor, err := class.Class[*thing]{
		Name: "Thing", Length: 1, New: func(call sobek.ConstructorCall) *thing { return &thing{n: int(call.Argument(0).ToInteger())} },
		Methods: []class.Method[*thing]{
			{Name: "add", Call: func(v *thing, fc sobek.FunctionCall) sobek.Value {
				return rt.ToValue(v.n + int(fc.Argument(0).ToInteger()))
			}},
		},
		Accessors: []class.Accessor[*thing]{
			{Name: "n", Get: func(v *thing) any { return v.n }, Set: func(v *thing, n sobek.Value) { v.n = int(n.ToInteger()) }},
			{Name: "fixed", Get: func(*thing) any { return "f" }},
		},
		Constants: map[string]int{"ZERO": 0},
	}.Constructor(rt)
	require.NoError(t, err)
	require.NoError(t, rt.Set("Thing", constructor))
	value, err := rt.RunString("(function () { 'use strict'; " + script + " })()")
	require.NoError(t, err, script)
	return value.String(), made
}

func TestNothingIsMadeBeforeAScriptLooks(t *testing.T) {
	t.Parallel()
	for script, want := range map[string][]string{
		`return [m, o].length`:                     nil,
		`return m.two`:                             {"two"},
		`m.one; return m.one`:                      {"one"},
		`o.got; o.own = 1`:                         nil,
		`o.method(); return o.method === o.method`: {"method"},
	} {
		_, made := run(t, script)
		require.Equal(t, want, made, script)
	}
}

func TestScriptsUseThemAsTheyUseTheirOwn(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		`return [Object.keys(m), m.default === m, m.__esModule, 'one' in m, m.three]`:                       "one,two,true,true,true,",
		`m.one = 5; m.three = 3; return [m.one, m.two, m.three]`:                                            "5,2,3",
		`return [o.got, o.got, o.method(), Object.keys(o), JSON.stringify(o)]`:                              "1,2,called,,{}",
		`o.method = () => 'mine'; o.own = 1; return [o.method(), Object.keys(o)]`:                           "mine,method,own",
		`Object.freeze(o); return [o.method(), o.got]`:                                                      "called,1",
		`const t = new Thing(3); t.n = 4; return [t.n, t.add(1), t.fixed, t.ZERO, Thing.ZERO]`:              "4,5,f,0,0",
		`try { new Thing(1).fixed = 2 } catch (e) { return e.name }`:                                        "TypeError",
		`try { Thing.ZERO = 2 } catch (e) { return e.name }`:                                                "TypeError",
		`class Mine extends Thing { get n() { return super.n * 2 } }; return new Mine(3).n`:                 "6",
		`return [Thing.length, Object.keys(new Thing(1)), Object.getOwnPropertyNames(new Thing(1)).length]`: "1,,0",
		`Object.freeze(Thing.prototype); return new Thing(1).add(1)`:                                        "2",
		`try { o.method.call; Thing.prototype.add.call(o, 1) } catch (e) { return e.message }`:              "add is a member of Thing and not bound to the instance that it was taken from",
	} {
		result, _ := run(t, script)
		require.Equal(t, want, result, script)
	}
}
