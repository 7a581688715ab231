//! Logging in: passwords, tickets, CSRF tokens, the second factor, API tokens.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD, prelude::BASE64_STANDARD_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use totp_rs::{Algorithm, Secret, TOTP};

use super::{Access, User, Who};

/// How long a ticket is good, in seconds.
pub const TICKET_LIFETIME: u64 = 7_200;
/// How far a ticket's time may lie in the future, in seconds.
const GRACE: u64 = 300;

/// How a login ended.
pub enum Login {
    /// The user who logged in.
    Good(String),
    /// The password was right; a second factor is wanted.
    SecondFactor(String),
    Bad,
}

fn signature(key: &[u8; 32], text: &str, rounds: u8) -> Vec<u8> {
    let sign = |round: u8| Sha256::new().chain_update(key).chain_update([round]).chain_update(text).finalize();
    (0..rounds).flat_map(sign).collect()
}

/// A ticket `PREFIX:user:time::signature`, as long as a real one.
pub fn ticket(key: &[u8; 32], prefix: &str, user: &str, now: u64) -> String {
    let plain = format!("{prefix}:{user}:{now:08X}");
    let signature = STANDARD.encode(signature(key, &plain, 8));
    format!("{plain}::{signature}")
}

/// `time:signature`, bound to the user.
pub fn csrf_token(key: &[u8; 32], user: &str, now: u64) -> String {
    let time = format!("{now:08X}");
    let signature = BASE64_STANDARD_NO_PAD.encode(signature(key, &format!("csrf:{time}:{user}"), 1));
    format!("{time}:{signature}")
}

fn in_time(hex: &str, now: u64) -> bool {
    u64::from_str_radix(hex, 16).is_ok_and(|made| now + GRACE >= made && now <= made + TICKET_LIFETIME)
}

/// The user of a ticket with that prefix, if it is genuine and still good.
pub fn ticket_user(key: &[u8; 32], prefix: &str, text: &str, now: u64) -> Option<String> {
    let (plain, _) = text.split_once("::")?;
    let (user, time) = plain.strip_prefix(prefix)?.strip_prefix(':')?.rsplit_once(':')?;
    let made = u64::from_str_radix(time, 16).ok()?;
    (in_time(time, now) && ticket(key, prefix, user, made) == text).then(|| user.to_owned())
}

/// Whether a CSRF token is the user's and still good.
pub fn csrf_is_good(key: &[u8; 32], user: &str, text: &str, now: u64) -> bool {
    let Some((time, _)) = text.split_once(':') else { return false };
    let Ok(made) = u64::from_str_radix(time, 16) else { return false };
    in_time(time, now) && csrf_token(key, user, made) == text
}

/// The prefix of the half ticket that a second factor has to complete.
const HALF: &str = "PVE:!tfa!{\"totp\":true}";

/// The ticket after the password, before the second factor; its JSON is URL-encoded.
pub fn half_ticket(key: &[u8; 32], user: &str, now: u64) -> String {
    ticket(key, &encoded_half(), user, now)
}

fn encoded_half() -> String {
    let mut out = String::new();
    for c in HALF.chars() {
        match c {
            '{' | '"' | '}' => drop(write!(out, "%{:02X}", u32::from(c))),
            // The colon inside the JSON, not the one after PVE.
            ':' if out.contains('!') => out.push_str("%3A"),
            c => out.push(c),
        }
    }
    out
}

impl Access {
    /// Logs in with a password (or a ticket of the same user, which renews it; root's ticket makes one for anybody),
    /// and with the answer to a second factor's challenge.
    pub fn log_in(&self, key: &[u8; 32], user: &str, password: &str, challenge: Option<&str>, now: u64) -> Login {
        let Some(account) = self.active_user(user, now) else { return Login::Bad };
        if let Some(challenge) = challenge {
            let challenged = ticket_user(key, &encoded_half(), challenge, now);
            let code = password.strip_prefix("totp:");
            return match (challenged, code) {
                (Some(name), Some(code)) if name == user && totp_is_good(account, code, now) => Login::Good(name),
                _ => Login::Bad,
            };
        }
        if let Some(name) = ticket_user(key, "PVE", password, now) {
            return if name == user || name == "root@pam" { Login::Good(user.to_owned()) } else { Login::Bad };
        }
        match &account.password {
            Some(right) if right.expose_secret() == password => {}
            _ => return Login::Bad,
        }
        match account.tfa.iter().any(|factor| factor.enable) {
            true => Login::SecondFactor(user.to_owned()),
            false => Login::Good(user.to_owned()),
        }
    }

    /// Who an API token `user@realm!name=secret` is, if it is good.
    pub fn token_owner(&self, text: &str, now: u64) -> Option<Who> {
        let (id, secret) = text.split_once('=')?;
        let (user, name) = id.split_once('!')?;
        let token = self.active_user(user, now)?.tokens.get(name)?;
        let good = token.secret.expose_secret() == secret && (token.expire == 0 || token.expire > now);
        good.then(|| Who { user: user.to_owned(), token: Some(name.to_owned()) })
    }
}

/// Whether the code is one of the user's at this time; the steps before and after count too.
fn totp_is_good(user: &User, code: &str, now: u64) -> bool {
    let good = |secret: &SecretString| -> Option<bool> {
        let bytes = Secret::Encoded(secret.expose_secret().to_owned()).to_bytes().ok()?;
        let totp = TOTP::new_unchecked(Algorithm::SHA1, 6, 1, 30, bytes);
        Some(totp.check(code, now))
    };
    user.tfa.iter().filter(|factor| factor.enable).any(|factor| good(&factor.secret).unwrap_or(false))
}
