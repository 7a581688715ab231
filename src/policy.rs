//! The only yes/no: whether a request may change the cluster. Nobody else can make an [`Approved`] request, and the
//! client sends nothing but GETs without one. What is asked is the request about to leave, whatever tool made it.

mod exec;
mod facts;
mod grant;
mod guard;
pub mod reach;
pub mod rules;
mod settings;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::{
    facts::Facts,
    grant::Grant,
    reach::Reach,
    settings::{Bounds, Exec, Mode, Settings},
};
use crate::{
    error::{Error, Kind, Result},
    pve::{Request, Upid},
};

/// What a tool, or a single request, does to the cluster. One per tool: hints, listing, confirmation and documents
/// derive from it. Ordered from harmless to destructive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Reads only.
    Read,
    /// Changes something, without losing data.
    Write,
    /// Deletes or overwrites something.
    Destroy,
    /// Runs in a guest what it is told to: whatever that does.
    Execute,
}

/// What the operator allows.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    settings: Settings,
    /// The mode is one caller's, not the whole server's.
    granted: bool,
}

/// A request that the policy let through. Only [`Policy::approve`] makes one.
#[derive(Debug)]
pub struct Approved(Request);

impl Approved {
    pub fn request(&self) -> &Request {
        &self.0
    }

    /// The same request, held to another state of what it changes: that is nothing for a policy to judge.
    pub fn with_digest(&self, digest: &str) -> Self {
        let mut request = self.0.clone();
        request.params.retain(|(key, _)| key != "digest");
        Self(request.param("digest", digest))
    }
}

/// A refusal, with the rule that it comes from.
fn denied(message: impl Into<String>) -> Error {
    Error::new(Kind::Denied, message)
}

/// The hint to every refusal: it is not for the caller to change.
const OPERATOR: &str = "a rule of this server's operator: nothing was sent, and no other way of asking changes it";

impl Policy {
    pub fn new(settings: Settings) -> Self {
        Self { settings, granted: false }
    }

    /// What is left of it for somebody with this grant: never more.
    pub fn within(&self, grant: &Grant) -> Self {
        let mut settings = self.settings.clone();
        let granted = grant.mode.is_some_and(|mode| mode < settings.mode);
        settings.mode = grant.mode.map_or(settings.mode, |mode| mode.min(settings.mode));
        settings.tools = grant.tools.within(&settings.tools);
        Self { settings, granted: granted || self.granted }
    }

    /// Whether a model is told of this tool.
    pub fn lists(&self, name: &str, effect: Effect, api: &[&str]) -> bool {
        self.settings.tools.lists(name) && self.allows_tool(name, effect, api).is_ok()
    }

    /// Whether this tool may be used; `api` as it declares it.
    ///
    /// # Errors
    /// `Denied` with the setting that forbids it, or would allow it.
    pub fn allows_tool(&self, name: &str, effect: Effect, api: &[&str]) -> Result<()> {
        if let Some(setting) = self.settings.tools.refuses(name) {
            return Err(denied(format!("{name} is not among the tools of this server ({setting})")).hint(OPERATOR));
        }
        if effect > Effect::Read && !self.settings.api_write && api.iter().any(|pattern| pattern.ends_with(" *")) {
            return Err(denied(format!("{name} is switched off"))
                .hint("the operator of this server can allow it with PROXMOX_API_WRITE=true"));
        }
        self.allows(name, effect)
    }

    /// Whether the mode lets anything of this effect pass; `what` names it in the refusal.
    fn allows(&self, what: &str, effect: Effect) -> Result<()> {
        let mode = self.settings.mode;
        let refused = match (mode, effect) {
            (Mode::Full, _) | (_, Effect::Read) | (Mode::NoDelete, Effect::Write) => false,
            (Mode::NoDelete, Effect::Execute) => return self.allows_commands(what),
            (Mode::ReadOnly, _) | (Mode::NoDelete, Effect::Destroy) => true,
        };
        match (refused, effect) {
            (true, _) => {
                let rule = if self.granted { "the mode of this caller is " } else { "PROXMOX_MODE=" };
                Err(denied(format!("{what} is refused: {rule}{}", mode.name())).hint(OPERATOR))
            }
            (false, Effect::Execute) => self.allows_commands(what),
            (false, _) => Ok(()),
        }
    }

