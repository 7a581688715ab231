//! Who we are to Proxmox: an API token, or a login whose ticket is fetched when first needed, renewed before its two
//! hours are over, and once more when it is refused.

use std::{
    sync::{Arc, Mutex as Cell, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Request, encode,
    endpoints::{Endpoints, Outgoing, Payload},
    error, perl,
};
use crate::{
    config::Auth,
    error::{Error, Kind, Result},
    key::Key,
};

/// Renewed from this age on, while the old ticket (two hours) still serves everybody else.
const RENEW_AFTER: Duration = Duration::from_secs(90 * 60);
/// How long after a renewal that failed the next one is tried.
const RENEW_PAUSE: Duration = Duration::from_secs(60);
/// Not used beyond this age, whatever the server would say.
const EXPIRES_AFTER: Duration = Duration::from_secs(118 * 60);

/// The credentials of one cluster.
pub struct Credentials {
    auth: Auth,
    ticket: Cell<Option<Arc<Ticket>>>,
    /// Held while logging in, so that many calls make one login.
    login: Mutex<Logins>,
    limit: Duration,
}

#[derive(Default)]
struct Logins {
    /// How the last one failed, for those who waited for it.
    failed: Option<Error>,
    /// When the last renewal was tried.
    renewed: Option<Instant>,
    /// The TOTP step of the last code sent: Proxmox takes each code once.
    totp_step: u64,
}

/// What a login gave.
pub struct Ticket {
    cookie: HeaderValue,
    csrf: HeaderValue,
    /// To renew with, as a password.
    value: SecretString,
    made: Instant,
}

/// What goes with one request.
pub enum Pass {
    Token(HeaderValue),
    Ticket(Arc<Ticket>),
}

impl Pass {
    pub fn add_to(&self, headers: &mut HeaderMap, method: &Method) {
        match self {
            Self::Token(value) => drop(headers.insert(header::AUTHORIZATION, value.clone())),
            Self::Ticket(ticket) => {
                headers.insert(header::COOKIE, ticket.cookie.clone());
                if method != Method::GET {
                    headers.insert("csrfpreventiontoken", ticket.csrf.clone());
                }
            }
        }
    }
}

/// The answer of `POST /access/ticket`.
#[derive(Deserialize)]
struct Login {
    data: Option<LoginData>,
}

#[derive(Deserialize)]
struct LoginData {
    #[serde(deserialize_with = "secret")]
    ticket: SecretString,
    #[serde(rename = "CSRFPreventionToken", default)]
    csrf: String,
    #[serde(rename = "NeedTFA", default)]
    need_tfa: bool,
}

fn secret<'de, D: serde::Deserializer<'de>>(json: D) -> Result<SecretString, D::Error> {
    String::deserialize(json).map(SecretString::from)
}

impl Credentials {
    /// `limit`: the longest that a login may take.
    pub fn new(auth: Auth, limit: Duration) -> Self {
        Self { auth, ticket: Cell::new(None), login: Mutex::default(), limit }
    }

    /// `user@realm` or `user@realm!token`.
    pub fn who(&self) -> String {
        match &self.auth {
            Auth::Token { id, .. } => id.to_string(),
            Auth::Password { username, .. } => username.clone(),
        }
    }

    pub fn is_token(&self) -> bool {
        matches!(self.auth, Auth::Token { .. })
    }

    /// A key that only those have who have these credentials.
    pub fn key(&self) -> Key {
        match &self.auth {
            Auth::Token { secret, .. } => Key::new(secret),
            Auth::Password { password, .. } => Key::new(password),
        }
    }

    /// What to send with a request; logs in first where there is no usable ticket. A ticket that is only getting old
    /// still serves, and is renewed behind the calls' backs.
    ///
    /// # Errors
    /// Whatever the login failed with.
    pub async fn pass(self: &Arc<Self>, endpoints: &Arc<Endpoints>, deadline: Instant) -> Result<Pass> {
        if let Auth::Token { id, secret } = &self.auth {
            return sensitive(&format!("PVEAPIToken={id}={}", secret.expose_secret())).map(Pass::Token);
        }
        let ticket = self.ticket();
        if let Some(ticket) = &ticket {
            let age = ticket.made.elapsed();
            if age >= RENEW_AFTER && age < EXPIRES_AFTER {
                tokio::spawn(self.clone().renew(ticket.clone(), endpoints.clone()));
            }
            if age < EXPIRES_AFTER {
                return Ok(Pass::Ticket(ticket.clone()));
            }
        }
        self.log_in_again(ticket, endpoints, deadline).await.map(Pass::Ticket)
    }

    /// After a 401: another ticket than the one that was refused, or `None` for a token, which nothing can renew.
    ///
    /// # Errors
    /// Whatever the login failed with.
    pub async fn replace(&self, refused: &Pass, endpoints: &Endpoints, deadline: Instant) -> Result<Option<Pass>> {
        let Pass::Ticket(refused) = refused else { return Ok(None) };
        let ticket = self.log_in_again(Some(refused.clone()), endpoints, deadline).await?;
        Ok(Some(Pass::Ticket(ticket)))
    }

    fn ticket(&self) -> Option<Arc<Ticket>> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, ticket: Ticket) -> Arc<Ticket> {
        let ticket = Arc::new(ticket);
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket.clone());
        ticket
    }

    /// One login for all who wait: whoever finds that another has logged in (or failed to) since takes that outcome.
    async fn log_in_again(
        &self,
        unusable: Option<Arc<Ticket>>,
        endpoints: &Endpoints,
        deadline: Instant,
    ) -> Result<Arc<Ticket>> {
        let others_were_at_it = self.login.try_lock().is_err();
        let Ok(mut logins) = tokio::time::timeout_at(deadline, self.login.lock()).await else {
            return Err(Error::new(Kind::Timeout, "the login to Proxmox, begun by another call, takes too long"));
        };
        if let Some(ticket) = self.ticket()
            && unusable.as_ref().is_none_or(|unusable| !Arc::ptr_eq(unusable, &ticket))
        {
            return Ok(ticket);
        }
        if others_were_at_it && let Some(error) = &logins.failed {
            return Err(error.clone());
        }
        let outcome = self.log_in(&mut logins, endpoints, deadline).await;
        logins.failed = outcome.as_ref().err().cloned();
        outcome.map(|ticket| self.keep(ticket))
    }

    /// By the old ticket, which needs no second factor; otherwise by the password.
    async fn renew(self: Arc<Self>, old: Arc<Ticket>, endpoints: Arc<Endpoints>) {
        let Auth::Password { username, .. } = &self.auth else { return };
        let Ok(mut logins) = self.login.try_lock() else { return };
        let renewed_already = self.ticket().is_none_or(|now| !Arc::ptr_eq(&now, &old));
        if renewed_already || logins.renewed.is_some_and(|last| last.elapsed() < RENEW_PAUSE) {
            return;
        }
        logins.renewed = Some(Instant::now());
        let deadline = Instant::now() + self.limit;
        let ticket = match ask(&endpoints, deadline, login(username, old.value.expose_secret())).await {
            Ok(data) => made(data),
            Err(_) => self.log_in(&mut logins, &endpoints, deadline).await,
        };
        match ticket {
            Ok(ticket) => drop(self.keep(ticket)),
            Err(error) => tracing::warn!(%error, "the login to Proxmox could not be renewed yet"),
        }
    }

    async fn log_in(&self, logins: &mut Logins, endpoints: &Endpoints, deadline: Instant) -> Result<Ticket> {
        let Auth::Password { username, password, totp } = &self.auth else {
            return Err(Error::internal("a token needs no login"));
        };
        let first = ask(endpoints, deadline, login(username, password.expose_secret()))
            .await
            .map_err(|error| explained(error, username))?;
        if !first.need_tfa {
            return made(first);
        }
        let Some(secret) = totp else {
            return Err(Error::new(Kind::Unauthorized, format!("{username} needs a second factor to log in"))
                .hint("set PROXMOX_TOTP_SECRET to the secret behind the TOTP codes, or use an API token"));
        };
        let code = totp_code(secret, &mut logins.totp_step)?;
        let challenge = first.ticket.expose_secret();
        let second =
            ask(endpoints, deadline, login(username, &format!("totp:{code}")).secret("tfa-challenge", challenge)).await;
        second.and_then(made).map_err(|error| match error.kind() {
            Kind::Unauthorized => Error::new(error.kind(), format!("{username}: the TOTP code was not accepted"))
                .hint("is PROXMOX_TOTP_SECRET this user's, and are the clocks of this machine and the node right?"),
            _ => error,
        })
    }
}

