package barrier

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/lib/types"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// tls reads the option tls. What is in it is the core's to judge.
func (o *options) tls() *core.TLSOptions {
	v := o.get("tls")
	if v == nil {
		return nil
	}
	inner, err := newOptions(o.rt, v, "{ ca: open('ca.pem') }")
	if err != nil {
		o.fail("tls", v, "an object such as { ca: open('ca.pem') }")
		return nil
	}
	inner.prefix = "tls."
	t := &core.TLSOptions{
		CA: inner.pem("ca"), Cert: inner.pem("cert"), Key: inner.pem("key"), ServerName: inner.string("serverName"),
	}
	if inner.done() != nil && o.err == nil {
		o.err = inner.err
	}
	return t
}

// pem reads PEM text. It is never shown.
func (o *options) pem(option string) string {
	v := o.get(option)
	if v == nil {
		return ""
	}
	if s, ok := v.Export().(string); ok && s != "" {
		return s
	}
	if o.err == nil {
		got := "an empty string"
		if _, ok := v.Export().(string); !ok {
			got = script.Describe(v)
		}
		o.err = newOptionError(o.prefix+option, got, "PEM text, as open() reads it from a file")
	}
	return ""
}

// tlsFor adds what k6 is told about certificates: without a check there, there is none here.
func tlsFor(state *lib.State, url string, t *core.TLSOptions) *core.TLSOptions {
	if !state.Options.InsecureSkipTLSVerify.Bool || !strings.HasPrefix(url, "rediss") {
		return t
	}
	insecure := core.TLSOptions{Insecure: true}
	if t != nil {
		insecure = *t
		insecure.Insecure = true
	}
	return &insecure
}

// resolveAs lets the core resolve names as the virtual user does: with the hosts, dns and block lists of the test. They
// are the same for all virtual users, so that the first one will do.
func (r *RootModule) resolveAs(state *lib.State) {
	if r.resolver.Load() != nil {
		return
	}
	resolver := state.GetAddrResolver()
	if dialer, ok := state.Dialer.(*netext.Dialer); ok {
		resolver = r.uncached(dialer, state.Options.DNS)
	}
	if resolver != nil {
		r.resolver.CompareAndSwap(nil, &resolver)
	}
}

// uncached is k6's dialer without its cache, which keeps an address for five minutes: after a failover behind a name, the
// next connection has to find the new address.
func (r *RootModule) uncached(dialer *netext.Dialer, dns types.DNSConfig) *netext.Dialer {
	choice, policy := dns.Select, dns.Policy
	if !choice.Valid {
		choice = types.DefaultDNSConfig().Select
	}
	if !policy.Valid {
		policy = types.DefaultDNSConfig().Policy
	}
	return &netext.Dialer{
		Resolver:  netext.NewResolver(r.lookUp, 0, choice.DNSSelect, policy.DNSPolicy),
		Blacklist: dialer.Blacklist, BlockedHostnames: dialer.BlockedHostnames, Hosts: dialer.Hosts,
	}
}

// resolve is asked by the core before every connection.
func (r *RootModule) resolve(hostPort string) (string, error) {
	resolver := r.resolver.Load()
	if resolver == nil {
		return core.SystemResolver(hostPort)
	}
	_, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", err
	}
	ip, mapped, err := (*resolver).ResolveAddr(hostPort)
	if err != nil {
		return "", err
	}
	if ip == nil {
		return "", errors.New("it has no address")
	}
	if mapped != 0 {
		port = strconv.Itoa(mapped)
	}
	return net.JoinHostPort(ip.String(), port), nil
}

// redisURL lets the core check a URL and the options for TLS as it checks a barrier's, without a connection.
func (o *options) redisURL(option string, engine core.Engine) (string, *core.TLSOptions) {
	tls := o.tls()
	v := o.get(option)
	var s string
	if v != nil {
		s, _ = v.Export().(string)
	}
	if !strings.Contains(s, "://") {
		o.fail(option, v, allowedRedisURL)
		return "", nil
	}
	store, err := marshal(coreOptions{Store: s, TLS: tls, RunID: "any", Name: "any", Parties: parties{count: 1}})
	if err == nil {
		err = engine.CheckOptions(store)
	}
	if err != nil && o.err == nil {
		o.err = wrapError("", err)
		if o.err.option == "store" {
			o.err = newOptionError(option, o.err.got, o.err.allowed)
		}
	}
	return s, tls
}
