//! What all calls share: the clusters, what the operator allows, the record of what was done, and the tools' schemas.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio_util::task::TaskTracker;

use crate::{
    audit::Audit,
    config::{Config, Safety},
    confirm::{Confirm, Mode},
    error::{Error, Result},
    journal::Journal,
    metrics::Metrics,
    policy::{Grant, Policy},
    pve::Client,
    router::Face,
    tool::Entry,
    tool_names::Names,
    tools,
};

/// One cluster and its client.
pub struct Cluster {
    pub name: String,
    pub client: Client,
}

/// The application behind every face, as one caller has it: [`App::for_caller`] makes another of the same clusters.
pub struct App {
    clusters: Arc<[Cluster]>,
    policy: Policy,
    confirm: Confirm,
    audit: Option<Audit>,
    /// Who calls, where this program has let them in by name.
    caller: Option<String>,
    /// Records of calls that do several things, where they are kept.
    journal: Option<Journal>,
    /// Work that goes on although its caller has gone: the way back.
    lasting: TaskTracker,
    call_timeout: Option<Duration>,
    face: Face,
    tool_names: Names,
    metrics: Arc<Metrics>,
    schemas: Vec<OnceLock<Map<String, Value>>>,
}

impl App {
    /// Contacts nobody.
    ///
    /// # Errors
    /// A cluster's settings that no client can be made of, or an audit log that cannot be written.
    pub fn new(config: &Config) -> Result<Self> {
        let clusters = config
            .clusters
            .iter()
            .map(|cluster| Ok(Cluster { name: cluster.name.clone(), client: Client::new(cluster)? }))
            .collect::<Result<_>>()?;
        Ok(Self::with_clusters(clusters, &config.safety)?.with_call_timeout(config.call_timeout))
    }

    /// With clients made by the caller: how tests put in a simulated cluster.
    ///
    /// # Errors
    /// An audit log that cannot be written.
    pub fn with_clusters(clusters: Vec<Cluster>, safety: &Safety) -> Result<Self> {
        let metrics = Arc::<Metrics>::default();
        for cluster in &clusters {
            cluster.client.tell(metrics.observer(&cluster.name));
        }
        Ok(Self {
            clusters: clusters.into(),
            policy: Policy::new(safety.policy.clone()),
            confirm: Confirm::new(safety.confirm.clone())?,
            audit: safety.audit_file.as_ref().map(|file| Audit::open(file, safety.confirm.key.clone())).transpose()?,
            caller: None,
            journal: safety.state_dir.clone().map(Journal::new),
            lasting: TaskTracker::new(),
            call_timeout: None,
            face: safety.face,
            tool_names: safety.tool_names,
            metrics,
            schemas: unwritten(),
        })
    }

    /// The same clusters, record and memory of plans for somebody who may do no more than `grant` says.
    pub fn for_caller(&self, name: &str, grant: &Grant) -> Self {
        Self {
            clusters: Arc::clone(&self.clusters),
            policy: self.policy.within(grant),
            confirm: self.confirm.clone(),
            audit: self.audit.clone(),
            caller: Some(name.to_owned()),
            journal: self.journal.clone(),
            lasting: self.lasting.clone(),
            call_timeout: self.call_timeout,
            face: self.face,
            tool_names: self.tool_names,
            metrics: Arc::clone(&self.metrics),
            schemas: unwritten(),
        }
    }

    /// The name under which the caller was let in.
    pub fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    /// With the most that one call may take; `None`: as long as it likes.
    pub fn with_call_timeout(self, call_timeout: Option<Duration>) -> Self {
        Self { call_timeout, ..self }
    }

    pub fn call_timeout(&self) -> Option<Duration> {
        self.call_timeout
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn confirm(&self) -> &Confirm {
        &self.confirm
    }

    /// The record of what was done, where there is one.
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Where calls that do several things are on record while they go on.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// What goes on although its caller has gone; the end of the program waits for it.
    pub fn lasting(&self) -> &TaskTracker {
        &self.lasting
    }

    /// The figures of the whole program, whoever calls.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Which tools a model is told of.
    pub fn face(&self) -> Face {
        self.face
    }

    /// By whose names a caller knows them.
    pub fn tool_names(&self) -> Names {
        self.tool_names
    }

    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// The clusters' names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.clusters.iter().map(|c| c.name.as_str()).collect()
    }

