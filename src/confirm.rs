//! How somebody says yes to a plan: with a flag, with the id of the very plan that was shown, or as a person whom the client
//! asks. Nothing is kept between the question and the answer: a plan's id is a signature over the plan and what it was
//! made from, so a changed cluster or other arguments make another.

mod question;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

pub use self::question::{Asked, pending, question};

use crate::{
    key::{Key, hex},
    plan::Plan,
    pve::Request,
};

/// What counts as a yes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// `confirm: true`.
    #[default]
    Flag,
    /// `confirm` is the `plan_id` that was shown.
    Plan,
    /// A person's answer to a question of the client's.
    Human,
}

impl Mode {
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "flag" => Some(Self::Flag),
            "plan" => Some(Self::Plan),
            "human" => Some(Self::Human),
            _ => None,
        }
    }
}

/// What the operator wants confirmed, and how.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub mode: Mode,
    /// Where nobody can be asked, the plan's id will do.
    pub fallback: bool,
    /// Tools that are asked about beside those that are anyway.
    pub tools: HashSet<&'static str>,
    /// Of this server; without it one for this process is made.
    pub key: Option<Key>,
}

/// How often one call asks a person: the cluster may change while somebody thinks.
pub const QUESTIONS: u8 = 3;
/// How long a plan's id is good for.
pub const GOOD_FOR: Duration = Duration::from_secs(600);

/// Judges what callers give for a yes. Clones are one.
#[derive(Debug, Clone)]
pub struct Confirm {
    settings: Settings,
    key: Key,
    /// Ids that were used, until they expire: nothing is done twice for one yes.
    spent: Arc<Mutex<HashMap<String, u64>>>,
}

/// Everything that one yes is for.
pub struct Subject<'a> {
    pub tool: &'a str,
    pub cluster: &'a str,
    pub plan: &'a Plan,
    /// What the plan was made from: requests and answers.
    pub seen: &'a [(String, Bytes)],
}

/// Why an id is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// It is none of this server's, or of another plan.
    Changed,
    Expired,
    Spent,
}

impl Bad {
    pub fn why(self) -> &'static str {
        match self {
            Self::Changed => {
                "confirm is not the id of this plan: the cluster or the arguments have changed since it was shown"
            }
            Self::Expired => "the plan was shown too long ago",
            Self::Spent => "this plan has been carried out already",
        }
    }
}

impl Confirm {
    /// # Errors
    /// A system without random numbers, where no key is configured.
    pub fn new(settings: Settings) -> crate::error::Result<Self> {
        let key = match &settings.key {
            Some(key) => key.clone(),
            None => Key::random()?,
        };
        Ok(Self { settings, key, spent: Arc::default() })
    }

    pub fn mode(&self) -> Mode {
        self.settings.mode
    }
    /// The plan's id will do where no person can be asked.
    pub fn falls_back(&self) -> bool {
        self.settings.fallback
    }
    /// Whether the operator wants to be asked about this tool.
    pub fn wants(&self, tool: &str) -> bool {
        self.settings.tools.contains(tool)
    }
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The id of a plan, good for ten minutes.
    pub fn id(&self, subject: &Subject<'_>) -> String {
        let expires = now() + GOOD_FOR.as_secs();
        format!("{expires:x}-{}", self.signature(subject, expires))
    }

    /// Whether this is the id of just this plan, and takes it: it is good once.
    ///
    /// # Errors
    /// Why it is not.
    pub fn take(&self, id: &str, subject: &Subject<'_>) -> Result<(), Bad> {
        let expires = id.split_once('-').and_then(|(expires, _)| u64::from_str_radix(expires, 16).ok());
        let expires = expires.ok_or(Bad::Changed)?;
        let good = format!("{expires:x}-{}", self.signature(subject, expires));
        let same = good.len() == id.len() && good.bytes().zip(id.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0;
        let now = now();
        match (same, expires >= now) {
            (false, _) => return Err(Bad::Changed),
            (true, false) => return Err(Bad::Expired),
            (true, true) => {}
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, expires| *expires >= now);
        match spent.insert(id.to_owned(), expires) {
            Some(_) => Err(Bad::Spent),
            None => Ok(()),
        }
    }

    /// Enough of it that nobody finds another plan with the same.
    fn signature(&self, subject: &Subject<'_>, expires: u64) -> String {
        let mut parts: Vec<Vec<u8>> = vec![
            expires.to_string().into(),
            subject.cluster.into(),
            subject.tool.into(),
            subject.plan.summary.clone().into(),
        ];
        for request in &subject.plan.requests {
            parts.push(request.to_string().into());
            // Secrets too: another password is another plan.
            parts.push(request.encoded().into());
            let file = request.file.as_ref();
            parts.push(
                file.map(|file| format!("{:?} {} {}", file.path, file.name, file.size)).unwrap_or_default().into(),
            );
        }
        for change in &subject.plan.changes {
            parts.push(format!("{change:?}").into());
        }
        for (request, answer) in subject.seen.iter().filter(|(request, _)| !moves(request)) {
            parts.push(request.clone().into());
            parts.push(answer.to_vec());
        }
        hex(&self.key.sign("plan", parts.iter().map(Vec::as_slice))[..16])
    }
}

/// Whether an answer changes by itself, from one look to the next: what matters of it stands in the plan.
fn moves(request: &str) -> bool {
    let path = request.split_once('?').map_or(request, |(path, _)| path);
    let ends = [
        "/nodes",
        "/status",
        "/manager_status",
        "/storage",
        "/content",
        "/nextid",
        "cluster/resources",
        "/rrddata",
        "/lxc",
        "/qemu",
    ];
    let ends = ends.iter().chain(&["/tasks", "/time", "/status/current"]);
    ends.into_iter().any(|end| path.ends_with(end)) || path.contains("/tasks/") || path.contains("/agent/")
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

/// The requests whose answers a plan's identity needs beside what the plan has read: the guests it touches.
pub fn looks(requests: &[Request]) -> Vec<String> {
    let reach = crate::policy::Reach::of(requests);
    let guests = reach.guests.iter().filter_map(|(vmid, at)| {
        let at = at.as_ref()?;
        Some(format!("/nodes/{}/{}/{vmid}", at.node, at.kind.path()))
    });
    guests.collect()
}
