package sse

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
	"gopkg.in/guregu/null.v3"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/types"
	"go.k6.io/k6/v2/metrics"
)

func TestSamplesAndTags(t *testing.T) {
	t.Parallel()
	const wait, hold = 20 * time.Millisecond, 30 * time.Millisecond
	v := newVU(t)
	received := make(chan struct{})
	v.set("received", func() { received <- struct{}{} })
	base := rawServer(t, func(w *wire) {
		if w.req.URL.Path == "/503" {
			w.head(http.StatusServiceUnavailable)
			return
		}
		time.Sleep(wait)
		w.stream()
		w.send(": beat\n\n")
		<-received
		time.Sleep(wait)
		w.send("data: a\n\n", "data: b\n\n")
		<-received
		time.Sleep(hold)
		if w.req.URL.Path == "/reset" {
			w.reset()
		}
	})
	nobody := unusedURL(t)
	v.set("url", base)
	v.set("nobody", nobody)
	v.set("secret", strings.Replace(base, "http://", "http://user:hush@", 1))
	v.eval("%s", `
		const quiet = (client) => {
			client.on('error', () => {});
			client.on('event', (e) => { if (e.comment || e.data === 'b') received(); });
		};
		sse.open(url + '/a', { tags: { mine: 'x', n: 1 } }, quiet);
		sse.open(url + '/b', { tags: { name: 'named' } }, quiet);
		sse.open(http.url`+"`${url}/c/${1}`"+`, {}, quiet);
		sse.open(url + '/503', {}, quiet);
		sse.open(url + '/reset', {}, quiet);
		sse.open(nobody, {}, quiet);
		sse.open(secret, {}, quiet);`)

	common := map[string]string{
		"group": "::g", "method": "GET", "status": "200", "proto": "HTTP/1.1", "expected_response": "true",
	}
	wants := []map[string]string{
		{"name": base + "/a", "url": base + "/a", "mine": "x", "n": "1"},
		{"name": "named", "url": "named"},
		{"name": "${}/c/${}", "url": "${}/c/${}"},
		{"name": base + "/503", "url": base + "/503", "status": "503", "error_code": "1503", "expected_response": "false"},
		{"name": base + "/reset", "error": "read: connection reset by peer", "error_code": "1220", "expected_response": "false"},
		{"name": nobody, "status": "0", "proto": "", "error": "dial: connection refused", "error_code": "1212", "expected_response": "false"},
		{"name": strings.Replace(base, "http://", "http://****:****@", 1)},
	}
	for _, metric := range []string{
		metrics.HTTPReqsName, metrics.HTTPReqDurationName, metrics.HTTPReqBlockedName, metrics.HTTPReqConnectingName,
		metrics.HTTPReqTLSHandshakingName, metrics.HTTPReqSendingName, metrics.HTTPReqWaitingName, metrics.HTTPReqReceivingName,
		metrics.HTTPReqFailedName,
	} {
		samples := v.find(metric)
		require.Len(t, samples, len(wants), metric)
		for i, want := range wants {
			tags := samples[i].Tags.Map()
			for name, value := range common {
				if _, own := want[name]; !own {
					want[name] = value
				}
			}
			for name, value := range want {
				assert.Equal(t, value, tags[name], "%s of sample %d of %s", name, i, metric)
			}
			assert.Equal(t, want["error"], tags["error"])
			assert.Equal(t, want["error_code"], tags["error_code"])
		}
	}
	assert.Equal(t, []float64{0, 0, 0, 1, 1, 1, 0}, v.values(metrics.HTTPReqFailedName))
	// The server cannot know when the client is done with sending, so its wait is only seen in part.
	for i := range 3 {
		sending, waiting := v.values(metrics.HTTPReqSendingName)[i], v.values(metrics.HTTPReqWaitingName)[i]
		receiving := v.values(metrics.HTTPReqReceivingName)[i]
		assert.GreaterOrEqual(t, waiting, metrics.D(wait/2))
		assert.GreaterOrEqual(t, receiving, metrics.D(hold))
		assert.InDelta(t, sending+waiting+receiving, v.values(metrics.HTTPReqDurationName)[i], 1e-6, "the whole stream")
		assert.GreaterOrEqual(t, v.values(metricStream)[i], metrics.D(hold))
		assert.GreaterOrEqual(t, v.values(metricFirstEvent)[i], metrics.D(2*wait), "a comment is no event here")
	}

	assert.InDelta(t, 5*3, v.sum(metricEvents), 0)
	assert.Len(t, v.values(metricEvents), 5*3+1, "and one sample of 0, once")
	assert.Equal(t, []float64{0}, v.values(metricReconnects))
	assert.Len(t, v.values(metricStream), 5)
	assert.Len(t, v.values(metricFirstEvent), 5)
	assert.InDelta(t, 5*len(": beat\n\ndata: a\n\ndata: b\n\n"), v.sum(metricReceivedBytes), 0)
	event := v.find(metricEvents)[1]
	assert.Equal(t, "x", event.Tags.Map()["mine"])
	assert.Equal(t, "200", event.Tags.Map()["status"])
	assert.Equal(t, base+"/a", event.Tags.Map()["url"])
}

func TestSystemTagsCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.state.Options.SystemTags = metrics.NewSystemTagSet(metrics.TagIP)
	v.set("url", rawServer(t, func(w *wire) { w.stream() }))
	v.eval(`sse.open(url, {}, () => {});`)
	assert.Equal(t, map[string]string{"group": "::g", "ip": "127.0.0.1"}, v.find(metrics.HTTPReqsName)[0].Tags.Map())
}

func TestTheVUsNetworkIsUsed(t *testing.T) {
	t.Parallel()
	stream := rawServer(t, func(w *wire) { w.stream(); w.send("data: a\n\n") })
	const script = `
		var out = '';
		sse.open(url, {}, (client) => {
			client.on('event', (e) => { out += e.data; });
			client.on('error', (e) => { out += e.errorCode; });
		});`

	t.Run("hosts", func(t *testing.T) {
		t.Parallel()
		v := newVU(t)
		host, err := types.NewHost(net.ParseIP("127.0.0.1"), hostOf(t, stream)[len("127.0.0.1:"):])
		require.NoError(t, err)
		v.dialer.Hosts, err = types.NewHosts(map[string]types.Host{"waiting.example": *host})
		require.NoError(t, err)
		v.set("url", "http://waiting.example")
		assert.Equal(t, "a", v.eval(script))
		assert.Positive(t, v.dialer.BytesRead, "data_received counts it")
	})
	t.Run("blacklistIPs", func(t *testing.T) {
		t.Parallel()
		v := newVU(t)
		block, err := lib.ParseCIDR("127.0.0.0/8")
		require.NoError(t, err)
		v.dialer.Blacklist = []*lib.IPNet{block}
		v.set("url", stream)
		assert.Equal(t, "1110", v.eval(script))
	})
	t.Run("blockHostnames", func(t *testing.T) {
		t.Parallel()
		v := newVU(t)
		blocked, err := types.NewHostnameTrie([]string{"*.example"})
		require.NoError(t, err)
		v.dialer.BlockedHostnames = blocked
		v.set("url", "http://waiting.example")
		assert.Equal(t, "1111", v.eval(script))
	})
	t.Run("proxy", func(t *testing.T) {
		t.Parallel()
		v := newVU(t)
		v.transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(stream) }
		v.set("url", "http://waiting.example")
		assert.Equal(t, "a", v.eval(script))
	})
	t.Run("TLS and HTTP/2", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(res http.ResponseWriter, _ *http.Request) {
			res.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(res, "data: a\n\n")
		}))
		server.EnableHTTP2 = true
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs the handshake that is refused below
		server.StartTLS()
		t.Cleanup(server.Close)
		v := newVU(t)
		v.set("url", server.URL)
		assert.Equal(t, "1310", v.eval(script), "the certificate is checked")
		client := server.Client().Transport.(*http.Transport) //nolint:forcetypeassert // it is one
		v.transport.TLSClientConfig.RootCAs = client.TLSClientConfig.RootCAs
		assert.Equal(t, "a", v.eval(script))
		tags := v.find(metrics.HTTPReqsName)[1].Tags.Map()
		assert.Equal(t, "HTTP/2.0", tags["proto"])
		assert.Equal(t, "tls1.3", tags["tls_version"])
		assert.Positive(t, v.values(metrics.HTTPReqTLSHandshakingName)[1])
	})
	t.Run("RPS limit", func(t *testing.T) {
		t.Parallel()
		v := newVU(t)
		v.state.RPSLimit = rate.NewLimiter(rate.Every(50*time.Millisecond), 1)
		v.set("url", stream)
		start := time.Now()
		v.eval(script)
		v.eval(script)
		v.eval(script)
		assert.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
	})
	t.Run("http-debug", func(t *testing.T) {
		t.Parallel()
		for _, mode := range []string{"headers", "full"} {
			v := newVU(t)
			v.state.Options.HTTPDebug = null.StringFrom(mode)
			v.set("url", stream)
			v.eval(`sse.open(url, { method: 'POST', body: 'a body', headers: { 'X-Mine': 'x' } }, () => {});`)
			logged := v.logged()
			assert.Contains(t, logged, "X-Mine: x")
			assert.Contains(t, logged, "200 OK")
			assert.Contains(t, logged, "http-debug")
			assert.Equal(t, mode == "full", strings.Contains(logged, "a body"))
			assert.NotContains(t, logged, "data: a", "a stream has no end that could be waited for")
		}
	})
}
