package barrier

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// What a script may do with an instance of a class C, each made by make(): the same as with one of a class of its own.
var classTable = []string{ //nolint:gochecknoglobals // a constant that Go has no constant form for
	// Extend and override.
	`class Mine extends C { wait() { return 'mine' } }; make(Mine).wait()`,
	`class Mine extends C { arrive(o) { return ['mine', typeof super.arrive(o)] } }; make(Mine).arrive({ participant: 1 })`,
	`class Mine extends C { asyncArrive() { return 'async' } }; const m = make(Mine); [m.asyncArrive(), typeof m.asyncWait]`,
	`class Mine extends C { constructor(...all) { super(...all); this.label = 'own' } twice() { return [this.label, this.label] } };
		const m = make(Mine); [m.twice(), m instanceof Mine, m instanceof C, Object.keys(m), m.constructor.name, { ...m }]`,
	`class Mine extends C { #secret = 7; get secret() { return this.#secret } static of() { return new.target } }; make(Mine).secret`,
	`class Mine extends C {}; class More extends Mine {}; const m = make(More); [typeof m.arrive({ participant: 1 }), m instanceof C]`,
	`const o = make(C); o.arrive = () => 'instance'; [o.arrive(), Object.keys(o)]`,
	`const o = make(C); C.prototype.leave = () => 'prototype'; [o.leave(), make(C).leave()]`,
	`const o = Object.create(make(C)); typeof o.arrive({ participant: 1 })`,
	`const o = new Proxy(make(C), {}); typeof o.arrive({ participant: 1 })`,

	// The prototype.
	`[typeof C.prototype.arrive, C.prototype.arrive.name, typeof C.prototype.nothing]`,
	`const o = make(C); [o.wait === o.wait, o.wait === C.prototype.wait, o.wait === make(C).wait, o.wait.name]`,
	`const o = make(C); [o.hasOwnProperty('arrive'), 'arrive' in o, 'nothing' in o, o.nothing === undefined]`,
	`const o = make(C); [Object.getPrototypeOf(o) === C.prototype, o.constructor === C, o instanceof C, C.name, typeof C]`,
	`C.prototype.arrive; Object.entries(Object.getOwnPropertyDescriptor(C.prototype, 'arrive')).map(([k, v]) => [k, typeof v, v === true])`,
	`Object.entries(Object.getOwnPropertyDescriptor(C, 'prototype')).map(([k, v]) => [k, typeof v, v === true])`,
	`C.prototype.extra = 5; make(C).extra`,
	`typeof C.prototype.arrive.call(make(C), { participant: 1 })`,
	`typeof make(C).arrive.bind(make(C))({ participant: 1 })`,
	`const { arrive } = make(C); try { arrive({ participant: 1 }) } catch (e) { e.name }`,
	`try { C.prototype.arrive.call({}) } catch (e) { e.name }`,
	`try { ({ C }).C('x', { parties: 5 }) } catch (e) { e.name }`,

	// Own properties.
	`const o = make(C); o.label = 'x'; [o.label, Object.keys(o), JSON.stringify(o), delete o.label, o.label === undefined]`,
	`const o = make(C), s = Symbol('s'); o[s] = 1; [o[s], s in o]`,
	`const o = make(C); Object.defineProperty(o, 'fixed', { value: 3 }); [o.fixed, Object.keys(o)]`,
	`const o = make(C); Object.assign(o, { a: 1 }); o.a`,
	`const o = make(C); const all = []; for (const key in o) all.push(key); [all, Object.keys(o), Object.getOwnPropertyNames(o), Object.entries(o)]`,
	`const o = make(C); [JSON.stringify(o), JSON.stringify({ ...o }), String(o), Object.prototype.toString.call(o)]`,
	`const o = Object.freeze(make(C)); try { (function () { 'use strict'; o.a = 1 })() } catch (e) { [e.name, Object.isFrozen(o), typeof o.arrive({ participant: 1 })] }`,
	`const o = Object.seal(make(C)); [Object.isSealed(o), typeof o.arrive({ participant: 1 })]`,
	`const held = new Map([[make(C), 1]]), seen = new WeakSet([make(C)]); [held.size, typeof seen]`,
}

// The class that a script would write: it does what each line of the table calls for.
const plainClass = `class Plain {
	constructor(name, options) { Plain.inside.add(this); }
	arrive() { if (!this || !this.arrive) throw new TypeError('this'); return {} }
	leave() { return {} }
	wait() { return {} }
	asyncWait() { return {} }
}
Plain.inside = { add() {} };
Object.defineProperty(Plain, 'name', { value: '%s' });
const C = Plain; let n = 0;
const make = (Class) => new Class('x' + n++, { parties: 5 });`

