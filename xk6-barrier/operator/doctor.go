package operator

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/wording"
)

const (
	segmentEnv  = "K6_EXECUTION_SEGMENT"
	sequenceEnv = "K6_EXECUTION_SEGMENT_SEQUENCE"

	// wholeTest is the execution segment of a test that one process runs.
	wholeTest = "0:1"
	// spare is how many open files k6 and its system need beside those of users.
	spare = 100
	// apart is from which difference on a clock is named, as the times of several machines would be compared by it.
	apart = time.Second
	// asked is how often the store is asked for how long it takes to answer.
	asked = 11
)

// What a check came to.
const (
	fine = "ok"
	// note is what a user should know, and what may be right all the same.
	note = "note"
	bad  = "bad"
)

// finding is what one check came to, and what helps where it is not fine.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"`
}

// examination is all that the doctor looks at.
type examination struct {
	settings *settings
	users    uint64
	// segment and sequence are what k6 would get by the flags or variables of these names.
	segment, sequence string
	findings          []finding
}

func (s *settings) doctorCommand() *cobra.Command {
	e := &examination{settings: s}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell whether k6, the core, the store and this machine are fit for a test, and what helps",
		Long: `Looks at this k6 and its core, at the store with a rendezvous of two users, at its permissions,
settings and clock, at open files and ports of this machine, and at execution segments. The
rendezvous has a run of its own, whose keys the store forgets after a minute; nothing else is
written. Without a store, what needs one is left out.

Exit code 0: fit. 1: something is bad, and the line says what helps.`,
		Example: `  k6 x barrier doctor
  k6 x barrier doctor --redis redis://redis.example:6379 --users 10000
  k6 x barrier doctor --redis redis://redis.example:6379 --run-id load-7 \
    --execution-segment 0:1/2 --execution-segment-sequence 0,1/2,1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errext.WithExitCodeIfNone(e.examine(cmd), failed)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&e.users, "users", 0, "how many users this machine is to hold, each with one open connection")
	flags.StringVar(&e.segment, "execution-segment", "", "the part of the test that this process is to run, as k6 gets it (default: "+segmentEnv+")")
	flags.StringVar(&e.sequence, "execution-segment-sequence", "", "all parts, as k6 gets them (default: "+sequenceEnv+")")
	return cmd
}

func (e *examination) examine(cmd *cobra.Command) error {
	s := e.settings
	s.fromEnvironment()
	e.segment = cmp.Or(e.segment, s.host.env[segmentEnv])
	e.sequence = cmp.Or(e.sequence, s.host.env[sequenceEnv])
	if err := s.checkTimeout(); err != nil {
		return err
	}
	tls, err := s.tls.read()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := s.host.interrupted(ctx)
	defer cancel()
	e.build()
	e.meetInMemory(ctx)
	e.store(ctx, tls)
	e.files()
	e.ports()
	e.segments()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return e.tell()
}

func (e *examination) add(check, state, mend, format string, args ...any) {
	e.findings = append(e.findings, finding{Check: check, State: state, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// tell prints what was found, and fails where something of it is bad.
func (e *examination) tell() error {
	var wrong []string
	for _, f := range e.findings {
		if f.State == bad {
			wrong = append(wrong, f.Check)
		}
	}
	if e.settings.json {
		answer := struct {
			Fit    bool      `json:"fit"`
			Checks []finding `json:"checks"`
		}{len(wrong) == 0, e.findings}
		if err := e.settings.print(answer); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(e.settings.host.out, 0, 0, 2, ' ', 0)
		for _, f := range e.findings {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, f.Check, f.Text)
			if f.Mend != "" {
				_, _ = fmt.Fprintf(w, "\t\t→ %s\n", f.Mend)
			}
		}
		_ = w.Flush()
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not fit: %s", strings.Join(wrong, ", "))
	}
	if !e.settings.json {
		e.settings.say("fit")
	}
	return nil
}

// build is what this k6 was made of.
func (e *examination) build() {
	found, err := versionsOf(debug.ReadBuildInfo())
	if err != nil {
		e.add("k6", bad, "build it with cgo: CGO_ENABLED=1 xk6 build --with …", "%v", err)
		return
	}
	e.add("k6", fine, "", "%s with xk6-barrier %s, core %s, ABI %d, %s", found.K6, found.Module, found.Core, found.ABI, found.Go)
}

func (e *examination) meetInMemory(ctx context.Context) {
	took, _, err := e.meet(ctx, "memory", nil, nil)
	if err != nil {
		e.add("core", bad, "build this k6 anew; if that does not help, report it with this line", "two users did not meet in memory: %v", err)
		return
	}
	e.add("core", fine, "", "two users met in memory, in %s", rounded(took))
}

// meet has two users meet at a barrier of their own, and gives how long that took and its release. What is looked at between is done
// while the barrier is open.
func (e *examination) meet(ctx context.Context, store string, tls *core.TLSOptions, between func(*core.Client, string)) (time.Duration, *core.Release, error) {
	engine, err := core.NewEngine()
	if err != nil {
		return 0, nil, err
	}
	logger := e.settings.host.logger
	client, err := core.NewClient(engine, func(line core.LogLine) { line.To(logger) }, core.SystemResolver)
	if err != nil {
		return 0, nil, err
	}
	defer client.Close(time.Second)
	run, err := runOfItsOwn()
	if err != nil {
		return 0, nil, err
	}
	options, err := json.Marshal(struct {
		Name    string           `json:"name"`
		Parties int              `json:"parties"`
		Store   string           `json:"store"`
		TLS     *core.TLSOptions `json:"tls,omitempty"`
		RunID   string           `json:"runId"`
		TTL     int64            `json:"ttlMs"`
		Connect int64            `json:"connectTimeoutMs"`
	}{"doctor", 2, store, tls, run, time.Minute.Milliseconds(), e.settings.timeout.Milliseconds()})
	if err != nil {
		return 0, nil, fmt.Errorf("asking the core: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*e.settings.timeout)
	defer cancel()
	barrier, err := client.Open(ctx, options)
	if err != nil {
		return 0, nil, err
	}
	if between != nil {
		between(client, run)
	}
	began := time.Now()
	for user := range 2 {
		if _, err := barrier.Do(ctx, core.Request{Kind: core.Arrive, Flags: core.Explicit}, strconv.Itoa(user+1), ""); err != nil {
			return 0, nil, err
		}
	}
	select {
	case <-barrier.Gate(0):
		return time.Since(began), barrier.Release(0), nil
	case <-ctx.Done():
		return 0, nil, fmt.Errorf("both had arrived, and nobody was released within %s", 2*e.settings.timeout)
	}
}

func runOfItsOwn() (string, error) {
	id := make([]byte, 6)
	if _, err := rand.Read(id); err != nil {
		return "", fmt.Errorf("drawing a run id: %w", err)
	}
	return "doctor-" + hex.EncodeToString(id), nil
}

// store is all that is asked of the store.
func (e *examination) store(ctx context.Context, tls *core.TLSOptions) {
	at := e.settings.redis
	if at == "" {
		e.add("store", note, "give --redis or set "+redisEnv, "not looked at, as none is named; a test of one process needs none")
		return
	}
	where := withoutSecrets(at)
	seen := false
	took, release, err := e.meet(ctx, at, tls, func(client *core.Client, run string) { seen = e.askStore(ctx, client, tls, where, run) })
	if err != nil {
		e.add("store", bad, mendOf(err.Error()), "two users did not meet over %s: %v", where, err)
		return
	}
	e.add("rights", fine, "", "two users met over the store, in %s", rounded(took))
	// Who may do no more than a barrier needs has the server's clock from the release.
	if !seen && release != nil && release.ServerReleasedAt != nil {
		e.clock(time.Duration((*release.ServerReleasedAt - release.ReleasedAt) * float64(time.Millisecond)))
	}
}

// askStore asks while two users are about to meet, and tells whether the clock was among the answers. What it may not ask is no
// reason against a test.
func (e *examination) askStore(ctx context.Context, client *core.Client, tls *core.TLSOptions, where, run string) (clock bool) {
	operator, err := client.OpenOperator(core.OperatorOptions{Redis: e.settings.redis, TLS: tls, Timeout: e.settings.timeout.Milliseconds()})
	if err != nil {
		e.add("store", bad, mendOf(err.Error()), "%s cannot be looked at: %v", where, err)
		return false
	}
	fastest, ahead, looked := e.look(ctx, operator, run)
	servers, err := operator.Servers(ctx)
	switch {
	case err != nil:
		e.add("store", bad, mendOf(err.Error()), "%s does not say what it is: %v", where, err)
		return false
	case looked != nil:
		e.add("store", note, "a test needs no more; with +pttl for the user, the doctor and `k6 x barrier status` see more",
			"%s at %s: how quickly it answers was not looked at: %v", systemsOf(servers), where, looked)
	default:
		e.add("store", fine, "", "%s at %s answers in %s", systemsOf(servers), where, rounded(fastest))
		e.clock(ahead)
	}
	e.eviction(servers)
	return looked == nil
}

// look gives how quickly the store answers, and how far its clock is ahead of this one.
func (e *examination) look(ctx context.Context, operator *core.Operator, run string) (fastest, ahead time.Duration, err error) {
	for turn := range asked {
		began := time.Now()
		sight, err := operator.Look(ctx, run, "doctor", 0)
		took := time.Since(began)
		if err != nil {
			return 0, 0, err
		}
		if sight == nil {
			return 0, 0, errors.New("it does not show the barrier that is open there")
		}
		if turn == 0 || took < fastest {
			fastest = took
			// The answer was made half-way between question and answer.
			ahead = time.UnixMicro(int64(sight.Now * 1000)).Sub(began.Add(took / 2))
		}
	}
	return fastest, ahead, nil
}

// clock says how far the store's clock and this one are apart.
func (e *examination) clock(ahead time.Duration) {
	if ahead.Abs() >= apart {
		e.add("clock", note, "run NTP on both, if you compare times of several machines; waits do not depend on it",
			"the store's clock and this one are %s apart", rounded(ahead.Abs()))
		return
	}
	e.add("clock", fine, "", "%s apart from the store's", rounded(ahead.Abs()))
}

// systemsOf names what the servers of a store are.
func systemsOf(servers []core.Server) string {
	system := "a server that does not tell its version"
	if len(servers) > 0 && servers[0].Version != "" {
		system = servers[0].Version
	}
	if len(servers) > 1 {
		system = fmt.Sprintf("a cluster of %d with keys, of %s,", len(servers), system)
	}
	return system
}

// eviction looks whether a server would throw keys away, a barrier's among them.
func (e *examination) eviction(servers []core.Server) {
	var silent []string
	for _, server := range servers {
		switch {
		case server.Eviction == "" || server.MaxMemory == nil:
			silent = append(silent, server.At)
		case *server.MaxMemory > 0 && server.Eviction != "noeviction":
			e.add("eviction", bad, "CONFIG SET maxmemory-policy noeviction, or no maxmemory",
				"%s has maxmemory-policy %s under a limit of %s bytes: it may throw a barrier away while users wait",
				server.At, server.Eviction, wording.Grouped(*server.MaxMemory))
			return
		}
	}
	if len(silent) > 0 {
		e.add("eviction", note, "allow the user of the store +info to have it looked at", "not known of %s, which may not be asked",
			strings.Join(silent, ", "))
		return
	}
	e.add("eviction", fine, "", "the store throws no key away")
}

// files compares how many files this process may open with its users.
func (e *examination) files() {
	most, known := openFiles()
	if !known {
		return
	}
	fit := most - min(most, spare)
	if e.users > fit {
		e.add("files", bad, fmt.Sprintf("ulimit -n %d", e.users+spare), "%s open files are too few for %s users with a connection each",
			wording.Grouped(most), wording.Grouped(e.users))
		return
	}
	e.add("files", fine, "", "%s open files: enough for %s users with a connection each", wording.Grouped(most), wording.Grouped(fit))
}

// ports compares how many connections this machine can have to one address with its users.
func (e *examination) ports() {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var first, last uint64
	if err == nil {
		_, err = fmt.Sscan(string(text), &first, &last)
	}
	if err != nil || last < first {
		return // no Linux, or not to be seen
	}
	fit := last - first + 1
	if e.users > fit {
		e.add("ports", bad, `sysctl -w net.ipv4.ip_local_port_range="1024 65535", or k6's --local-ips`,
			"%s ports are too few for %s users with a connection each to one address", wording.Grouped(fit), wording.Grouped(e.users))
		return
	}
	e.add("ports", fine, "", "%s ports for connections to one address", wording.Grouped(fit))
}

