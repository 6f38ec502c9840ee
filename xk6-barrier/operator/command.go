// Package operator is `k6 x barrier`: it shows the barriers of running tests, and ends one by hand.
//
// It is no part of a test. What it shows it reads from the Redis store without taking part; a release or an abort is
// the store's own operation, of which every process of the test hears.
package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"go.k6.io/k6/v2/cmd/state"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// Name is the subcommand's name below `k6 x`.
const Name = "barrier"

const (
	redisEnv  = "K6_BARRIER_REDIS"
	runIDEnv  = "K6_BARRIER_RUN_ID"
	nobodyNow = "there is no barrier"

	// failed is the exit code of everything that could not be done.
	failed exitcodes.ExitCode = 1
)

// host is what a command has of its process, so that a test can give it something else.
type host struct {
	in       io.Reader
	out, err io.Writer
	// asks tells whether somebody can answer a question, redraws whether the output is a terminal.
	asks, redraws bool
	env           map[string]string
	logger        logrus.FieldLogger
	// interrupted gives a context that ends when the user interrupts.
	interrupted func(context.Context) (context.Context, context.CancelFunc)
	now         func() time.Time
}

// New makes the command for k6.
func New(gs *state.GlobalState) *cobra.Command {
	asks := false
	if in, ok := gs.Stdin.(*os.File); ok {
		asks = isatty.IsTerminal(in.Fd())
	}
	return newCommand(&host{
		in: gs.Stdin, out: gs.Stdout, err: gs.Stderr,
		asks: asks, redraws: gs.Stdout.IsTTY,
		env: gs.Env, logger: gs.Logger, now: time.Now,
		interrupted: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return interrupted(ctx, gs)
		},
	})
}

func interrupted(ctx context.Context, gs *state.GlobalState) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	gs.SignalNotify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
		gs.SignalStop(signals)
	}()
	return ctx, cancel
}

// settings are the flags of all commands.
type settings struct {
	host *host

	redis   string
	runID   string
	name    string
	json    bool
	timeout time.Duration
	tls     tlsFlags
}

