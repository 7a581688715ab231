//! Everybody who may come in, and what each may do: a [`Caller`] for each key and each subject of a token. What a caller may
//! do is its own [`App`]'s; what a request shows is read by `door.rs`.

use std::{
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    Health,
    keys::{self, ApiKey},
    oauth::Tokens,
    rate::Rate,
};
use crate::{
    call::App,
    config::{KeySource, Web},
    ending::Ending,
    error::{Error, Result},
    key::Key,
    mcp::Conversations,
    policy::Grant,
};

/// Somebody who was let in.
pub struct Caller {
    /// Its key's name, or what its token calls it.
    pub name: Option<String>,
    /// The tools, as far as this caller may use them.
    pub app: Arc<App>,
    pub mcp: Conversations,
    /// The end of its conversations, with the program or before.
    ending: Ending,
    revoked: CancellationToken,
    rate: Rate,
    places: Arc<Semaphore>,
}

impl Caller {
    fn new(name: Option<String>, app: Arc<App>, common: &Common) -> Arc<Self> {
        let Common { web, ending, .. } = common;
        let ending = Ending { begun: ending.begun.child_token(), calls: ending.calls.child_token() };
        // Who needs no key is nobody in particular: one could use up what is for all.
        let rate = if name.is_some() { web.limits.rate } else { 0 };
        Arc::new(Self {
            name,
            mcp: Conversations::new(Arc::clone(&app), web, &ending),
            app,
            ending,
            revoked: CancellationToken::new(),
            rate: Rate::new(rate),
            places: Arc::new(Semaphore::new(web.limits.calls)),
        })
    }

    /// Its key is no longer one: whatever it has under way ends.
    pub fn revoke(&self) {
        self.revoked.cancel();
        self.ending.begun.cancel();
        self.ending.calls.cancel();
    }

    /// Cancelled when calls that still run have to end.
    pub fn ended(&self) -> &CancellationToken {
        &self.ending.calls
    }

    /// Cancelled when the caller may no longer be here.
    pub fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }

    /// A place for one request.
    ///
    /// # Errors
    /// Which limit is reached, and how long to wait.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Full { limit: "PROXMOX_MCP_MAX_CALLS", wait: Duration::from_secs(1) })?;
        self.rate.pass().map_err(|wait| Full { limit: "PROXMOX_MCP_RATE", wait })?;
        Ok(place)
    }
}

/// A caller's limit is reached.
#[derive(Debug)]
pub struct Full {
    pub limit: &'static str,
    pub wait: Duration,
}

/// What all callers are made of.
pub(super) struct Common {
    app: Arc<App>,
    web: Web,
    ending: Ending,
}

impl Common {
    pub(super) fn web(&self) -> &Web {
        &self.web
    }

    /// A caller with a name, and with a part of the server's rights.
    pub(super) fn caller(&self, name: &str, grant: &Grant) -> Arc<Caller> {
        Caller::new(Some(name.to_owned()), Arc::new(self.app.for_caller(name, grant)), self)
    }
}

/// Everybody who may come in.
pub struct Callers {
    /// Where nobody has to show anything.
    pub(super) anybody: Option<Arc<Caller>>,
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) tokens: Option<Tokens>,
    health: Arc<Health>,
}

impl Callers {
    /// Follows the file of keys, where there is one, for as long as this lives; so it has to be called on a runtime.
    ///
    /// # Errors
    /// `BadSetting` for keys that cannot be read or understood.
    pub fn new(app: Arc<App>, web: &Web, ending: &Ending) -> Result<Self> {
        let common = Arc::new(Common { app: Arc::clone(&app), web: web.clone(), ending: ending.clone() });
        let keys = web.keys.as_ref().map(|_| Keys::load(&common)).transpose()?;
        if let (Some(keys), Some(KeySource::File(_))) = (&keys, &web.keys) {
            tokio::spawn(follow(Arc::downgrade(keys), web.limits.reread, ending.begun.clone()));
        }
        let tokens = web.oauth.as_ref().map(|oauth| Tokens::new(oauth, &common)).transpose()?;
        let open = keys.is_none() && tokens.is_none();
        let health = Arc::new(Health::new(Arc::clone(&app), ending));
        Ok(Self { anybody: open.then(|| Caller::new(None, app, &common)), keys, tokens, health })
    }