// segments looks whether this process would be one of several, which need a store and one run id.
func (e *examination) segments() {
	segment, err := lib.NewExecutionSegmentFromString(e.segment)
	if err != nil {
		e.add("segments", bad, "give a part as k6 does, such as 0:1/2", "the execution segment %q is none: %s", e.segment, err)
		return
	}
	sequence, err := lib.NewExecutionSegmentSequenceFromString(e.sequence)
	if err == nil {
		_, err = lib.NewExecutionTuple(segment, &sequence)
	}
	missing := ""
	switch {
	case err != nil:
		e.add("segments", bad, "name all parts by where they begin and end, such as 0,1/2,1",
			"the execution segment %s is not one of the sequence %q: %s", segment, e.sequence, err)
		return
	case segment.String() == wholeTest:
		e.add("segments", fine, "", "none by flags or the environment: this process has all users")
		return
	case e.settings.runID == "":
		missing = "give --run-id or set " + runIDEnv + ", the same in all processes"
	case e.sequence == "":
		missing = "give --execution-segment-sequence or set " + sequenceEnv + ", the same in all processes"
	case e.settings.redis == "":
		missing = "name the store that all processes share by --redis or " + redisEnv
	default:
		e.add("segments", fine, "", "%s of run %s", segment, e.settings.runID)
		return
	}
	e.add("segments", bad, missing, "this process is one of several: it has the execution segment %s", segment)
}

// withoutSecrets is a store's address without user and password.
func withoutSecrets(text string) string {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" {
		return "the store"
	}
	return address.Host + strings.TrimSuffix(address.Path, "/")
}

// rounded is a time as one reads it.
func rounded(d time.Duration) string {
	if d < time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}
