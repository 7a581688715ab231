//! Credentials of one cluster: an API token in any of its spellings, or a password login.

use std::fmt;

use secrecy::SecretString;

use super::{
    sources::{Found, Lookup},
    table,
};
use crate::error::{Error, Result};

/// How to log in.
#[derive(Debug, Clone)]
pub enum Auth {
    Token {
        id: TokenId,
        secret: SecretString,
    },
    Password {
        /// `user@realm`.
        username: String,
        password: SecretString,
        /// Base32, in capitals and without padding.
        totp: Option<SecretString>,
    },
}

/// The public half of an API token. Shown as `user@realm!name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenId {
    /// `user@realm`.
    pub user: String,
    pub name: String,
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}!{}", self.user, self.name)
    }
}

/// The realm of a user that is named without one: where root is.
const DEFAULT_REALM: &str = "pam";
const TOKEN_FORM: &str = "user@realm!name (such as mcp@pve!mcp)";
const USER_FORM: &str = "user@realm (such as root@pam)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Token,
    Password,
}

/// Everything about credentials that was given.
struct Given {
    id: Option<Found>,
    secret: Option<Found>,
    whole: Option<Found>,
    user: Option<Found>,
    password: Option<Found>,
}

impl Given {
    /// A user that is in fact a whole token id.
    fn user_is_token(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.text().contains('!'))
    }

    /// Whether the all-in-one form is meant: it comes from a stronger source, or the two-part form is not complete.
    fn whole_is_meant(&self) -> bool {
        match (&self.whole, &self.secret) {
            (Some(whole), Some(secret)) => whole.origin < secret.origin || (self.id.is_none() && !self.user_is_token()),
            (whole, _) => whole.is_some(),
        }
    }

    /// Of what is complete enough to be tried: what comes from the stronger source; the token where both come from one.
    fn method(&self) -> Method {
        let token = if self.whole_is_meant() { self.whole.as_ref() } else { self.secret.as_ref() };
        match (token, &self.password) {
            (Some(token), Some(password)) if password.origin < token.origin => Method::Password,
            (None, Some(_)) => Method::Password,
            _ => Method::Token,
        }
    }
}

pub(super) fn auth(lookup: &mut Lookup<'_>) -> Result<Auth> {
    let chosen = lookup.parsed(&table::AUTH_METHOD, "token or password", None, |text| {
        match text.to_ascii_lowercase().as_str() {
            "token" => Some(Some(Method::Token)),
            "password" => Some(Some(Method::Password)),
            _ => None,
        }
    })?;
    let given = Given {
        id: lookup.find(&table::TOKEN_ID)?,
        secret: lookup.find(&table::TOKEN_SECRET)?,
        whole: lookup.find(&table::TOKEN)?,
        user: lookup.find(&table::USER)?,
        password: lookup.find(&table::PASSWORD)?,
    };
    match chosen.unwrap_or_else(|| given.method()) {
        Method::Token if given.whole_is_meant() => whole_token(lookup, &given),
        Method::Token => token(lookup, &given, chosen.is_some()),
        Method::Password => {
            if chosen.is_none()
                && let Some(unused) = given.id.as_ref().or(given.whole.as_ref())
            {
                lookup.warnings.push(format!("{} is not used: the password login is", unused.name()));
            }
            password(lookup, &given)
        }
    }
}

fn whole_token(lookup: &mut Lookup<'_>, given: &Given) -> Result<Auth> {
    let Some(whole) = &given.whole else {
        return Err(Error::internal("no token in one piece"));
    };
    let wrong = || whole.bad("user@realm!name=secret");
    let text = whole.text().trim();
    let text = text.strip_prefix("PVEAPIToken=").unwrap_or(text);
    let (id, secret) = text.split_once('=').ok_or_else(wrong)?;
    let id = full_id(id).ok_or_else(wrong)?;
    if !is_secret(secret) {
        return Err(wrong());
    }
    note_unused_password(lookup, given);
    lookup.used(whole);
    Ok(Auth::Token { id, secret: secret.into() })
}

fn token(lookup: &mut Lookup<'_>, given: &Given, chosen: bool) -> Result<Auth> {
    let Some(secret) = &given.secret else {
        return Err(missing_token(lookup, given, chosen));
    };
    let id = token_id(lookup, given, secret)?;
    let text = secret.text().trim();
    if !is_secret(text) {
        return Err(secret.bad("the token's secret alone, without spaces and without user@realm!name="));
    }
    note_unused_password(lookup, given);
    lookup.used(secret);
    Ok(Auth::Token { id, secret: text.into() })
}

fn token_id(lookup: &mut Lookup<'_>, given: &Given, secret: &Found) -> Result<TokenId> {
    let user_name = lookup.name_of(&table::USER);
    match (&given.id, &given.user) {
        (Some(id), _) if id.text().contains('!') => {
            let parsed = full_id(id.text()).ok_or_else(|| id.bad(TOKEN_FORM))?;
            lookup.used(id);
            Ok(parsed)
        }
        (Some(id), Some(user)) => {
            if !is_name(id.text()) {
                return Err(id.bad(TOKEN_FORM));
            }
            let owner = user.text().split('!').next().unwrap_or_default();
            let owner = with_realm(owner).ok_or_else(|| user.bad(USER_FORM))?;
            lookup.used(id);
            lookup.used(user);
            Ok(TokenId { user: owner, name: id.text().to_owned() })
        }
        (Some(id), None) => Err(id.bad(&format!("{TOKEN_FORM}, or {user_name} beside a bare name"))),
        (None, Some(user)) if user.text().contains('!') => {
            let parsed = full_id(user.text()).ok_or_else(|| user.bad(TOKEN_FORM))?;
            lookup.used(user);
            Ok(parsed)
        }
        (None, _) => Err(Error::bad_setting(format!(
            "{} is not set: expected the token that {} belongs to, as {TOKEN_FORM}",
            lookup.name_of(&table::TOKEN_ID),
            secret.name()
        ))),
    }
}