    /// The tools that a model is told of, with their input schemas as it is given them.
    pub fn tools(&self) -> impl Iterator<Item = (&'static Entry, Map<String, Value>)> {
        tools::all().filter(|entry| self.lists(entry)).map(|entry| (entry, self.listed(entry)))
    }

    /// A tool's input schema as a model is given it.
    pub fn listed(&self, entry: &Entry) -> Map<String, Value> {
        let mut schema = entry.listed_schema(&self.names());
        self.adapt(entry, &mut schema);
        schema
    }

    /// Whether a model is told of this tool.
    pub fn lists(&self, entry: &Entry) -> bool {
        self.policy.lists(entry.name, entry.effect, entry.api) && self.has(entry)
    }

    /// Whether there is what this tool needs.
    pub fn has(&self, entry: &Entry) -> bool {
        !entry.audited || self.audit.is_some()
    }

    /// Whether this tool can be called, listed or not.
    pub fn can_call(&self, entry: &Entry) -> bool {
        self.policy.allows_tool(entry.name, entry.effect, entry.api).is_ok() && self.has(entry)
    }

    /// The schema that a call's arguments are held to; `index` is the tool's place in the registry.
    pub(crate) fn schema(&self, index: usize, entry: &Entry) -> &Map<String, Value> {
        self.schemas[index].get_or_init(|| {
            let mut schema = entry.input_schema(&self.names());
            self.adapt(entry, &mut schema);
            schema
        })
    }

    /// Whether a tool has to be confirmed, whatever it is called with.
    pub fn asks(&self, entry: &Entry) -> bool {
        entry.control.is_some_and(|control| control.confirm)
            || (entry.control.is_some() && self.confirm.wants(entry.name))
    }

    /// Makes `confirm` what the operator wants it to be.
    fn adapt(&self, entry: &Entry, schema: &mut Map<String, Value>) {
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
        if !self.asks(entry) {
            return;
        }
        let confirm = match self.confirm.mode() {
            Mode::Flag => json!({"type": "boolean", "description": CONFIRM}),
            Mode::Plan => json!({"type": "string", "description": CONFIRM_PLAN}),
            Mode::Human if self.confirm.falls_back() => json!({"type": "string", "description": CONFIRM_PLAN}),
            Mode::Human => {
                properties.shift_remove("confirm");
                return;
            }
        };
        properties.insert("confirm".to_owned(), confirm);
    }

    /// The name of the cluster that a call is for, where there are several.
    pub fn cluster_of<'a>(&'a self, args: &'a Map<String, Value>) -> Option<&'a str> {
        let (first, _) = self.clusters.split_first().filter(|(_, more)| !more.is_empty())?;
        Some(args.get("cluster").and_then(Value::as_str).unwrap_or(&first.name))
    }

    /// The cluster that a call names, else the first.
    pub(crate) fn cluster(&self, args: &mut Map<String, Value>) -> Result<&Cluster> {
        let named = args.remove("cluster");
        let found = match named.as_ref().and_then(Value::as_str) {
            Some(name) => self.clusters.iter().find(|c| c.name == name),
            None => self.clusters.first(),
        };
        found.ok_or_else(|| {
            Error::bad_setting("no Proxmox cluster is configured").hint("set PROXMOX_API_URL, or try --sandbox")
        })
    }
}

fn unwritten() -> Vec<OnceLock<Map<String, Value>>> {
    tools::all().map(|_| OnceLock::new()).collect()
}

/// What `confirm` is, in the schemas.
pub(crate) const CONFIRM: &str = "Must be true to do it.";
const CONFIRM_PLAN: &str = "plan_id of the plan that was shown.";
