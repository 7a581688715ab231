//! `proxmox-mcp doctor`: looks at each cluster as this program would use it (settings, endpoints, TLS, login, version,
//! rights, defaults) and says what is wrong, with one hint for each problem. It only reads.

mod checks;
pub mod rights;
#[cfg(test)]
mod tests;
pub mod tools;

use std::fmt::Write as _;

use serde::Serialize;

use self::tools::Family;
use crate::{
    audit::{self, Log},
    config::{ClusterConfig, Config, Origin, Safety, Source, Web},
    error::Result,
    pve::Client,
    web,
};

/// What was found, for all clusters.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The `.env` file that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_file: Option<String>,
    /// The program's own settings, and those that all clusters share.
    pub settings: Vec<Used>,
    /// What the settings themselves leave in doubt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The record of changes, where one is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Check>,
    /// How it is served over HTTP, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Check>,
    pub clusters: Vec<Cluster>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Cluster {
    pub name: String,
    pub settings: Vec<Used>,
    pub checks: Vec<Check>,
    /// The tools that can work there; empty where nobody could ask.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Family>,
}

/// A setting, where it came from, and its value unless it is a secret.
#[derive(Debug, Clone, Serialize)]
pub struct Used {
    pub setting: String,
    /// The name it was found under, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_as: Option<String>,
    pub from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `endpoint`, `tls`, `login`, `version`, `rights`, `nodes` or `default`; of the program: `audit`, `http`.
    pub name: &'static str,
    pub verdict: Verdict,
    pub text: String,
    /// What to do, where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// From good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    Warning,
    Failed,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { name, verdict, text: text.into(), hint: None }
    }
    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, text)
    }
    fn warning(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warning, text)
    }
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Examines every cluster of the settings, all at once.
pub async fn examine(config: &Config) -> Report {
    let clusters = config.clusters.iter().map(|cluster| examine_cluster(cluster, &Client::new));
    Report {
        env_file: config.env_file.as_ref().map(|path| path.display().to_string()),
        settings: used(&config.sources),
        warnings: config.warnings.clone(),
        audit: audit(&config.safety).await,
        http: http(&config.web),
        clusters: futures::future::join_all(clusters).await,
    }
}

/// Where it listens, and who gets in.
fn http(web: &Web) -> Option<Check> {
    (web.is_asked_for() || web.keys.is_some()).then(|| match web::about(web) {
        Ok(text) => {
            let open = web.is_exposed() && web.insecure_no_auth && web.keys.is_none() && web.oauth.is_none();
            Check::new("http", if open { Verdict::Warning } else { Verdict::Ok }, text)
        }
        Err(e) => {
            let check = Check::new("http", Verdict::Failed, e.to_string());
            Check { hint: e.parts().hint.clone(), ..check }
        }
    })
}

/// Where the audit log is, and whether it is whole. One that is not there yet is made with the first start.
async fn audit(safety: &Safety) -> Option<Check> {
    let file = safety.audit_file.clone()?;
    let name = file.display().to_string();
    if !file.exists() {
        return Some(Check::ok("audit", format!("{name} is not there yet: the server begins it when it starts")));
    }
    let log = Log::new(file, safety.confirm.key.clone());
    let found = tokio::task::spawn_blocking(move || audit::verify(&[log])).await;
    Some(match found {
        Ok(Ok(report)) => Check::ok("audit", format!("{name} is whole: {} calls since {}", report.calls, report.from)),
        Ok(Err(fault)) => Check::new("audit", Verdict::Failed, format!("{name}: {fault}"))
            .hint("put it, its head and its key aside, find out who changed it, and begin a new one"),
        Err(e) => Check::new("audit", Verdict::Failed, format!("{name}: {e}")),
    })
}

/// Examines one cluster through the clients that `connect` makes: one for each endpoint, so that each is really tried.
pub async fn examine_cluster(cluster: &ClusterConfig, connect: &dyn Fn(&ClusterConfig) -> Result<Client>) -> Cluster {
    let (checks, tools) = checks::all(cluster, connect).await;
    Cluster { name: cluster.name.clone(), settings: used(&cluster.sources), checks, tools }
}

fn used(sources: &[Source]) -> Vec<Used> {
    let given = sources.iter().filter(|source| source.origin != Origin::Default);
    given
        .map(|source| Used {
            setting: source.setting.to_string(),
            given_as: (source.name_used != source.setting).then(|| source.name_used.clone()),
            from: source.origin.to_string(),
            value: source.value.clone(),
        })
        .collect()
}

impl Report {
    /// The worst of all checks.
    pub fn verdict(&self) -> Verdict {
        let checks = self.clusters.iter().flat_map(|cluster| &cluster.checks);
        let of_settings = if self.warnings.is_empty() { Verdict::Ok } else { Verdict::Warning };
        checks.chain(&self.audit).chain(&self.http).map(|check| check.verdict).fold(of_settings, Verdict::max)
    }

    /// 1 where a check failed, otherwise 0: warnings leave the cluster usable.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.verdict() == Verdict::Failed)
    }

    /// For a person: one line for each thing, hints below what they belong to. Without a line's end at its end.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if let Some(path) = &self.env_file {
            let _ = writeln!(out, "settings file: {path}");
        }
        write_settings(&mut out, &self.settings);
        for warning in &self.warnings {
            let _ = writeln!(out, "  [warn] settings: {warning}");
        }
        for check in self.audit.iter().chain(&self.http) {
            write_check(&mut out, check);
        }
        for cluster in &self.clusters {
            let _ = writeln!(out, "cluster {}", cluster.name);
            write_settings(&mut out, &cluster.settings);
            for check in &cluster.checks {
                write_check(&mut out, check);
            }
            write_tools(&mut out, &cluster.tools);
        }
        out.push_str(match self.verdict() {
            Verdict::Ok => "all is well",
            Verdict::Warning => "usable, with warnings",
            Verdict::Failed => "not usable as it is",
        });
        out
    }
}

fn write_tools(out: &mut String, families: &[Family]) {
    let sum = |count: fn(&Family) -> usize| families.iter().map(count).sum::<usize>();
    let (work, tools) = (sum(|family| family.work), sum(|family| family.tools));
    if families.is_empty() {
        return;
    }
    let _ = writeln!(out, "  tools: {work} of {tools} can work with these rights on this release");
    for line in families.iter().flat_map(Family::lines) {
        let _ = writeln!(out, "    {line}");
    }
    if work < tools {
        let _ = writeln!(out, "    `proxmox-mcp mint --for TOOLSETS` prints the commands that give what is lacking");
    }
}

fn write_check(out: &mut String, check: &Check) {
    let mark = match check.verdict {
        Verdict::Ok => " ok ",
        Verdict::Warning => "warn",
        Verdict::Failed => "FAIL",
    };
    let _ = writeln!(out, "  [{mark}] {}: {}", check.name, check.text.replace('\n', "\n         "));
    if let Some(hint) = &check.hint {
        let _ = writeln!(out, "         try: {hint}");
    }
}

fn write_settings(out: &mut String, settings: &[Used]) {
    for used in settings {
        let value = used.value.as_deref().unwrap_or("(secret)");
        let given_as = used.given_as.as_ref().map(|name| format!(", as {name}")).unwrap_or_default();
        let _ = writeln!(out, "  {} = {value}  (from {}{given_as})", used.setting, used.from);
    }
}
