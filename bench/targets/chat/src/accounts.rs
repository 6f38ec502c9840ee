//! Who is known, by name and by token, and what they have said.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Accounts beyond these are refused, so that a load test cannot fill the memory.
pub(crate) const ACCOUNTS: usize = 100_000;

/// An account keeps so many of its newest messages and replies.
const HISTORY: usize = 20;

/// Longer texts of an account (its address, its name, its password) are refused, for the same reason.
const TEXT_LIMIT: usize = 1024;

/// Of a longer message, and of a longer reply, this much is kept, in bytes.
const SAID_LIMIT: usize = 2048;

/// A message, or the reply to one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Said {
    pub(crate) role: &'static str,
    pub(crate) content: String,
}

/// An account as others see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Profile {
    pub(crate) email: String,
    pub(crate) name: String,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The account has another password.
    Password,
    /// The account is there already.
    Taken,
    /// There are too many accounts.
    Full,
    /// A text is longer than `TEXT_LIMIT`.
    Long,
}

#[derive(Debug)]
struct Account {
    profile: Profile,
    /// Of those who registered; with the others any password will do.
    password: Option<String>,
    /// One for all logins, so that logging in again and again costs no memory.
    token: String,
    history: VecDeque<Said>,
}

#[derive(Debug, Default)]
struct State {
    by_email: HashMap<String, Account>,
    email_by_token: HashMap<String, String>,
}

impl State {
    fn add(
        &mut self,
        profile: Profile,
        password: Option<String>,
        token: String,
    ) -> Result<String, Refused> {
        if self.by_email.len() >= ACCOUNTS {
            return Err(Refused::Full);
        }
        let email = profile.email.clone();
        self.email_by_token.insert(token.clone(), email.clone());
        let account = Account {
            profile,
            password,
            token: token.clone(),
            history: VecDeque::new(),
        };
        self.by_email.insert(email, account);
        Ok(token)
    }
}

/// All accounts. Kept in memory, and forgotten when the service ends.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<State>);

impl Accounts {
    /// Accounts `token-1@example.com` and so on, whose tokens are these.
    pub(crate) fn with_tokens(tokens: &[String]) -> Self {
        let accounts = Self::default();
        for (number, token) in (1..).zip(tokens) {
            let profile = profile(&format!("token-{number}@example.com"), None);
            // Tokens that do not fit are not known; the command line refuses so many.
            let _ = accounts.lock().add(profile, None, token.clone());
        }
        accounts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave the maps half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an account that only this password opens.
    pub(crate) fn register(
        &self,
        email: &str,
        name: Option<&str>,
        password: &str,
    ) -> Result<Profile, Refused> {
        short(&[email, name.unwrap_or_default(), password])?;
        let mut state = self.lock();
        if state.by_email.contains_key(email) {
            return Err(Refused::Taken);
        }
        let profile = profile(email, name);
        state.add(profile.clone(), Some(password.to_owned()), new_token())?;
        Ok(profile)
    }

    /// The token of an account. Who has not registered gets an account by asking, whatever the password is.
    pub(crate) fn log_in(&self, email: &str, password: &str) -> Result<String, Refused> {
        short(&[email, password])?;
        let mut state = self.lock();
        match state.by_email.get(email) {
            None => state.add(profile(email, None), None, new_token()),
            Some(account) => match &account.password {
                Some(right) if right != password => Err(Refused::Password),
                _ => Ok(account.token.clone()),
            },
        }
    }

    /// Whether a login gave this token, or the service was started with it.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.lock().email_by_token.contains_key(token)
    }

    /// Whose token it is.
    pub(crate) fn profile(&self, token: &str) -> Option<Profile> {
        let state = self.lock();
        let email = state.email_by_token.get(token)?;
        let account = state.by_email.get(email)?;
        Some(account.profile.clone())
    }

