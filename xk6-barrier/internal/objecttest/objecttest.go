// Package objecttest has what a script may do with the objects of a module: the same as with objects of its own.
package objecttest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Methods are names of a class: of one that is called with { participant: 1 }, of two that are replaced, and of two more.
type Methods struct {
	Call, Other, Third, Async, AsyncOther string
	// Returns is what a call gives, as a plain class has it: an expression.
	Returns string
	// Listed are the names that a for-in loop finds on the prototype: strings of a script, with commas.
	Listed string
}

func (m Methods) named(code string) string {
	return strings.NewReplacer("%call%", m.Call, "%other%", m.Other, "%third%", m.Third, "%async%", m.Async,
		"%asyncOther%", m.AsyncOther, "%returns%", m.Returns, "%listed%", m.Listed).Replace(code)
}

// Lines are what a script may do with instances of a class C, each made by make(C).
func (m Methods) Lines() []string {
	lines := make([]string, len(classTable))
	for at, line := range classTable {
		lines[at] = m.named(line)
	}
	return lines
}

// Plain is the class that a script would write, under the name C: it does what each line calls for.
func (m Methods) Plain(name string) string {
	return m.named(fmt.Sprintf(plainClass, name))
}

// Evaluated is an expression: what the line gives, as JSON.
func Evaluated(line string) string {
	return "JSON.stringify((() => eval(" + Quoted(line) + "))())"
}

// EvaluatedOn is the same where the line is about the object o, which has this name.
func EvaluatedOn(line, name string) string {
	return "JSON.stringify(((o) => eval(" + Quoted(line) + "))(" + name + "))"
}

// Quoted is code as a string of a script.
func Quoted(code string) string {
	text, _ := json.Marshal(code) //nolint:errchkjson // strings can be written
	return string(text)
}

var classTable = []string{ //nolint:gochecknoglobals // a constant that Go has no constant form for
	// Extend and override.
	`class Mine extends C { %other%() { return 'mine' } }; make(Mine).%other%()`,
	`class Mine extends C { %call%(o) { return ['mine', typeof super.%call%(o)] } }; make(Mine).%call%({ participant: 1 })`,
	`class Mine extends C { %async%() { return 'async' } }; const m = make(Mine); [m.%async%(), typeof m.%asyncOther%]`,
	`class Mine extends C { constructor(...all) { super(...all); this.label = 'own' } twice() { return [this.label, this.label] } };
		const m = make(Mine); [m.twice(), m instanceof Mine, m instanceof C, Object.keys(m), m.constructor.name, { ...m }]`,
	`class Mine extends C { #secret = 7; get secret() { return this.#secret } static of() { return new.target } }; make(Mine).secret`,
	`class Mine extends C {}; class More extends Mine {}; const m = make(More); [typeof m.%call%({ participant: 1 }), m instanceof C]`,
	`const o = make(C); o.%call% = () => 'instance'; [o.%call%(), Object.keys(o)]`,
	`const o = make(C); C.prototype.%third% = () => 'prototype'; [o.%third%(), make(C).%third%()]`,
	`const o = Object.create(make(C)); typeof o.%call%({ participant: 1 })`,
	`const o = new Proxy(make(C), {}); typeof o.%call%({ participant: 1 })`,

	// The prototype.
	`[typeof C.prototype.%call%, C.prototype.%call%.name, typeof C.prototype.nothing]`,
	`const o = make(C); [o.%other% === o.%other%, o.%other% === C.prototype.%other%, o.%other% === make(C).%other%, o.%other%.name]`,
	`const o = make(C); [o.hasOwnProperty('%call%'), '%call%' in o, 'nothing' in o, o.nothing === undefined]`,
	`const o = make(C); [Object.getPrototypeOf(o) === C.prototype, o.constructor === C, o instanceof C, C.name, typeof C]`,
	`C.prototype.%call%; Object.entries(Object.getOwnPropertyDescriptor(C.prototype, '%call%')).map(([k, v]) => [k, typeof v, v === true])`,
	`Object.entries(Object.getOwnPropertyDescriptor(C, 'prototype')).map(([k, v]) => [k, typeof v, v === true])`,
	`C.prototype.extra = 5; make(C).extra`,
	`typeof C.prototype.%call%.call(make(C), { participant: 1 })`,
	`typeof make(C).%call%.bind(make(C))({ participant: 1 })`,
	`const { %call% } = make(C); try { %call%({ participant: 1 }) } catch (e) { e.name }`,
	`try { C.prototype.%call%.call({}) } catch (e) { e.name }`,
	`try { ({ C }).C('x', { parties: 5 }) } catch (e) { e.name }`,

	// Own properties.
	`const o = make(C); o.label = 'x'; [o.label, Object.keys(o), JSON.stringify(o), delete o.label, o.label === undefined]`,
	`const o = make(C), s = Symbol('s'); o[s] = 1; [o[s], s in o]`,
	`const o = make(C); Object.defineProperty(o, 'fixed', { value: 3 }); [o.fixed, Object.keys(o)]`,
	`const o = make(C); Object.assign(o, { a: 1 }); o.a`,
	`const o = make(C); const all = []; for (const key in o) all.push(key); [all, Object.keys(o), Object.getOwnPropertyNames(o), Object.entries(o)]`,
	`const o = make(C); [JSON.stringify(o), JSON.stringify({ ...o }), String(o), Object.prototype.toString.call(o)]`,
	`const o = Object.freeze(make(C)); try { (function () { 'use strict'; o.a = 1 })() } catch (e) { [e.name, Object.isFrozen(o), typeof o.%call%({ participant: 1 })] }`,
	`const o = Object.seal(make(C)); [Object.isSealed(o), typeof o.%call%({ participant: 1 })]`,
	`const held = new Map([[make(C), 1]]), seen = new WeakSet([make(C)]); [held.size, typeof seen]`,
}

const plainClass = `class Plain {
	constructor(name, options) { Plain.inside.add(this); }
	%%call%%() { if (!this || !this.%%call%%) throw new TypeError('this'); return %%returns%% }
	%%third%%() { return {} }
	%%other%%() { return {} }
	%%asyncOther%%() { return {} }
}
for (const value of [%%listed%%]) Object.defineProperty(Plain.prototype, value, { value, enumerable: true });
Plain.inside = { add() {} };
Object.defineProperty(Plain, 'name', { value: '%s' });
const C = Plain; let n = 0;
const make = (Class) => new Class('x' + n++, { parties: 5 });`

// DataLines are what a script may do with an object o that a call returned.
var DataLines = []string{ //nolint:gochecknoglobals // a constant that Go has no constant form for
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

// Copies declares plain(o): an object of the same properties that a script would have made.
const Copies = `const plain = (o) => o === null || typeof o !== 'object' ? o
	: Array.isArray(o) ? o.map(plain)
	: Object.keys(o).reduce((copy, key) => Object.defineProperty(copy, key, {
		value: plain(o[key]), writable: true, enumerable: true, configurable: true }), {});`