func TestClassesAreClasses(t *testing.T) {
	t.Parallel()
	for _, line := range classTable {
		p := newProcess(t)
		evaluate := func(prelude string) string {
			v := p.user(1, "")
			_, err := v.run(prelude)
			require.NoError(t, err)
			return v.mustRun("JSON.stringify((() => eval(" + quoted(line) + "))())").String()
		}
		ours := evaluate(`const C = Barrier; let n = 0; const make = (Class) => new Class('x' + n++, { parties: 5 });`)
		plain := evaluate(fmt.Sprintf(plainClass, "Barrier"))
		assert.Equal(t, plain, ours, line)
	}
}

func quoted(code string) string {
	text, _ := json.Marshal(code)
	return string(text)
}

// What a script may do with what calls return: the same as with a plain object of the same properties.
var dataTable = []string{ //nolint:gochecknoglobals // a constant that Go has no constant form for
	`Object.keys(o)`,
	`Object.getOwnPropertyNames(o)`,
	`Object.entries(o)`,
	`JSON.stringify(o)`,
	`({ ...o, more: 1 })`,
	`Object.assign({}, o)`,
	`const all = []; for (const key in o) all.push(key); all`,
	`[Object.getPrototypeOf(o) === Object.prototype, o instanceof Object, String(o), o.constructor === Object]`,
	`o.own = 1; o[Object.keys(o)[0]] = 'changed'; o`,
	`delete o[Object.keys(o)[0]]; [Object.keys(o), Object.values(o).length]`,
	`Object.freeze(o); try { (function () { 'use strict'; o.own = 1 })() } catch (e) { [e.name, Object.isFrozen(o), o] }`,
	`Object.seal(o); [Object.isSealed(o), o]`,
	`Object.defineProperty(o, 'hidden', { value: 1 }); [Object.keys(o), o.hidden]`,
	`o[Symbol.toPrimitive] = () => 7; +o`,
	`Object.getOwnPropertyDescriptor(o, Object.keys(o)[0])`,
	`const copy = Object.create(o); copy[Object.keys(o)[0]]`,
	`[new Map([[o, 1]]).get(o), [o].includes(o), o === o]`,
	`'__proto__' in o && Object.keys(o).includes('__proto__')`,
}

func TestResultsArePlainData(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	server := redistest.Start(t)
	for _, key := range []string{"q1", "q2", "__proto__"} {
		require.NoError(t, server.ZAdd(t.Context(), key, redis.Z{Member: "m"}).Err())
	}
	v := p.user(1, fmt.Sprintf(`let n = 0;
		const make = (options) => new Barrier('x' + n++, { parties: 1, ...options });
		const q = new QueueCounter({ redis: '%s', keys: ['q2', 'q1', '__proto__'] });
		const caught = (f) => { try { f() } catch (e) { return e } };
		const plain = (o) => o === null || typeof o !== 'object' ? o
			: Array.isArray(o) ? o.map(plain)
			: Object.keys(o).reduce((copy, key) => Object.defineProperty(copy, key, {
				value: plain(o[key]), writable: true, enumerable: true, configurable: true }), {});`, server.URL()))
	for _, call := range []string{
		`make().arriveAndWait()`, `make().arrive()`, `make().fail('login')`, `make().leave()`, `make({ parties: 2 }).status()`,
		`(() => { const b = make({ parties: 2, maxFailures: 0 }); b.fail('x'); return b.status() })()`,
		`make({ parties: 3 }).missing()`, `make().abort('why')`, `(() => { const b = make(); b.arrive(); return b.wait() })()`,
		`caught(() => make({ parties: 2 }).arriveAndWait({ timeout: 1 })).status`,
		`q.counts()`, `q.waitFor(1)`, `q.waitFor(1).counts`,
		`make({ parties: 2 }).status().failed`,
	} {
		v.mustRun(`var one = ` + call + `, other;`)
		for _, line := range dataTable {
			v.mustRun(`other = plain(one)`)
			do := func(name string) string {
				return v.mustRun("JSON.stringify(((o) => eval(" + quoted(line) + "))(" + name + "))").String()
			}
			want := do("other")
			v.mustRun(`var again = ` + `(() => { const o = ` + call + `; for (const key of Object.keys(one)) o[key] = plain(one[key]); return o })()`)
			if line == `'__proto__' in o && Object.keys(o).includes('__proto__')` {
				v.mustRun(`again = one`) // a plain assignment would change its prototype
			}
			assert.Equal(t, want, do("again"), "%s: %s", call, line)
		}

		// As k6 takes out a form body and the result of setup(), which it writes on another goroutine.
		exported, ok := v.mustRun(call).Export().(map[string]any)
		require.True(t, ok, call)
		written := make(chan error)
		go func() {
			_, err := json.Marshal(exported)
			written <- err
		}()
		v.mustRun(`for (let i = 0; i < 100; i++) ({ ...one })`)
		require.NoError(t, <-written, call)
	}
}
