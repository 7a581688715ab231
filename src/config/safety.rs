//! What the operator allows, asks for and records: settings to [`Safety`].

use std::path::PathBuf;

use super::{
    sources::Lookup,
    table::{self, Setting},
    value,
};
use crate::{
    confirm,
    error::{Error, Result},
    key::{Key, SHORTEST},
    policy::{
        self, Bounds, Exec, Mode,
        rules::{Names, Rules},
    },
    pve::size,
    router::Face,
    tool_names,
    toolsets::{self, Chosen},
};

/// All that stands between an agent and the cluster.
#[derive(Debug, Clone, Default)]
pub struct Safety {
    pub policy: policy::Settings,
    pub confirm: confirm::Settings,
    /// Where changes are recorded.
    pub audit_file: Option<PathBuf>,
    /// Where calls that do several things are on record while they go on.
    pub state_dir: Option<PathBuf>,
    /// Which tools a model is told of.
    pub face: Face,
    /// By whose names a caller knows them.
    pub tool_names: tool_names::Names,
}

pub fn safety(lookup: &mut Lookup<'_>) -> Result<Safety> {
    let api_write = lookup.parsed(&table::API_WRITE, "true or false", false, value::boolean)?;
    let mode = lookup.parsed(&table::MODE, "read-only, no-delete or full", Mode::Full, Mode::parse)?;
    let read_only = lookup.parsed(&table::READ_ONLY, "true or false", false, value::boolean)?;
    let policy = policy::Settings {
        mode: if read_only { Mode::ReadOnly } else { mode },
        tools: chosen(lookup)?,
        api_write,
        allowed: lookup.parsed(&table::ALLOW_GUESTS, Rules::FORMS, Rules::default(), Rules::parse)?,
        protected: lookup.parsed(&table::PROTECT_GUESTS, Rules::FORMS, Rules::default(), Rules::parse)?,
        nodes: lookup.parsed(&table::ALLOW_NODES, "names separated by commas", Names::default(), Names::parse)?,
        storages: lookup.parsed(&table::ALLOW_STORAGES, "names separated by commas", Names::default(), Names::parse)?,
        bounds: Bounds {
            guests: lookup.parsed(&table::MAX_GUESTS, "a whole number", None, |text| text.parse().ok().map(Some))?,
            cores: lookup.parsed(&table::MAX_CORES, "a whole number", None, |text| text.parse().ok().map(Some))?,
            memory: lookup.parsed(&table::MAX_MEMORY, "a size such as 64G, or MiB", None, |text| bytes(text, 20))?,
            disk: lookup.parsed(&table::MAX_DISK, "a size such as 500G, or GiB", None, |text| bytes(text, 30))?,
        },
        exec: exec(lookup)?,
        freeze: file(lookup, &table::FREEZE_FILE)?,
    };
    let audit_file = file(lookup, &table::AUDIT_FILE)?;
    let state_dir = file(lookup, &table::STATE_DIR)?.or_else(|| usual_state_dir(lookup));
    let face = lookup.parsed(&table::FACE, "full or router", Face::Full, Face::parse)?;
    let names = tool_names(lookup)?;
    if face == Face::Router && names != tool_names::Names::Native {
        return Err(Error::bad_setting(format!(
            "PROXMOX_TOOL_NAMES: {} names single tools, and PROXMOX_FACE=router shows none",
            names.name()
        ))
        .hint("set one of the two"));
    }
    Ok(Safety { policy, confirm: confirm(lookup)?, audit_file, state_dir, face, tool_names: names })
}

/// Where systemd says, or where the user's programs keep such things.
fn usual_state_dir(lookup: &Lookup<'_>) -> Option<PathBuf> {
    let from = |name: &str, rest: &[&str]| {
        let start = PathBuf::from(lookup.environment(name)?);
        start.is_absolute().then(|| rest.iter().fold(start, |path, part| path.join(part)))
    };
    from("STATE_DIRECTORY", &[])
        .or_else(|| from("XDG_STATE_HOME", &["proxmox-mcp"]))
        .or_else(|| from("HOME", &[".local", "state", "proxmox-mcp"]))
        .or_else(|| from("LOCALAPPDATA", &["proxmox-mcp"]))
}

