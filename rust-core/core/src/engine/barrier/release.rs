//! When a decided release lets its waiters go.

use std::time::{Duration, Instant};

use crate::clock::epoch_micros;
use crate::ids::Phase;
use crate::ledger::Answered;
use crate::protocol::{Micros, Outcome, Release, StoreTime};
use crate::session::Done;
use crate::store::memory::RELEASES_KEPT;
use crate::ticket::Ticket;

use crate::engine::news::Emission;

use super::state::State;
use super::status::ReleaseInfo;
use super::{Backend, Barrier};

/// An instant further off than this is looked at again.
const DISTANT: Duration = Duration::from_secs(1);
/// How long a clock may have been set before that is seen.
const UNSEEN: Duration = Duration::from_secs(10);
/// What reading two clocks may be wrong by, in microseconds; beyond it, the wall clock was set.
const READ_APART: u64 = 1000;

impl Barrier {
    /// A release became known: it fires at its instant, but no later than its delay after it became known, so that a step
    /// of the server's clock can hold nobody. Those who go one after the other are told their instants before.
    pub(super) fn released(&self, state: &mut State, release: Release, news: &mut Vec<Emission>) {
        let now = Instant::now();
        let delay: Duration = release.delay.into();
        let latest = now + delay;
        let mut due = self.due(&release, now).min(latest);
        if due <= now && state.coming.is_empty() {
            self.fire(state, &release, now, self.at(&release, due), news);
            return;
        }
        let phase = release.phase;
        state.coming.insert(phase, (release.clone(), latest));
        let (me, given_up) = (self.me.clone(), self.me.clone());
        let fired = async move {
            // Two clocks drift apart: how far off a distant instant is, is asked again on the way.
            while due.saturating_duration_since(Instant::now()) > DISTANT {
                let half = due.saturating_duration_since(Instant::now()) / 2;
                tokio::time::sleep(half.min(UNSEEN)).await;
                let Some(me) = me.upgrade() else {
                    return;
                };
                due = me.due(&release, Instant::now()).min(latest);
            }
            let Some(at) = me.upgrade().map(|me| {
                let at = me.at(&release, due); // fixed from here on: some may be told theirs, reckoned from it
                me.announce(&release, now, at);
                at
            }) else {
                return;
            };
            // Tokio's timer has whole milliseconds and rounds up: the last one is waited for with a finer clock.
            tokio::time::sleep_until((due - Duration::from_millis(2).min(delay)).into()).await;
            while Instant::now() < due {
                tokio::task::yield_now().await;
            }
            if let Some(me) = me.upgrade() {
                let mut state = me.state.lock();
                if state.gone {
                    return; // nothing comes after the news of that
                }
                let mut news = Vec::new();
                // A later phase, whose timer was earlier, has taken it along otherwise.
                if state.coming.contains_key(&release.phase) {
                    me.fire(&mut state, &release, now, at, &mut news);
                }
                me.tell_broken(&mut state, &mut news);
                state.outbox.append(&mut news);
                me.tell(state);
            }
        };
        let started = self.context.spawn(fired, move |error| {
            if let Some(me) = given_up.upgrade() {
                me.give_up(error);
            }
        });
        if let Err(error) = started {
            // Hardly so: whoever opens a barrier with such releases is refused where the core cannot start. It never fires.
            state.coming.remove(&phase);
            self.end(state, &error);
        }
    }

    /// A release's instant on this process's clock.
    fn due(&self, release: &Release, now: Instant) -> Instant {
        let instant = StoreTime(release.at.0.saturating_add(release.delay.0));
        match &self.backend {
            Backend::Redis(remote) => remote.hub.clock().instant(instant, now).unwrap_or(now),
            Backend::Memory(_) if release.delay.0 <= 0 => now,
            Backend::Memory(_) => {
                let ahead = instant.0.saturating_sub(epoch_micros(now));
                now + Duration::from(Micros(ahead))
            }
        }
    }

    /// When users go, in microseconds since the epoch. In memory that is the release's own instant, which is one of this clock:
    /// reckoned to the other clock and back it may be missed by a microsecond, and users would read that they went before it.
    fn at(&self, release: &Release, due: Instant) -> i64 {
        let at = epoch_micros(due);
        let instant = release.at.0.saturating_add(release.delay.0);
        let is_own = matches!(self.backend, Backend::Memory(_)) && release.delay.0 > 0;
        if is_own && at.abs_diff(instant) < READ_APART {
            instant
        } else {
            at
        }
    }