    /// Whether any command may be run at all.
    fn allows_commands(&self, what: &str) -> Result<()> {
        if let Exec::Allowed(_) = self.settings.exec {
            return Ok(());
        }
        match exec::refuses(&self.settings.exec, self.settings.mode, None) {
            Some(why) => Err(denied(format!("{what} is refused: {why}")).hint(OPERATOR)),
            None => Ok(()),
        }
    }

    /// Whether the rules ask for more of a guest than its own configuration tells.
    pub fn asks_for_pools(&self) -> bool {
        self.settings.allowed.name_pools() || self.settings.protected.name_pools()
    }

    /// Approves what a tool is going to send: judged by the stricter of the tool's effect and each request's own, so that a
    /// DELETE is destructive whatever tool built it, and by what the requests touch. `facts` are of just these requests.
    ///
    /// # Errors
    /// `Denied` with the rule that forbids it.
    pub fn approve(&self, tool: Effect, requests: &[Request], facts: &Facts) -> Result<Vec<Approved>> {
        for request in requests {
            self.allows(&request.to_string(), tool)?;
            self.allows(&request.to_string(), request.effect())?;
        }
        guard::check(&self.settings, &Reach::of(requests), facts)?;
        Ok(requests.iter().cloned().map(Approved).collect())
    }

    /// Approves that a task is stopped because the call that began it was given up. It is not judged as the DELETE that it
    /// is: what the task does was approved when it began, and stopping it takes away nothing that was there before. So it
    /// passes wherever anything may be changed; for tasks of other calls there is a tool, which is judged like any.
    ///
    /// # Errors
    /// `Denied` in the mode read-only, and while changes are frozen.
    pub fn approve_abort(&self, upid: &Upid) -> Result<Approved> {
        let request = Request::delete(upid.path());
        self.allows(&request.to_string(), Effect::Write)?;
        self.not_frozen()?;
        Ok(Approved(request))
    }

    /// Approves what takes back what a call has made itself, should it not come to its end. Deletions of what was not there
    /// before the call lose nothing, so they pass in the mode no-delete, unconfirmed; anything else is not approved this way.
    ///
    /// # Errors
    /// `Denied` in the mode read-only, `Internal` for what `requests` do not make.
    pub fn approve_back(&self, requests: &[Request], back: &[Request]) -> Result<Vec<Approved>> {
        let (does, undoes) = (Reach::of(requests), Reach::of(back));
        let foreign = |what: String| {
            Err(Error::internal(format!("{what} is not of this call's making: it would not be taken back"))
                .hint("a fault in this program: nothing was sent"))
        };
        for request in back {
            self.allows(&request.to_string(), Effect::Write)?;
            let reach = Reach::of(std::slice::from_ref(request));
            let destroys = request.effect() == Effect::Destroy;
            let known = |vmid: &u32| does.made.contains_key(vmid) || (!destroys && does.guests.contains_key(vmid));
            if let Some(vmid) = reach.guests.keys().find(|vmid| !known(vmid)) {
                return foreign(format!("guest {vmid} ({request})"));
            }
            if destroys && reach.guests.is_empty() && !requests.iter().any(|made| made.fetches(request)) {
                return foreign(request.to_string());
            }
        }
        match undoes.storages.iter().find(|storage| !does.storages.contains(*storage)) {
            Some(storage) => foreign(format!("storage {storage}")),
            None => Ok(back.iter().cloned().map(Approved).collect()),
        }
    }

    /// Whether nothing is to be changed just now: asked before a plan is shown for confirmation, and before each request.
    ///
    /// # Errors
    /// `Denied` while the file is there.
    pub fn not_frozen(&self) -> Result<()> {
        match &self.settings.freeze {
            Some(file) if file.symlink_metadata().is_ok() => {
                Err(denied(format!("changes are frozen: {} exists (PROXMOX_FREEZE_FILE)", file.display()))
                    .hint("reading and dry runs go on; the operator takes the file away to allow changes again"))
            }
            _ => Ok(()),
        }
    }
}