/// By whose names callers know the tools.
pub fn tool_names(lookup: &mut Lookup<'_>) -> Result<tool_names::Names> {
    use tool_names::Names;
    lookup.parsed(&table::TOOL_NAMES, "native, plus, camel or machines", Names::Native, Names::parse)
}

fn chosen(lookup: &mut Lookup<'_>) -> Result<Chosen> {
    let sets = names(lookup, &table::TOOLSETS, |set| toolsets::toolset(set).map(drop))?;
    let single = names(lookup, &table::TOOLS, |tool| toolsets::named(tool).map(drop))?;
    let excluded = names(lookup, &table::EXCLUDE_TOOLS, |tool| toolsets::named(tool).map(drop))?;
    Chosen::new(&words(&sets), &words(&single), &words(&excluded))
}

fn words(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// A list of names, each of which must mean something.
fn names(
    lookup: &mut Lookup<'_>,
    setting: &'static Setting,
    check: impl Fn(&str) -> Result<()>,
) -> Result<Vec<String>> {
    let list = |text: &str| Some(text.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect());
    let names: Vec<String> = lookup.parsed(setting, "names separated by commas", Vec::new(), list)?;
    for name in &names {
        check(name).map_err(|e| {
            let error = Error::bad_setting(format!("{}: {e}", setting.name));
            match &e.parts().hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
    }
    Ok(names)
}

fn exec(lookup: &mut Lookup<'_>) -> Result<Exec> {
    let split = |text: &str| {
        let patterns = text.split(',').map(|pattern| pattern.trim().to_owned());
        Some(patterns.filter(|pattern| !pattern.is_empty()).collect::<Vec<_>>())
    };
    let patterns = lookup.parsed(&table::EXEC_ALLOW, "commands separated by commas", Vec::new(), split)?;
    let word = |text: &str| ["off", "on", "allow"].into_iter().find(|word| text.eq_ignore_ascii_case(word)).map(Some);
    match (lookup.parsed(&table::EXEC, "off, on or allow", None, word)?, patterns.is_empty()) {
        (Some("off"), _) => Ok(Exec::Off),
        (Some("on"), true) => Ok(Exec::On),
        (Some("on"), false) => Err(Error::bad_setting(
            "PROXMOX_EXEC: on lets every command run; with PROXMOX_EXEC_ALLOW it has to be allow",
        )),
        (Some(_), true) => {
            Err(Error::bad_setting("PROXMOX_EXEC_ALLOW: expected the commands that PROXMOX_EXEC=allow allows"))
        }
        (None, true) => Ok(Exec::ByMode),
        (_, false) => Ok(Exec::Allowed(patterns)),
    }
}

fn confirm(lookup: &mut Lookup<'_>) -> Result<confirm::Settings> {
    let mode = lookup.parsed(&table::CONFIRM, "flag, plan or human", confirm::Mode::Flag, confirm::Mode::parse)?;
    let plan = |text: &str| text.eq_ignore_ascii_case("plan").then_some(true);
    let fallback = lookup.parsed(&table::CONFIRM_FALLBACK, "plan", false, plan)?;
    let tools = names(lookup, &table::CONFIRM_TOOLS, |tool| toolsets::named(tool).map(drop))?;
    let tools: Vec<_> = tools.iter().map(|tool| toolsets::named(tool)).collect::<Result<_>>()?;
    let key = lookup.find(&table::KEY)?;
    if let Some(found) = &key {
        if found.text().len() < SHORTEST {
            return Err(found.bad(&format!("at least {SHORTEST} characters")));
        }
        lookup.used(found);
    }
    Ok(confirm::Settings {
        mode,
        fallback,
        tools: tools.into_iter().flatten().map(|tool| tool.name).collect(),
        key: key.map(|found| Key::new(&found.text().to_owned().into())),
    })
}

pub(super) fn file(lookup: &mut Lookup<'_>, setting: &'static Setting) -> Result<Option<PathBuf>> {
    let given: Option<String> = lookup.parsed(setting, "a file", None, |text| Some(Some(text.to_owned())))?;
    Ok(given.map(|text| lookup.expand(&text)))
}

/// A size with its unit, or in units of two to this power.
pub(super) fn bytes(text: &str, power: u32) -> Option<Option<u64>> {
    let number: Option<u64> = text.trim().parse().ok();
    let bytes = number.map(|number| number << power).or_else(|| size::given(text).ok());
    bytes.filter(|bytes| *bytes > 0).map(Some)
}