    /// Looks after what they all use.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }
}

/// Refuses to be open to other machines unless the operator wants just that.
///
/// # Errors
/// `BadSetting` with the address that is not this machine's alone.
pub fn refuse_unguarded(web: &Web) -> Result<()> {
    if web.keys.is_some() || web.oauth.is_some() || web.insecure_no_auth {
        return Ok(());
    }
    let Some((setting, address)) = web.exposed() else { return Ok(()) };
    let why = format!("{setting}: {address} can be reached from other machines, and nobody would need a key");
    Err(Error::bad_setting(why).hint(
        "set PROXMOX_MCP_API_KEY (`openssl rand -hex 32` makes a key), or let everybody in with --insecure-no-auth",
    ))
}

/// The keys, as they are now.
pub(super) struct Keys {
    common: Arc<Common>,
    /// Known to this process only: what is compared are hashes with it, which tell nothing of a key.
    hash: Key,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    keys: Vec<(ApiKey, [u8; 32], Arc<Caller>)>,
    /// Why they are not to be trusted: the file cannot be read, or not be understood.
    doubt: Option<String>,
}

/// The keys are not known at the moment.
pub(super) struct Doubt;

impl Keys {
    fn load(common: &Arc<Common>) -> Result<Arc<Self>> {
        let keys = Self { common: Arc::clone(common), hash: Key::random()?, known: RwLock::default() };
        keys.replace(keys::of(&common.web)?);
        Ok(Arc::new(keys))
    }

    fn digest(&self, secret: &str) -> [u8; 32] {
        self.hash.sign("api key", [secret.as_bytes()])
    }

    /// Those that are as they were keep their callers; those that are gone end.
    fn replace(&self, new: Vec<ApiKey>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut known.keys);
        for key in new {
            let same = old.iter().position(|(before, ..)| before.is(&key));
            known.keys.push(match same {
                Some(at) => old.swap_remove(at),
                None => {
                    let caller = self.common.caller(&key.name, &key.grant);
                    let digest = self.digest(key.secret.expose_secret());
                    (key, digest, caller)
                }
            });
        }
        known.doubt = None;
        for (key, _, caller) in old {
            tracing::info!("key {} is no longer valid", key.name);
            caller.revoke();
        }
    }

    /// Reads them again.
    fn refresh(&self) {
        let read = keys::of(&self.common.web);
        match read {
            Ok(new) => self.replace(new),
            Err(e) => {
                let why = e.to_string();
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                if known.doubt.as_ref() != Some(&why) {
                    tracing::error!("nobody is let in by a key until this is put right: {why}");
                    known.doubt = Some(why);
                }
            }
        }
    }

    /// Whose key this is. All are compared, and each in the same time, whatever they have in common.
    pub(super) fn find(&self, shown: &str) -> Result<Option<Arc<Caller>>, Doubt> {
        let shown = self.digest(shown);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.doubt.is_some() {
            return Err(Doubt);
        }
        let mut found = None;
        for (_, digest, caller) in &known.keys {
            if bool::from(digest.ct_eq(&shown)) {
                found = Some(caller);
            }
        }
        Ok(found.map(Arc::clone))
    }
}

async fn follow(keys: Weak<Keys>, every: Duration, end: CancellationToken) {
    while end.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        let Some(keys) = keys.upgrade() else { return };
        // A file system may take its time.
        drop(tokio::task::spawn_blocking(move || keys.refresh()).await);
    }
}
