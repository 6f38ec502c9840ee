package operator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

func (s *settings) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Let everyone go who waits at a barrier",
		Long: `Releases the phase that is open, with the reason "operator". Whoever comes to it later is late, as after
any other release. Nothing happens where the phase was over already.`,
		Args: cobra.NoArgs,
	}
	s.ends(cmd, ending{
		carryOut: func(ctx context.Context, o *core.Operator, sight *core.Sight) (*core.Ended, error) {
			return o.Release(ctx, sight.RunID, sight.Name, sight.Phase)
		},
		otherwise: core.AlreadyBroken,
		nothing:   "nobody was released",
		done: func(sight *core.Sight) string {
			return fmt.Sprintf("released phase %d of barrier %q of run %s", sight.Phase, sight.Name, sight.RunID)
		},
	})
	return cmd
}

func (s *settings) abortCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Break a barrier for everyone and for good",
		Long: `Breaks the barrier: every wait ends with a BarrierBrokenError that has the reason, and no phase opens any
more. A released barrier without further phases cannot be broken.`,
		Args: cobra.NoArgs,
	}
	reason := "aborted by an operator"
	cmd.Flags().StringVar(&reason, "reason", reason, "what everyone is told")
	s.ends(cmd, ending{
		carryOut: func(ctx context.Context, o *core.Operator, sight *core.Sight) (*core.Ended, error) {
			return o.Abort(ctx, sight.RunID, sight.Name, reason)
		},
		otherwise: core.AlreadyReleased,
		nothing:   "nothing was aborted",
		done: func(sight *core.Sight) string {
			return fmt.Sprintf("aborted barrier %q of run %s: %s", sight.Name, sight.RunID, reason)
		},
	})
	return cmd
}

// ending is a way to end a barrier by hand.
type ending struct {
	// carryOut is the store's operation.
	carryOut func(context.Context, *core.Operator, *core.Sight) (*core.Ended, error)
	// otherwise is the answer where the barrier had ended in another way, and nothing what became of the command then.
	// Where it had ended in the same way all is as it should be.
	otherwise, nothing string
	// done says what was done.
	done func(*core.Sight) string
}

// ends makes a command end the barrier that its flags name, once the user has agreed.
func (s *settings) ends(cmd *cobra.Command, e ending) {
	var yes bool
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = s.operate(func(ctx context.Context, o *core.Operator) error {
		sight, err := s.target(ctx, o)
		if err != nil {
			return err
		}
		if sight.State == core.StateOpen {
			if err := s.confirm(ctx, yes, cmd.Name(), sight); err != nil {
				return err
			}
		}
		ended, err := e.carryOut(ctx, o, sight)
		switch {
		case err != nil:
			return err
		case ended.Answer == e.otherwise:
			return fmt.Errorf("%s: %s", before(ended, sight), e.nothing)
		case s.json:
			return s.print(ended)
		case ended.Answer == core.Done:
			s.say("%s", e.done(sight))
		default:
			s.say("%s", before(ended, sight))
		}
		return nil
	})
}

// target is the barrier to be ended. A shared store has barriers of others, so its run is never guessed.
func (s *settings) target(ctx context.Context, o *core.Operator) (*core.Sight, error) {
	if s.runID == "" {
		return nil, fmt.Errorf("no run is named; give --run-id or set %s ('k6 x %s list' shows the runs)", runIDEnv, Name)
	}
	return s.one(ctx, o, 0)
}

// before says how a barrier had ended when the operator came.
func before(ended *core.Ended, sight *core.Sight) string {
	text := fmt.Sprintf("barrier %q of run %s", sight.Name, sight.RunID)
	if sight.Cyclic && ended.Answer == core.AlreadyReleased {
		text = fmt.Sprintf("phase %d of %s", sight.Phase, text)
	}
	text += " was " + ended.Answer + " already"
	if b := ended.Barrier; ended.Answer == core.AlreadyBroken && b != nil && b.Broken != nil {
		text += " (" + b.Broken.Message + ")"
	}
	return text
}

// confirm asks the user. Where nobody can answer, the flag must have said it.
func (s *settings) confirm(ctx context.Context, yes bool, verb string, sight *core.Sight) error {
	if yes {
		return nil
	}
	if !s.host.asks {
		return fmt.Errorf("there is no terminal to ask on; give --yes to %s barrier %q of run %s", verb, sight.Name, sight.RunID)
	}
	_, _ = fmt.Fprintf(s.host.err, "%s\n%s this barrier for everyone? [y/N] ", line(sight), verb)
	answered := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(s.host.in).ReadString('\n')
		answered <- text
	}()
	select {
	case text := <-answered:
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "y", "yes":
			return nil
		}
	case <-ctx.Done():
	}
	return errors.New("nothing was done")
}
