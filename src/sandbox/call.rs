//! One request after it was understood: who asks, for what, with which parameters.

use std::sync::Arc;

use super::{Sandbox, access::Who, faults::FaultKind, params::split_list, wire::Refusal};
use crate::pve::api::{Checked, Endpoint};

/// What a handler is given.
pub struct Call {
    pub sandbox: Sandbox,
    pub who: Who,
    /// The facts of the method.
    pub endpoint: Arc<Endpoint>,
    /// The parameters of path, query and body, checked against the API's schema.
    pub params: Checked,
    /// The faults that befall this call, for its tasks and locks.
    pub faults: Arc<[FaultKind]>,
}

impl Call {
    /// The value of a parameter (of the path or not); the first, where there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }
    /// A required parameter; empty where it is missing, which the schema has refused before.
    pub fn text(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }
    pub fn flag(&self, name: &str) -> bool {
        self.params.flag(name)
    }
    pub fn int(&self, name: &str) -> Option<i64> {
        self.params.int(name)
    }
    /// A `-list` parameter, taken apart.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).map(|text| split_list(text).collect()).unwrap_or_default()
    }
    pub fn node(&self) -> &str {
        self.text("node")
    }
    /// The VMID of the path; 0 where the path has none.
    pub fn vmid(&self) -> u32 {
        self.int("vmid").and_then(|vmid| vmid.try_into().ok()).unwrap_or_default()
    }
    /// Simulated Unix time.
    pub fn now(&self) -> u64 {
        self.sandbox.clock().now()
    }

    /// # Errors
    /// 403 where the caller lacks any of the privileges; it names the first that is missing.
    pub fn check(&self, path: &str, privileges: &[&str]) -> Result<(), Refusal> {
        self.sandbox.state().check(&self.who, path, privileges)
    }
}
