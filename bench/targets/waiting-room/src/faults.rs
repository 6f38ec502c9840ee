//! What goes wrong on purpose, so that a harness can be shown to notice it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use target_kit::{Percent, Share, Switches};

/// The faults that a waiting room is asked to have, each a switch that can be changed while it runs. The default has none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Faults {
    /// Users whose login is answered with 401.
    pub fail_logins: Share,
    /// Users whose first login is answered with 503; later ones are not.
    pub fail_first_logins: Share,
    /// Users whose login hands out a token that has expired already.
    pub expire_tokens: Share,
    /// Users whose waiting call is answered with 503.
    pub fail_streams: Share,
    /// Users whose stream breaks off after their first position; they lose their place.
    pub cut_streams: Share,
    /// Users whose stream stays open without another byte.
    pub silence_users: Share,
    /// Users who are promoted and hold a slot, but are never told.
    pub lose_promotions: Share,
    /// Users who are told of their promotion twice.
    pub promote_twice: Share,
    /// Users who leave without their slot coming back.
    pub leak_slots: Share,
    /// Slots come back so much later than they should.
    #[serde(rename = "late-slots-ms", with = "target_kit::millis")]
    pub late_slots: Duration,
    /// Nobody is promoted.
    pub stall_promotion: bool,
    /// So many of the brokers are dead: their streams break off, and calls to them are answered with 500.
    pub dead_brokers: u32,
    /// Requests and streams that the gateway carries at once.
    pub connections: Option<u64>,
    /// Every answer below `/api` is held back this long.
    #[serde(rename = "delay-ms", with = "target_kit::millis")]
    pub delay: Duration,
    /// This long after the first event was opened no stream gets another byte.
    #[serde(rename = "silent-after-ms", with = "target_kit::millis::option")]
    pub silent_after: Option<Duration>,
    /// After this many messages, counted over all streams, no stream gets another byte.
    pub silent_after_messages: Option<u64>,
    /// The JSON of messages is wrapped in a JSON string and prefixed once more with `data:`.
    pub double_encode: bool,
    /// A promotion round begins this much later than it should.
    pub promotion_slowdown: Percent,
}

/// Decides when the streams fall silent.
#[derive(Debug)]
pub(crate) struct Silence {
    faults: Switches<Faults>,
    opened: OnceLock<Instant>,
    messages: AtomicU64,
}

impl Silence {
    pub(crate) fn new(faults: Switches<Faults>) -> Self {
        Self {
            faults,
            opened: OnceLock::new(),
            messages: AtomicU64::new(0),
        }
    }

    /// Tells that an event was opened; the first time counts.
    pub(crate) fn event_opened(&self) {
        self.opened.get_or_init(Instant::now);
    }

    /// Whether this user hears nothing, as all do or as one of those who were chosen.
    pub(crate) fn covers(&self, user: u32) -> bool {
        self.chose(user) || self.reached()
    }

    fn chose(&self, user: u32) -> bool {
        self.faults.with(|faults| faults.silence_users.hits(user))
    }

    /// Whether all streams are silent by now.
    pub(crate) fn reached(&self) -> bool {
        let (after, limit) = self.limits();
        self.is_time(after)
            || limit.is_some_and(|limit| self.messages.load(Ordering::Relaxed) >= limit)
    }

    /// Takes leave to send a user one message; false means that it must not be sent.
    pub(crate) fn admit_message(&self, user: u32) -> bool {
        let (after, limit) = self.limits();
        if self.chose(user) || self.is_time(after) {
            return false;
        }
        if let Some(limit) = limit {
            return self.messages.fetch_add(1, Ordering::Relaxed) < limit;
        }
        // A limit that is set later counts from then on.
        if self.messages.load(Ordering::Relaxed) > 0 {
            self.messages.store(0, Ordering::Relaxed);
        }
        true
    }

    fn limits(&self) -> (Option<Duration>, Option<u64>) {
        self.faults
            .with(|faults| (faults.silent_after, faults.silent_after_messages))
    }

    fn is_time(&self, after: Option<Duration>) -> bool {
        let opened = self.opened.get();
        after
            .zip(opened)
            .is_some_and(|(after, opened)| opened.elapsed() >= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(faults: Faults) -> Silence {
        Silence::new(Switches::new(faults))
    }

    #[test]
    fn messages_are_admitted_up_to_the_limit() {
        let silence = silence(Faults {
            silent_after_messages: Some(2),
            ..Faults::default()
        });
        let admitted = || [(); 4].map(|()| silence.admit_message(1));
        assert_eq!(admitted(), [true, true, false, false]);
        assert!(silence.reached());
        let set = |limit: serde_json::Value| {
            let change = ("silent-after-messages".to_owned(), limit);
            let changed = silence.faults.change([change].into_iter().collect());
            changed.expect("fault is known");
        };
        set(serde_json::Value::Null);
        assert_eq!(admitted(), [true; 4]);
        set(1.into());
        assert_eq!(admitted(), [true, false, false, false]);
    }

    #[test]
    fn users_who_are_chosen_hear_nothing_and_do_not_count() {
        let silence = silence(Faults {
            silence_users: Share::First(1),
            silent_after_messages: Some(1),
            ..Faults::default()
        });
        let admitted = [1, 1, 2, 2].map(|user| silence.admit_message(user));
        assert_eq!(admitted, [false, false, true, false]);
        assert!(silence.covers(1) && silence.covers(2));
    }

    #[test]
    fn silence_by_time_starts_with_the_first_open_event() {
        let silence = silence(Faults {
            silent_after: Some(Duration::ZERO),
            ..Faults::default()
        });
        assert!(silence.admit_message(1));
        silence.event_opened();
        assert!(!silence.admit_message(1));
    }
}
