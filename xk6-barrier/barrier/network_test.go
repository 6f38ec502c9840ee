package barrier

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/netext"
	"go.k6.io/k6/v2/lib/types"
	"gopkg.in/guregu/null.v3"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// authority signs certificates.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, a.key.Public(), a.key)
	require.NoError(t, err)
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// issue gives a certificate for the names and its key, as PEM.
func (a *authority) issue(names ...string) (certificate, key string) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: names,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	require.NoError(a.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(a.t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// startSecureRedis starts a server that also speaks TLS, for redis.test, with clients that have a certificate.
func startSecureRedis(t *testing.T, a *authority) (port int) {
	t.Helper()
	folder := t.TempDir()
	certificate, key := a.issue("redis.test")
	for name, text := range map[string]string{"ca": a.pem, "cert": certificate, "key": key} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port = listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it is TCP
	require.NoError(t, listener.Close())
	redistest.Start(t, "--tls-port", fmt.Sprint(port), "--tls-ca-cert-file", filepath.Join(folder, "ca"),
		"--tls-cert-file", filepath.Join(folder, "cert"), "--tls-key-file", filepath.Join(folder, "key"))
	return port
}

func TestTLS(t *testing.T) {
	t.Parallel()
	known, other := newAuthority(t), newAuthority(t)
	port := startSecureRedis(t, known)
	certificate, key := known.issue("client.test")
	text := func(fields map[string]string) string {
		written, err := json.Marshal(fields)
		require.NoError(t, err)
		return string(written)
	}
	local := resolver{"redis.test": net.IPv4(127, 0, 0, 1), "other.test": net.IPv4(127, 0, 0, 1)}
	user := func(host, tls string, change ...func(*lib.State)) *virtualUser {
		script := fmt.Sprintf(`const tls = %s, url = 'rediss://%s:%d', b = new Barrier('default', { parties: 1, store: url, tls }),
			q = new QueueCounter({ redis: url, tls, keys: ['k'] })`, tls, host, port)
		return newProcess(t).user(1, script, append(change, func(s *lib.State) { s.Dialer = local })...)
	}

	for name, v := range map[string]*virtualUser{
		"all given":   user("redis.test", text(map[string]string{"ca": known.pem, "cert": certificate, "key": key})),
		"server name": user("other.test", text(map[string]string{"ca": known.pem, "cert": certificate, "key": key, "serverName": "redis.test"})),
		"as k6 is told": user("other.test", text(map[string]string{"cert": certificate, "key": key}), func(s *lib.State) {
			s.Options.InsecureSkipTLSVerify = null.BoolFrom(true)
		}),
	} {
		assert.Equal(t, `"all"`, v.json(`b.arriveAndWait().reason`), name)
		assert.Equal(t, `0`, v.json(`q.total()`), name)
	}

	for want, v := range map[string]*virtualUser{
		`its certificate comes from an authority that is not trusted: give that as tls.ca`: user("redis.test", text(map[string]string{"ca": other.pem})),
		`its certificate is for another name: give that as tls.serverName`:                 user("other.test", text(map[string]string{"ca": known.pem})),
		`it may want a certificate of the client: give tls.cert and tls.key`:               user("redis.test", text(map[string]string{"ca": known.pem})),
	} {
		for _, call := range []string{`b.arrive()`, `q.total()`} {
			message := v.errorOf(call, `e`)
			assert.Contains(t, message, want)
			assert.Regexp(t, `^BarrierStoreError: .*test:\d+ cannot be reached: `, message)
		}
	}
}

// moving is a name whose address changes.
type moving struct {
	resolver

	mu   sync.Mutex
	port int
}

func (m *moving) ResolveAddr(string) (net.IP, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return net.IPv4(127, 0, 0, 1), m.port, nil
}

// As with a server that was replaced: its name stands for another address when the connection is made again.
func TestNamesAreResolvedAgainAtEachConnection(t *testing.T) {
	t.Parallel()
	first, second := redistest.Start(t), redistest.Start(t)
	name := &moving{port: first.Port}
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 3, store: 'redis://redis.test', runId: 'r' })`,
		func(s *lib.State) { s.Dialer = name })
	v.mustRun(`b.arrive({ participant: 'a' })`)

	name.mu.Lock()
	name.port = second.Port
	name.mu.Unlock()
	require.NoError(t, first.Process.Process.Kill())
	require.Eventually(t, func() bool {
		return second.SCard(t.Context(), "K6_BARRIER_JOINED:r").Val() == 1
	}, wakeLimit, wakeTick, "what is known was replayed to the new server")
	assert.Equal(t, `2`, v.json(`b.arrive({ participant: 'b' }).index`))
}

// As with a failover behind a name, which moves to a server that listens at another address.
func TestNamesAreNotKeptInK6sCache(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var moved atomic.Bool
	lookUp := func(string) ([]net.IP, error) {
		if moved.Load() {
			return []net.IP{net.IPv4(127, 0, 0, 1)}, nil
		}
		return []net.IP{net.IPv4(127, 0, 0, 2)}, nil
	}
	dns := types.DefaultDNSConfig()
	dialer := netext.NewDialer(net.Dialer{}, netext.NewResolver(lookUp, time.Hour, dns.Select.DNSSelect, dns.Policy.DNSPolicy))
	blocked, err := types.NewHostnameTrie([]string{"blocked.test"})
	require.NoError(t, err)
	dialer.BlockedHostnames = blocked
	dialer.Hosts, err = types.NewHosts(map[string]types.Host{"mapped.test": {IP: net.IPv4(127, 0, 0, 3), Port: 7}})
	require.NoError(t, err)
	dialer.Blacklist = []*lib.IPNet{{IPNet: net.IPNet{IP: net.IPv4(10, 0, 0, 0), Mask: net.CIDRMask(8, 32)}}}

	p := newProcess(t)
	p.root.lookUp = lookUp
	v := p.user(1, fmt.Sprintf(`const b = new Barrier('default', { parties: 3, store: 'redis://redis.test:%d', runId: 'r' })`, server.Port),
		func(s *lib.State) { s.Dialer = dialer })
	assert.Contains(t, v.errorOf(`b.arrive()`, `e`), "cannot be reached")
	moved.Store(true)
	// An attempt that began before may still be refused.
	eventually(t, func() bool {
		outcome, err := v.run(`b.arrive().outcome`)
		return err == nil && outcome.String() == "arrived"
	}, "the name is looked up anew")

	address, err := p.root.resolve("mapped.test:6379")
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.3:7", address)
	for _, refused := range []string{"blocked.test:6379", "10.0.0.1:6379"} {
		_, err = p.root.resolve(refused)
		assert.Error(t, err, refused)
	}
}
