//! What the Proxmox VE API accepts: every method's path, parameters and permissions, from the table of facts that is
//! built into the program, and the check of parameters against them in Proxmox's own words. Knows nothing of what the
//! methods do.

mod before_9;
mod format;
mod option;
mod permission;
mod property;
mod roles;
mod table;
mod validate;

use std::{collections::BTreeMap, sync::Arc};

use http::Method;

pub use before_9::{Before, before_9};
pub use option::option_privilege;
pub use permission::{Access, Permission};
pub use property::{Format, FormatUse, Kind, Property, Rule, Shape};
pub use roles::{BUILT_IN, PRIVILEGES};
pub use table::Api;
pub use validate::{Checked, Given, Params, parse_property_string};

/// One method of the API.
#[derive(Debug)]
pub struct Endpoint {
    pub method: Method,
    /// With its parameters in braces: `/nodes/{node}/qemu/{vmid}/config`.
    pub path: &'static str,
    /// The method's name in Proxmox's source, such as `vm_config`.
    pub name: &'static str,
    /// In the table's order; a name occurs more than once where its definition depends on another parameter.
    pub params: Vec<(&'static str, Arc<Property>)>,
    /// Unknown parameters are accepted.
    pub open: bool,
    /// API tokens may call it; if not, Proxmox answers 403.
    pub allow_token: bool,
    /// Runs in `pvedaemon` as root.
    pub protected: bool,
    /// The parameter that names the node which answers.
    pub proxy_to: Option<&'static str>,
    pub access: Access,
    /// Worker type and worker id of the tasks it may start.
    pub tasks: Vec<(&'static str, &'static str)>,
}

impl Endpoint {
    /// The definition of a parameter, whose name may be a numbered one: `net0` is found as `net[n]`.
    pub fn param(&self, name: &str) -> Option<&Arc<Property>> {
        self.params.iter().find(|(known, _)| property::names(known, name)).map(|(_, property)| property)
    }

    /// The names of all parameters, `net[n]` standing for `net0`, `net1` ….
    pub fn param_names(&self) -> impl Iterator<Item = &'static str> {
        self.params.iter().map(|(name, _)| *name)
    }

    /// The path parameters in `path`, which has to be one that [`Api::lookup`] found this method by.
    fn path_params(&self, path: &str) -> BTreeMap<&'static str, String> {
        let mut given = path.split('/').filter(|s| !s.is_empty());
        let mut out = BTreeMap::new();
        for segment in self.path.split('/').filter(|s| !s.is_empty()) {
            let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
                given.next();
                continue;
            };
            let value = if table::takes_the_rest(segment) {
                given.by_ref().collect::<Vec<_>>().join("/")
            } else {
                given.next().unwrap_or_default().to_owned()
            };
            out.insert(name, value);
        }
        out
    }
}
