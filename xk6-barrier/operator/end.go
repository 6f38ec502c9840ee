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
	var yes bool
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Let everyone go who waits at a barrier",
		Long: `Releases the phase that is open, with the reason "operator". Whoever comes to it later is late, as after
any other release. Nothing happens where the phase was over already.`,
		Args: cobra.NoArgs,
		RunE: s.operate(func(ctx context.Context, o *core.Operator) error {
			sight, err := s.target(ctx, o)
			if err != nil {
				return err
			}
			if sight.State == core.StateOpen {
				if err := s.confirm(ctx, yes, "release", sight); err != nil {
					return err
				}
			}
			ended, err := o.Release(ctx, sight.RunID, sight.Name, sight.Phase)
			if err != nil {
				return err
			}
			if ended.Answer == core.AlreadyBroken {
				return errors.New(before(ended, sight, "broken") + ": nobody was released")
			}
			if s.json {
				return s.print(ended)
			}
			if ended.Answer == core.AlreadyReleased {
				s.say("%s", before(ended, sight, "released"))
				return nil
			}
			s.say("released phase %d of barrier %q of run %s", sight.Phase, sight.Name, sight.RunID)
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (s *settings) abortCommand() *cobra.Command {
	var yes bool
	reason := "aborted by an operator"
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Break a barrier for everyone and for good",
		Long: `Breaks the barrier: every wait ends with a BarrierBrokenError that has the reason, and no phase opens any
more. A released barrier without further phases cannot be broken.`,
		Args: cobra.NoArgs,
		RunE: s.operate(func(ctx context.Context, o *core.Operator) error {
			sight, err := s.target(ctx, o)
			if err != nil {
				return err
			}
			if sight.State == core.StateOpen {
				if err := s.confirm(ctx, yes, "abort", sight); err != nil {
					return err
				}
			}
			ended, err := o.Abort(ctx, sight.RunID, sight.Name, reason)
			if err != nil {
				return err
			}
			if ended.Answer == core.AlreadyReleased {
				return errors.New(before(ended, sight, "released") + ": nothing was aborted")
			}
			if s.json {
				return s.print(ended)
			}
			if ended.Answer == core.AlreadyBroken {
				s.say("%s", before(ended, sight, "broken"))
				return nil
			}
			s.say("aborted barrier %q of run %s: %s", sight.Name, sight.RunID, reason)
			return nil
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", reason, "what everyone is told")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// target is the barrier to be ended. A shared store has barriers of others, so its run is never guessed.
func (s *settings) target(ctx context.Context, o *core.Operator) (*core.Sight, error) {
	if s.runID == "" {
		return nil, fmt.Errorf("no run is named; give --run-id or set %s ('k6 x %s list' shows the runs)", runIDEnv, Name)
	}
	return s.one(ctx, o, 0)
}

// before says how a barrier had ended when the operator came.
func before(ended *core.Ended, sight *core.Sight, state string) string {
	text := fmt.Sprintf("barrier %q of run %s", sight.Name, sight.RunID)
	if sight.Cyclic && state == "released" {
		text = fmt.Sprintf("phase %d of %s", sight.Phase, text)
	}
	text += " was " + state + " already"
	if state == "broken" && ended.Barrier != nil && ended.Barrier.Broken != nil {
		text += " (" + ended.Barrier.Broken.Message + ")"
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
