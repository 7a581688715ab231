//! Which resources there are: one table that says of each how its URI is made, which reading tool answers it, and what of
//! the answer is noise for those who watch it. Reads nothing itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{call::App, policy::Effect, tool_names, tools};

/// The scheme of every URI.
const SCHEME: &str = "proxmox://";
/// The URI of the tools' list.
pub const TOOLS_URI: &str = "proxmox://tools";
/// The template of a tool's reference.
pub const TOOL_TEMPLATE: &str = "proxmox://tools/{name}";
/// Where a cluster's name would stand: the reference of the tools. A cluster may have this name all the same, because
/// nothing below it begins as tools do.
const TOOLS: &str = "tools";
/// What the name of every tool begins with.
const TOOL_PREFIX: &str = "proxmox-";
/// Stands for the cluster in the templates where there are several.
pub const CLUSTER: &str = "cluster";

/// What of a tool's result a resource shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The whole, as JSON.
    Whole,
    /// One field of it, as JSON.
    Field(&'static str),
    /// Its `lines`, as text.
    Lines,
}

/// A kind of resource of a cluster.
#[derive(Debug)]
pub struct Kind {
    /// Below `proxmox://CLUSTER/`. The variables are arguments of the tool.
    pub path: &'static str,
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    /// 0 to 1: how much of it belongs into a model's context.
    pub priority: f32,
    /// The tools that read it: the first, or where that says it is none of its, the next.
    pub tools: &'static [&'static str],
    pub show: Show,
    /// What changes all the time and is no news: paths into the result, with `*` for every row.
    pub noise: &'static [&'static str],
    /// What is news only when it changes by a whole.
    pub coarse: &'static [&'static str],
}

pub const KINDS: &[Kind] = &[
    Kind {
        path: "overview",
        name: "overview",
        title: "Cluster at a glance",
        description: "Nodes with load, guests by state, storages with room, quorum.",
        priority: 0.9,
        tools: &["proxmox-list-infrastructure"],
        show: Show::Whole,
        noise: &["nodes/*/cpu_percent", "nodes/*/mem_gib", "nodes/*/uptime_s"],
        coarse: &["storages/*/used_percent"],
    },
    Kind {
        path: "nodes",
        name: "nodes",
        title: "Nodes",
        description: "Every node with state, load and memory.",
        priority: 0.7,
        tools: &["proxmox-list-nodes"],
        show: Show::Whole,
        noise: &["nodes/*/cpu_percent", "nodes/*/mem_mib", "nodes/*/disk_gib", "nodes/*/uptime_s"],
        coarse: &[],
    },
    Kind {
        path: "node/{node}",
        name: "node",
        title: "Node",
        description: "One node: load, memory, root file system, CPU, kernel, Proxmox version.",
        priority: 0.6,
        tools: &["proxmox-node-status"],
        show: Show::Whole,
        noise: &[
            "uptime_s",
            "cpu_percent",
            "io_wait_percent",
            "loadavg",
            "memory/used_gib",
            "memory/avail_gib",
            "swap/used_gib",
            "swap/avail_gib",
            "rootfs/used_gib",
            "rootfs/avail_gib",
        ],
        coarse: &[],
    },
    Kind {
        path: "guest/{vmid}",
        name: "guest",
        title: "Guest",
        description: "A VM or container by VMID: state, use, HA, configuration.",
        priority: 0.8,
        tools: &["proxmox-vm-info", "proxmox-lxc-info"],
        show: Show::Whole,
        // The process stays: a new one is a reboot.
        noise: &[
            "current/uptime_s",
            "current/cpu_percent",
            "current/mem_mib",
            "current/disk_gib",
            "current/netin_mib",
            "current/netout_mib",
        ],
        coarse: &[],
    },
    Kind {
        path: "guest/{vmid}/config",
        name: "guest-config",
        title: "Configuration of a guest",
        description: "The configuration alone, as Proxmox has it, pending changes included.",
        priority: 0.6,
        tools: &["proxmox-vm-info", "proxmox-lxc-info"],
        show: Show::Field("config"),
        noise: &[],
        coarse: &[],
    },
    Kind {
        path: "task/{upid}/log",
        name: "task-log",
        title: "Log of a task",
        description: "What a running or ended task has printed, by UPID: its last 5000 lines.",
        priority: 0.4,
        tools: &["proxmox-task-log"],
        show: Show::Lines,
        noise: &[],
        coarse: &[],
    },
    Kind {
        path: "storage/{node}/{storage}",
        name: "storage",
        title: "Storage",
        description: "One storage as a node sees it: state, room, content kinds, configuration.",
        priority: 0.5,
        tools: &["proxmox-storage-status"],
        show: Show::Whole,
        noise: &["used_gib", "available_gib"],
        coarse: &["used_percent"],
    },
];