fn sensitive(value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Error::bad_setting("the API token holds characters that cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn made(data: LoginData) -> Result<Ticket> {
    Ok(Ticket {
        cookie: sensitive(&format!("PVEAuthCookie={}", encode(data.ticket.expose_secret())))?,
        csrf: sensitive(&data.csrf)?,
        value: data.ticket,
        made: Instant::now(),
    })
}

fn login(username: &str, password: &str) -> Request {
    Request::post("/access/ticket").param("username", username).secret("password", password)
}

/// Sends one login. Repeated at the next endpoint on any failure: a login changes nothing.
async fn ask(endpoints: &Endpoints, deadline: Instant, request: Request) -> Result<LoginData> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let body = Payload::Whole(request.encoded().into());
    let out = Outgoing { method: Method::POST, target: request.path.clone(), headers, body };
    let answer = match endpoints.send(&out, deadline, true).await {
        Ok(answer) => answer,
        // As of a read: nobody need wonder whether it was done.
        Err(failure) => {
            let read = Request::get(request.path.clone());
            return Err(error::from_send(&read, failure).request(request.to_string()));
        }
    };
    if !answer.status().is_success() {
        return Err(error::from_answer(&request, &answer, "this user"));
    }
    match perl::from_slice::<Login>(answer.body()) {
        Ok(Login { data: Some(data) }) => Ok(data),
        // The body may hold a ticket: not shown.
        Ok(Login { data: None }) | Err(_) => {
            Err(Error::new(Kind::BadAnswer, "Proxmox's answer to the login holds no ticket")
                .request(request.to_string()))
        }
    }
}

