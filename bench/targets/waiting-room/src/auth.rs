//! Who may do what: users, the manager, and the tokens that prove it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Config;

/// Lifetime of a refresh token, and the `Max-Age` of its cookie.
pub(crate) const REFRESH_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Lifetime of an entry token, and of its key.
pub(crate) const ENTRY_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Longer than any benchmark, so that no run depends on refreshing.
const ACCESS_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Role {
    /// Queues for events.
    User,
    /// Opens and closes events.
    Manager,
}

/// Why an access token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// Not signed here, or for something else.
    Invalid,
    /// It was good once.
    Expired,
}

/// The number in a user's id, by which faults and brokers choose; 0 for ids that are not ours.
pub(crate) fn number_of(user: &str) -> u32 {
    let digits = user.strip_prefix("acc-");
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// An account of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// `acc-<n>`; the manager is `acc-0`.
    pub(crate) id: String,
    /// The user's number; 0 for the manager.
    pub(crate) number: u32,
    pub(crate) role: Role,
}

impl Account {
    fn new(number: u32) -> Self {
        let role = if number == 0 {
            Role::Manager
        } else {
            Role::User
        };
        Self {
            id: format!("acc-{number}"),
            number,
            role,
        }
    }

    /// The account with these credentials.
    pub(crate) fn authenticate(config: &Config, email: &str, password: &str) -> Option<Self> {
        if password != config.password {
            return None;
        }
        if email == config.admin_email {
            return Some(Self::new(0));
        }
        let (name, domain) = email.split_once('@')?;
        let digits = name.strip_prefix("user")?;
        let number: u32 = digits.parse().ok()?;
        // Comparing the text refuses other spellings of the same number, such as user01 and user+1.
        let exists = (1..=config.users).contains(&number) && digits == number.to_string();
        (exists && domain == config.email_domain).then(|| Self::new(number))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Use {
    Access,
    Refresh,
    Entry,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "sub")]
    account: String,
    number: u32,
    role: Role,
    #[serde(rename = "use")]
    token_use: Use,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(rename = "iat")]
    issued_at: u64,
    #[serde(rename = "exp")]
    expires_at: u64,
}

/// Signs and verifies tokens (JWT, HS256) with a key of this process.
pub(crate) struct Tokens {
    mac: Hmac<Sha256>,
}

impl Tokens {
    /// A fresh random key: tokens of an earlier start are void.
    pub(crate) fn new() -> Self {
        Self {
            mac: Hmac::new(&rand::random::<[u8; 64]>().into()),
        }
    }

    pub(crate) fn access(&self, account: &Account) -> String {
        self.issue(account, Use::Access, None, ACCESS_LIFETIME)
    }

    /// An access token that has never been of use.
    pub(crate) fn expired_access(&self, account: &Account) -> String {
        self.issue(account, Use::Access, None, Duration::ZERO)
    }

    pub(crate) fn refresh(&self, account: &Account) -> String {
        self.issue(account, Use::Refresh, None, REFRESH_LIFETIME)
    }

    /// The token that lets a promoted user into an event.
    pub(crate) fn entry(&self, user: &str, event: &str) -> String {
        let account = Account {
            id: user.to_owned(),
            number: number_of(user),
            role: Role::User,
        };
        self.issue(&account, Use::Entry, Some(event.to_owned()), ENTRY_LIFETIME)
    }

    /// The account of an access token, if it is genuine and not expired.
    pub(crate) fn verify_access(&self, token: &str) -> Result<Account, BadToken> {
        let claims = self.claims(token).ok_or(BadToken::Invalid)?;
        if claims.token_use != Use::Access {
            return Err(BadToken::Invalid);
        }
        if claims.expires_at <= now() {
            return Err(BadToken::Expired);
        }
        Ok(Account {
            id: claims.account,
            number: claims.number,
            role: claims.role,
        })
    }

    /// What a genuine token says.
    fn claims(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mut mac = self.mac.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).ok()?;
        let (_header, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    fn issue(
        &self,
        account: &Account,
        token_use: Use,
        event: Option<String>,
        lifetime: Duration,
    ) -> String {
        let issued_at = now();
        let claims = Claims {
            account: account.id.clone(),
            number: account.number,
            role: account.role,
            token_use,
            event,
            issued_at,
            expires_at: issued_at + lifetime.as_secs(),
        };
        let claims = serde_json::json!(claims).to_string();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut mac = self.mac.clone();
        mac.update(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{signed}.{signature}")
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::new("redis://127.0.0.1".parse().expect("address is valid"));
        config.users = 20;
        config
    }

    #[test]
    fn users_and_the_manager_log_in() {
        let account = |email| Account::authenticate(&config(), email, "password123");
        assert_eq!(account("user1@example.com"), Some(Account::new(1)));
        assert_eq!(
            account("user20@example.com").map(|user| user.id).as_deref(),
            Some("acc-20")
        );
        let manager = account("admin@example.com").expect("manager exists");
        assert_eq!(manager.role, Role::Manager);
    }

    #[test]
    fn other_credentials_are_refused() {
        for email in [
            "user0@example.com",
            "user21@example.com",
            "user01@example.com",
            "user+1@example.com",
            "user1@example.org",
            "user1",
            "",
        ] {
            assert_eq!(
                Account::authenticate(&config(), email, "password123"),
                None,
                "{email}"
            );
        }
        assert_eq!(
            Account::authenticate(&config(), "user1@example.com", "Password123"),
            None
        );
    }

    #[test]
    fn access_token_names_its_account() {
        let tokens = Tokens::new();
        let token = tokens.access(&Account::new(7));
        assert!(token.starts_with("eyJ"));
        assert_eq!(tokens.verify_access(&token), Ok(Account::new(7)));
    }

    #[test]
    fn forged_foreign_expired_and_misused_tokens_are_refused() {
        let tokens = Tokens::new();
        let user = Account::new(7);
        let genuine = tokens.access(&user);
        let forged = genuine.replacen('.', ".e30", 1);
        let foreign = Tokens::new().access(&user);
        for token in [
            forged,
            foreign,
            tokens.refresh(&user),
            tokens.entry("acc-7", "e"),
        ] {
            assert_eq!(tokens.verify_access(&token), Err(BadToken::Invalid));
        }
        for token in ["", ".", "..", "a.b.c"] {
            assert_eq!(tokens.verify_access(token), Err(BadToken::Invalid));
        }
        let expired = tokens.expired_access(&user);
        assert_eq!(tokens.verify_access(&expired), Err(BadToken::Expired));
    }
}