impl Kind {
    /// Its variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(variable)
    }

    pub fn mime_type(&self) -> &'static str {
        if self.show == Show::Lines { "text/plain" } else { "application/json" }
    }

    /// `proxmox://CLUSTER/…`, with the variables as they stand in the table.
    pub fn uri(&self, cluster: &str) -> String {
        format!("{SCHEME}{cluster}/{}", self.path)
    }

    /// Whether at least one of its tools may be used here.
    pub fn is_allowed(&self, app: &App) -> bool {
        self.tools.iter().any(|tool| may_use(app, tool))
    }
}

/// Whether the policy lets this reading tool be used.
pub fn may_use(app: &App, tool: &str) -> bool {
    tools::all().any(|e| {
        e.name == tool && e.effect == Effect::Read && app.policy().allows_tool(e.name, e.effect, e.api).is_ok()
    })
}

fn variable(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// What a URI names.
#[derive(Debug, Clone)]
pub enum Target {
    /// The list of the tools.
    Tools,
    /// One tool's reference.
    Tool(String),
    /// Something of a cluster.
    Cluster { cluster: String, kind: &'static Kind, values: BTreeMap<&'static str, String> },
}

impl Target {
    /// What is meant; nothing where no resource has such a URI. Whether it is there is not asked.
    pub fn parse(app: &App, uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix(SCHEME)?;
        if uri == TOOLS_URI {
            return Some(Self::Tools);
        }
        let (cluster, path) = rest.split_once('/')?;
        if cluster == TOOLS && (path.starts_with(TOOL_PREFIX) || tool_names::knows(app, path)) {
            return Some(Self::Tool(path.to_owned()));
        }
        if !app.names().contains(&cluster) {
            return None;
        }
        let given: Vec<&str> = path.split('/').collect();
        KINDS.iter().find_map(|kind| {
            let values = matched(kind.path, &given)?;
            Some(Self::Cluster { cluster: cluster.to_owned(), kind, values })
        })
    }

    /// The arguments of the tools that read it.
    pub fn arguments(&self, app: &App) -> Map<String, Value> {
        let Self::Cluster { cluster, kind, values } = self else { return Map::new() };
        let mut args: Map<String, Value> = values
            .iter()
            .map(|(name, value)| {
                let number = value.parse::<u32>().ok().filter(|_| *name == "vmid");
                ((*name).to_owned(), number.map_or_else(|| json!(value), |number| json!(number)))
            })
            .collect();
        if kind.show == Show::Lines {
            args.insert("tail".to_owned(), json!(5000));
        }
        if app.names().len() > 1 {
            args.insert(CLUSTER.to_owned(), json!(cluster));
        }
        args
    }
}

/// The variables' values, if the path is of this form.
fn matched(form: &'static str, given: &[&str]) -> Option<BTreeMap<&'static str, String>> {
    let mut values = BTreeMap::new();
    let mut given = given.iter();
    for segment in form.split('/') {
        let given = *given.next()?;
        match variable(segment) {
            Some(name) => {
                let value = percent_encoding::percent_decode_str(given).decode_utf8().ok()?;
                // No name has a slash; a task's may, where it is about a volume.
                let is_name = !value.is_empty() && (name == "upid" || !value.contains('/'));
                is_name.then(|| values.insert(name, value.into_owned()))?;
            }
            None => (segment == given).then_some(())?,
        }
    }
    given.next().is_none().then_some(values)
}

/// The template, by the URI that clients give for it: with the cluster's name, or with the variable for it.
pub fn template(app: &App, uri: &str) -> Option<(Option<String>, &'static Kind)> {
    let (cluster, path) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let named = app.names().contains(&cluster).then(|| cluster.to_owned());
    (named.is_some() || variable(cluster) == Some(CLUSTER)).then_some(())?;
    Some((named, KINDS.iter().find(|kind| kind.path == path)?))
}
