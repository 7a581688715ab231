//! Access tokens of an issuer: whom they let in, and how much of the server's rights they carry. It issues none itself.

mod issuer;
mod metadata;
mod signatures;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use serde::Deserialize;
use tokio::time::Instant;

use self::issuer::Issuer;
pub use self::metadata::{challenge, routes};
use super::callers::{Caller, Common};
use crate::{
    config::{Limits, OAuth, Web},
    error::Result,
    policy::{Grant, Mode},
};

/// How a token may be signed: with a key that its issuer keeps to itself, which leaves out shared secrets and `none`.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// Seconds by which clocks may differ.
const LEEWAY: u64 = 30;
/// OpenID allows a subject this many characters.
const LONGEST_SUBJECT: usize = 255;
/// Callers that are remembered, with their conversations; beyond, the one that was away longest is forgotten.
const MOST_CALLERS: usize = 1000;

/// Why a token lets nobody in.
#[derive(Debug)]
pub enum Refused {
    /// It is not good.
    Bad(String),
    /// It is good, and allows nothing here.
    Lacking,
    /// Nobody can tell: the issuer's keys cannot be had.
    Unknown(String),
}

/// Callers by whose token it is and what it allows, with when they were here last.
type Seen = BTreeMap<(String, Mode), (Arc<Caller>, Instant)>;

/// Who comes with a token.
pub struct Tokens {
    oauth: OAuth,
    audiences: Vec<String>,
    issuer: Issuer,
    common: Arc<Common>,
    callers: Mutex<Seen>,
}

/// What a token says, as far as it matters here.
#[derive(Deserialize)]
struct Claims {
    // One text: a list of issuers would pass for each of them.
    #[serde(rename = "iss")]
    _iss: String,
    sub: Option<String>,
    client_id: Option<String>,
    #[serde(default)]
    scope: Scopes,
    #[serde(default)]
    scp: Scopes,
}

/// Separated by blanks, or in a list, as issuers like it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    Text(String),
    List(Vec<String>),
}

impl Default for Scopes {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Scopes {
    fn has(&self, scope: &str) -> bool {
        match self {
            Self::Text(text) => text.split_whitespace().any(|given| given == scope),
            Self::List(list) => list.iter().any(|given| given == scope),
        }
    }
}

impl Tokens {
    /// Contacts nobody.
    ///
    /// # Errors
    /// `BadSetting` for an issuer that cannot be asked safely.
    pub(super) fn new(oauth: &OAuth, common: &Arc<Common>) -> Result<Self> {
        signatures::install();
        let web: &Web = common.web();
        let Limits { refetch, .. } = web.limits;
        Ok(Self {
            audiences: metadata::audiences(web, oauth),
            issuer: Issuer::new(&oauth.issuer, refetch)?,
            oauth: oauth.clone(),
            common: Arc::clone(common),
            callers: Mutex::default(),
        })
    }

    /// Whoever comes with this token.
    pub(super) async fn admit(&self, token: &str) -> Result<Arc<Caller>, Refused> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| bad("what was shown is neither a key of this server nor an access token"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(bad("the access token is not signed with RS256, ES256 or EdDSA"));
        }
        if header.crit.is_some() {
            return Err(bad("the access token wants more of its reader than this server does"));
        }
        let claims = self.verify(token, &header).await?;
        let granted = self.oauth.scopes.iter().filter(|(scope, _)| claims.scope.has(scope) || claims.scp.has(scope));
        let Some(mode) = granted.map(|(_, mode)| *mode).max() else { return Err(Refused::Lacking) };
        match claims.sub.or(claims.client_id) {
            Some(who) if (1..=LONGEST_SUBJECT).contains(&who.len()) => Ok(self.caller(who, mode)),
            _ => Err(bad("the access token does not say whose it is")),
        }
    }

    async fn verify(&self, token: &str, header: &Header) -> Result<Claims, Refused> {
        let keys = self.issuer.keys(header.kid.as_deref(), header.alg).await.map_err(Refused::Unknown)?;
        if keys.is_empty() {
            return Err(bad("the access token is signed with a key that its issuer does not have"));
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.oauth.issuer]);
        validation.set_audience(&self.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let mut why = ErrorKind::InvalidSignature;
        for key in keys {
            match jsonwebtoken::decode(token, &key, &validation) {
                Ok(good) => return Ok(good.claims),
                Err(e) => why = e.into_kind(),
            }
            if !matches!(why, ErrorKind::InvalidSignature) {
                break;
            }
        }
        Err(Refused::Bad(self.in_words(&why)))
    }

    fn in_words(&self, why: &ErrorKind) -> String {
        match why {
            ErrorKind::InvalidSignature => "the access token's signature is not good".to_owned(),
            ErrorKind::ExpiredSignature => "the access token has expired".to_owned(),
            ErrorKind::ImmatureSignature => "the access token is not valid yet".to_owned(),
            ErrorKind::InvalidIssuer => format!("the access token is not from {}", self.oauth.issuer),
            ErrorKind::InvalidAudience => {
                format!("the access token is for somebody else: expected the audience {}", self.oauth.audience)
            }
            ErrorKind::MissingRequiredClaim(claim) => format!("the access token has no '{claim}'"),
            _ => "the access token cannot be understood".to_owned(),
        }
    }

    fn caller(&self, who: String, mode: Mode) -> Arc<Caller> {
        let now = Instant::now();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MOST_CALLERS
            && !callers.contains_key(&(who.clone(), mode))
            && let Some(longest) = callers.iter().min_by_key(|(_, (_, seen))| *seen).map(|(key, _)| key.clone())
            && let Some((gone, _)) = callers.remove(&longest)
        {
            gone.revoke();
        }
        let grant = Grant { mode: Some(mode), ..Grant::default() };
        let make = || (self.common.caller(&who, &grant), now);
        let (caller, seen) = callers.entry((who.clone(), mode)).or_insert_with(make);
        *seen = now;
        Arc::clone(caller)
    }
}

fn bad(why: &str) -> Refused {
    Refused::Bad(why.to_owned())
}