func newCommand(h *host) *cobra.Command {
	s := &settings{host: h}
	cmd := &cobra.Command{
		Use:   Name,
		Short: "See and end the barriers of running tests",
		Long: `Shows the barriers that running tests hold in a Redis store, and ends one by hand.

list, status and watch only read: they take no part in a barrier and change nothing.
release lets everyone go who waits at a barrier, abort breaks it for everyone; every
process of the test hears of it. doctor tells whether a test can run here; version and
doctor need no store.

The store is named by --redis or ` + redisEnv + `. Put a URL with a password into the
environment: arguments can be seen by other users of the machine.`,
		Example: `  export ` + redisEnv + `=redis://:password@redis.example:6379
  k6 x barrier doctor
  k6 x barrier list
  k6 x barrier status --run-id load-7
  k6 x barrier watch --run-id load-7
  k6 x barrier release --run-id load-7 --yes
  k6 x barrier abort --run-id load-7 --reason "wrong build"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&s.redis, "redis", "", "URL of the store, else "+redisEnv)
	flags.StringVar(&s.runID, "run-id", "", "only barriers of this run, else "+runIDEnv)
	flags.StringVar(&s.name, "name", "", "only barriers of this name")
	flags.BoolVar(&s.json, "json", false, "print JSON; times are milliseconds since the epoch on the store's clock")
	s.tls.register(cmd)
	flags.DurationVar(&s.timeout, "timeout", 10*time.Second, "how long the store may take to answer")

	cmd.AddCommand(s.listCommand(), s.statusCommand(), s.watchCommand(), s.releaseCommand(), s.abortCommand(),
		s.doctorCommand(), s.versionCommand())
	return cmd
}

// operate runs a command with an operator that ends with it.
func (s *settings) operate(run func(context.Context, *core.Operator) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		err := s.connected(cmd, run)
		return errext.WithExitCodeIfNone(err, failed)
	}
}

// fromEnvironment takes from the environment what no flag has said.
func (s *settings) fromEnvironment() {
	if s.redis == "" {
		s.redis = s.host.env[redisEnv]
	}
	if s.runID == "" {
		s.runID = s.host.env[runIDEnv]
	}
}

func (s *settings) checkTimeout() error {
	if s.timeout < time.Millisecond {
		return fmt.Errorf("--timeout is %s, it has to be at least 1ms", s.timeout)
	}
	return nil
}

func (s *settings) connected(cmd *cobra.Command, run func(context.Context, *core.Operator) error) error {
	s.fromEnvironment()
	if s.redis == "" {
		return fmt.Errorf("no store is named; give --redis redis[s][+cluster]://[[user]:password@]host[:port][/database] or set %s", redisEnv)
	}
	if err := s.checkTimeout(); err != nil {
		return err
	}
	tls, err := s.tls.read()
	if err != nil {
		return err
	}
	engine, err := core.NewEngine()
	if err != nil {
		return err
	}
	client, err := core.NewClient(engine, func(line core.LogLine) { line.To(s.host.logger) }, core.SystemResolver)
	if err != nil {
		return err
	}
	defer client.Close(time.Second)
	operator, err := client.OpenOperator(core.OperatorOptions{Redis: s.redis, TLS: tls, Timeout: s.timeout.Milliseconds()})
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := s.host.interrupted(ctx)
	defer cancel()
	err = run(ctx, operator)
	if errors.Is(err, core.ErrEnded) {
		return errors.New("interrupted")
	}
	return err
}

// found gives the barriers that the flags leave over.
func (s *settings) found(ctx context.Context, o *core.Operator, limit uint32) (barriers []core.Sight, complete bool, err error) {
	if s.runID != "" && s.name != "" {
		sight, err := o.Look(ctx, s.runID, s.name, 0)
		if err != nil || sight == nil {
			return nil, true, err
		}
		return []core.Sight{*sight}, true, nil
	}
	listed, complete, err := o.List(ctx, s.runID, limit)
	if err != nil {
		return nil, false, err
	}
	for _, sight := range listed {
		if s.name == "" || sight.Name == s.name {
			barriers = append(barriers, sight)
		}
	}
	return barriers, complete, nil
}

// one gives the barrier that the flags leave over, with the ids of at most so many who are missing.
func (s *settings) one(ctx context.Context, o *core.Operator, missing uint32) (*core.Sight, error) {
	runID, name := s.runID, s.name
	if runID == "" || name == "" {
		barriers, complete, err := s.found(ctx, o, searched)
		if err != nil {
			return nil, err
		}
		switch {
		case len(barriers) == 0:
			return nil, fmt.Errorf("%s%s", nobodyNow, s.narrowed())
		case len(barriers) > 1 || !complete:
			return nil, fmt.Errorf("several barriers%s: %s; name one by --run-id and --name", s.narrowed(), namesOf(barriers))
		}
		runID, name = barriers[0].RunID, barriers[0].Name
	}
	sight, err := o.Look(ctx, runID, name, missing)
	if err == nil && sight == nil {
		err = fmt.Errorf("%s %q in run %s", nobodyNow, name, runID)
	}
	return sight, err
}

// narrowed says which barriers the flags leave over.
func (s *settings) narrowed() string {
	text := ""
	if s.name != "" {
		text += fmt.Sprintf(" %q", s.name)
	}
	if s.runID != "" {
		return text + " in run " + s.runID
	}
	return text + " in the store"
}

func namesOf(barriers []core.Sight) string {
	var names []string
	for i := range barriers {
		names = append(names, barriers[i].RunID+" "+barriers[i].Name)
	}
	return someOf(names)
}

func namesOfGroups(groups []core.GroupSight) string {
	var names []string
	for i := range groups {
		names = append(names, groups[i].RunID+" "+groups[i].Name)
	}
	return someOf(names)
}

// someOf is the first of the names, and whether there are more.
func someOf(names []string) string {
	const shown = 10
	if len(names) > shown {
		names = append(names[:shown:shown], "…")
	}
	return strings.Join(names, ", ")
}