fn missing_token(lookup: &Lookup<'_>, given: &Given, chosen: bool) -> Error {
    let id_name = lookup.name_of(&table::TOKEN_ID);
    let secret_name = lookup.name_of(&table::TOKEN_SECRET);
    let user_name = lookup.name_of(&table::USER);
    let password_name = lookup.name_of(&table::PASSWORD);
    Error::bad_setting(if let Some(id) = &given.id {
        format!("{secret_name} is not set: expected the secret of the API token in {}", id.name())
    } else if chosen {
        format!(
            "{id_name} is not set: expected {TOKEN_FORM}, with {secret_name}, since {} is token",
            lookup.name_of(&table::AUTH_METHOD)
        )
    } else if let Some(user) = &given.user {
        format!(
            "{secret_name} is not set: expected the secret of an API token of {} (or {password_name} for a password login)",
            user.name()
        )
    } else {
        format!(
            "{id_name} is not set: expected an API token as {TOKEN_FORM}, with {secret_name} (or {user_name} and {password_name})"
        )
    })
}

fn password(lookup: &mut Lookup<'_>, given: &Given) -> Result<Auth> {
    let Some(password) = &given.password else {
        return Err(Error::bad_setting(format!(
            "{} is not set: expected the password to log in with, since {} is password",
            lookup.name_of(&table::PASSWORD),
            lookup.name_of(&table::AUTH_METHOD)
        )));
    };
    let Some(user) = &given.user else {
        return Err(Error::bad_setting(format!(
            "{} is not set: expected the user that {} belongs to, as {USER_FORM}",
            lookup.name_of(&table::USER),
            password.name()
        )));
    };
    let username = with_realm(user.text()).ok_or_else(|| user.bad(USER_FORM))?;
    lookup.used(user);
    lookup.used(password);
    let totp = match lookup.find(&table::TOTP_SECRET)? {
        None => None,
        Some(found) => {
            let secret =
                base32(found.text()).ok_or_else(|| found.bad("base32 (A-Z and 2-7), as Proxmox VE shows it"))?;
            lookup.used(&found);
            Some(secret)
        }
    };
    Ok(Auth::Password { username, password: password.text().into(), totp })
}

fn note_unused_password(lookup: &mut Lookup<'_>, given: &Given) {
    if let Some(password) = &given.password {
        lookup.warnings.push(format!("{} is not used: the API token is", password.name()));
    }
}

/// `user@realm!name`.
fn full_id(text: &str) -> Option<TokenId> {
    let (user, name) = text.split_once('!')?;
    (is_user(user) && is_name(name)).then(|| TokenId { user: user.to_owned(), name: name.to_owned() })
}

fn with_realm(user: &str) -> Option<String> {
    let user = if user.contains('@') { user.to_owned() } else { format!("{user}@{DEFAULT_REALM}") };
    is_user(&user).then_some(user)
}

/// PVE's own rule for `user@realm`: no space, colon or slash in the user; the realm is what follows the last `@`.
fn is_user(text: &str) -> bool {
    let Some((user, realm)) = text.rsplit_once('@') else { return false };
    let allowed = |c: char| !c.is_whitespace() && !matches!(c, ':' | '/' | '!' | '<' | '>') && !c.is_control();
    !user.is_empty() && user.chars().all(allowed) && is_name(realm)
}

/// PVE's own rule for the names of tokens and realms.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// Something that can stand in a header, and is not a whole token.
fn is_secret(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '!')
}

/// In capitals, without the spaces and padding that it is often shown with.
fn base32(text: &str) -> Option<SecretString> {
    let compact: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '='))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let alphabet = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
    if compact.is_empty() || !compact.chars().all(alphabet) {
        return None;
    }
    totp_rs::Secret::Encoded(compact.clone()).to_bytes().ok().filter(|bytes| !bytes.is_empty())?;
    Some(compact.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn token_ids_follow_the_rules_of_proxmox() {
        for good in ["root@pam!mcp", "mcp@pve!a.b-c_d", "john@corp.example@ad!x1"] {
            assert_eq!(full_id(good).map(|id| id.to_string()).as_deref(), Some(good));
        }
        for bad in
            ["root!mcp", "root@pam", "root@pam!", "@pam!x", "ro ot@pam!x", "root@pam!1x", "<USER>@<REALM>!<TOKEN_ID>"]
        {
            assert_eq!(full_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn base32_is_normalised() {
        let read = |text| base32(text).map(|secret| secret.expose_secret().to_owned());
        assert_eq!(read("jbsw y3dp ehpk 3pxp====").as_deref(), Some("JBSWY3DPEHPK3PXP"));
        for bad in ["", "====", "JBSW1", "jbsw0", "ümlaut"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