    /// The first release that is decided and has not fired, with the instant at which it will.
    pub(super) fn coming(&self, state: &State) -> Option<ReleaseInfo> {
        let mut coming = state.coming.iter();
        let (_, (release, latest)) = coming.find(|(phase, _)| !state.fired.contains_key(phase))?;
        let now = Instant::now();
        let due = self.due(release, now).min(*latest);
        Some(self.info_of(release, now, self.at(release, due)))
    }

    pub(super) fn info_of(&self, release: &Release, received: Instant, at: i64) -> ReleaseInfo {
        let parties = self.options.shared.parties.of(&release.counts, 0);
        ReleaseInfo::of(release, at, epoch_micros(received), parties)
    }

    /// Phases go in their order: whoever waits for an earlier one goes by that one's own release.
    fn fire(
        &self,
        state: &mut State,
        release: &Release,
        received: Instant,
        at: i64,
        news: &mut Vec<Emission>,
    ) {
        while let Some((_, (earlier, latest))) = state.coming.range(..release.phase).next() {
            let (earlier, latest) = (earlier.clone(), *latest);
            let heard = latest - Duration::from(earlier.delay);
            let at = announced_at(state, earlier.phase).unwrap_or_else(|| {
                let due = self.due(&earlier, Instant::now()).min(latest);
                self.at(&earlier, due)
            });
            self.fire_one(state, &earlier, heard, at, news);
        }
        self.fire_one(state, release, received, at, news);
    }

    fn fire_one(
        &self,
        state: &mut State,
        release: &Release,
        received: Instant,
        at: i64,
        news: &mut Vec<Emission>,
    ) {
        let phase = release.phase;
        let newest = state.fired.keys().next_back().copied();
        let info = self.info_of(release, received, at);
        state.announced.remove(&phase);
        state.coming.remove(&phase);
        state.fired.insert(phase, info);
        let oldest = phase.0.saturating_sub(RELEASES_KEPT - 1);
        state.fired.retain(|p, _| p.0 >= oldest);
        self.draw_up(state, release, at); // as it was announced, where it was
        // Before the news for all: who wakes by that has no answer of its own to wait for.
        for (ticket, answered) in std::mem::take(&mut state.held) {
            news.extend(state.now_or_held(ticket, answered).now());
        }
        if newest.is_none_or(|newest| newest < phase) {
            let released = Emission::Released {
                barrier: self.handle(),
                phase,
                at,
                on_crowded_host: {
                    let here = state.session.process().host();
                    release.crowded.iter().any(|host| host == here)
                },
            };
            state.release_all(released, phase, news);
        }
    }

    /// Tells of the break once, after the releases that were decided before it.
    pub(super) fn tell_broken(&self, state: &mut State, news: &mut Vec<Emission>) {
        if state.session.broken().is_some() && state.coming.is_empty() && !state.broken_told {
            state.broken_told = true;
            let broken = Emission::Broken {
                barrier: self.handle(),
            };
            state.break_all(broken, news);
        }
    }
}

/// The instant that users were told theirs by, in microseconds.
fn announced_at(state: &State, phase: Phase) -> Option<i64> {
    let info = state.announced.get(&phase)?;
    #[expect(clippy::cast_possible_truncation)] // whole microseconds, exact until the year 2255
    Some((info.released_at * 1000.0).round() as i64)
}

/// An answer that may have to wait for a release's instant.
pub(super) enum Held {
    /// It may go.
    Now(Ticket, Answered),
    /// It goes when the instant has come.
    Later(Answered),
}

impl Held {
    pub(super) fn now(self) -> Option<Emission> {
        match self {
            Self::Now(ticket, answered) => Some(Emission::Done {
                ticket,
                result: Ok(Done::Outcome(answered)),
                standing: None,
            }),
            Self::Later(_) => None,
        }
    }
}

impl State {
    /// A late participant never returns before the instant of the release that it missed.
    pub(super) fn now_or_held(&mut self, ticket: Ticket, answered: Answered) -> Held {
        let early = answered.outcome == Outcome::Late
            && !self.coming.is_empty()
            && self.fired.keys().next_back() < Some(&answered.phase);
        if early {
            self.held.push((ticket, answered.clone()));
            return Held::Later(answered);
        }
        Held::Now(ticket, answered)
    }
}