fn explained(error: Error, username: &str) -> Error {
    if error.kind() != Kind::Unauthorized {
        return error;
    }
    let hint = match username.contains('@') {
        true => format!(
            "wrong password, or no such user: check PROXMOX_PASSWORD, and the realm of {username} (pam, pve, …)"
        ),
        false => format!("the user name lacks its realm: {username}@pam or {username}@pve"),
    };
    Error::new(Kind::Unauthorized, format!("Proxmox refuses the login of {username}: {error}")).status(401).hint(hint)
}

/// The present code, or the next one where the present one was sent already: Proxmox takes codes one step ahead.
fn totp_code(secret: &SecretString, last: &mut u64) -> Result<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = now.as_secs() / TOTP_STEP;
    let step = if *last == now { now + 1 } else { now.max(*last) };
    let code = totp_code_at(secret, step)?;
    *last = step;
    Ok(code)
}

/// Seconds for which a code is valid.
const TOTP_STEP: u64 = 30;

fn totp_code_at(secret: &SecretString, step: u64) -> Result<String> {
    let bad = || {
        Error::bad_setting("PROXMOX_TOTP_SECRET is not a TOTP secret")
            .hint("expected base32, as `oathtool -b` takes it")
    };
    let text: String = secret.expose_secret().chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    let text = text.trim_end_matches('=').to_ascii_uppercase();
    let key = totp_rs::Secret::Encoded(text).to_bytes().map_err(|_| bad())?;
    if key.is_empty() {
        return Err(bad());
    }
    let totp = totp_rs::TOTP::new_unchecked(totp_rs::Algorithm::SHA1, 6, 1, TOTP_STEP, key);
    Ok(totp.generate(step * TOTP_STEP))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B: the codes at 59 s and at 1,111,111,109 s.
        let secret = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq".into();
        assert_eq!(totp_code_at(&secret, 59 / 30).unwrap(), "287082");
        assert_eq!(totp_code_at(&secret, 1_111_111_109 / 30).unwrap(), "081804");
    }

    #[test]
    fn no_code_is_sent_twice() {
        let secret = "GEZDGNBVGY3TQOJQ".into();
        let mut last = 0;
        let first = totp_code(&secret, &mut last).unwrap();
        let step = last;
        let second = totp_code(&secret, &mut last).unwrap();
        assert!(last > step && first != second);
    }

    #[test]
    fn a_secret_that_is_none_names_the_setting_and_not_the_secret() {
        let error = totp_code_at(&"0189!".into(), 1).unwrap_err();
        assert!(error.to_string().contains("PROXMOX_TOTP_SECRET") && !error.to_string().contains("0189"), "{error}");
    }
}