    /// Keeps what was said under a token; nothing where nobody has that token.
    pub(crate) fn remember(&self, token: &str, said: impl IntoIterator<Item = Said>) {
        let mut state = self.lock();
        let State {
            by_email,
            email_by_token,
        } = &mut *state;
        let account = email_by_token
            .get(token)
            .and_then(|email| by_email.get_mut(email));
        if let Some(account) = account {
            account.history.extend(said.into_iter().map(|mut said| {
                said.content
                    .truncate(said.content.floor_char_boundary(SAID_LIMIT));
                said.content.shrink_to_fit();
                said
            }));
            while account.history.len() > HISTORY {
                account.history.pop_front();
            }
        }
    }

    /// The newest of what was said under a token, oldest first.
    pub(crate) fn history(&self, token: &str) -> Vec<Said> {
        let state = self.lock();
        let email = state.email_by_token.get(token);
        let account = email.and_then(|email| state.by_email.get(email));
        account.map_or_else(Vec::new, |account| {
            account.history.iter().cloned().collect()
        })
    }
}

/// Refuses texts that are too long to be kept.
fn short(texts: &[&str]) -> Result<(), Refused> {
    let long = texts.iter().any(|text| text.len() > TEXT_LIMIT);
    if long { Err(Refused::Long) } else { Ok(()) }
}

fn profile(email: &str, name: Option<&str>) -> Profile {
    let before_at = email.split('@').next().unwrap_or(email);
    Profile {
        email: email.to_owned(),
        name: name.unwrap_or(before_at).to_owned(),
    }
}

/// 128 bits that nobody can guess.
fn new_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_accounts_have_one_password_and_others_any() {
        let accounts = Accounts::default();
        let registered = accounts.register("ann@example.com", Some("Ann"), "right");
        assert_eq!(registered.expect("account is new").name, "Ann");
        let again = accounts.register("ann@example.com", None, "right");
        assert_eq!(again.err(), Some(Refused::Taken));
        let wrong = accounts.log_in("ann@example.com", "wrong");
        assert_eq!(wrong.err(), Some(Refused::Password));
        let token = accounts.log_in("ann@example.com", "right");
        let token = token.expect("password is right");
        assert_eq!(
            accounts.log_in("ann@example.com", "right"),
            Ok(token.clone())
        );
        assert_ne!(accounts.log_in("bob@example.com", "any"), Ok(token));
        assert!(accounts.log_in("bob@example.com", "other").is_ok());
    }

    #[test]
    fn what_an_account_keeps_is_bounded() {
        let accounts = Accounts::default();
        let long = "x".repeat(TEXT_LIMIT + 1);
        for [email, name, password] in [
            [long.as_str(), "Ann", "p"],
            ["ann@example.com", &long, "p"],
            ["ann@example.com", "Ann", &long],
        ] {
            let refused = accounts.register(email, Some(name), password);
            assert_eq!(refused.err(), Some(Refused::Long));
        }
        assert_eq!(accounts.log_in(&long, "p"), Err(Refused::Long));
        let email = "b".repeat(TEXT_LIMIT);
        let token = accounts.log_in(&email, "p").expect("not too long");
        let content = "é".repeat(SAID_LIMIT);
        let role = "user";
        accounts.remember(&token, [Said { role, content }]);
        assert_eq!(
            accounts.history(&token)[0].content,
            "é".repeat(SAID_LIMIT / 2)
        );
    }

    #[test]
    fn only_the_newest_of_what_was_said_is_kept() {
        let accounts = Accounts::with_tokens(&["secret".to_owned()]);
        for number in 0..HISTORY + 5 {
            let content = number.to_string();
            accounts.remember(
                "secret",
                [Said {
                    role: "user",
                    content,
                }],
            );
        }
        let history = accounts.history("secret");
        assert_eq!(history.len(), HISTORY);
        assert_eq!(history[0].content, "5");
        assert!(accounts.history("other").is_empty());
        assert!(accounts.knows("secret") && !accounts.knows("other"));
    }
}
