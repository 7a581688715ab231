//! Where settings come from: flags, then the environment, then a `.env` file. Pure: files are read through a function
//! that the caller gives, and the process environment is neither read nor changed here.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use super::table::{self, Scope, Setting};
use crate::error::{Error, Result};

/// Reads a whole text file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

/// Everything that was given. Holds secrets in the clear, and therefore has no `Debug`.
#[derive(Default)]
pub struct Inputs {
    /// Flag, without the dashes → value.
    pub flags: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    pub dotenv: Option<DotEnv>,
}

/// A `.env` file that was read.
pub struct DotEnv {
    pub path: PathBuf,
    pub values: BTreeMap<String, String>,
    /// It was named by a flag or in the environment, not merely found in the working directory.
    pub named: bool,
}

/// Which kind of source a setting came from, the strongest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Flag,
    Env,
    DotEnv(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Env => f.write_str("environment"),
            Self::DotEnv(path) => path.display().fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Which name a setting came from: what `doctor` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The canonical name, `PROXMOX_…`.
    pub setting: &'static str,
    /// The name that it was found under: `PROXMOX_HOST`, `PROXMOX_CLUSTER_home_API_URL`, `--api-url`. For a default, the
    /// canonical name.
    pub name_used: String,
    pub origin: Origin,
    /// The value as it was written; `None` for a secret.
    pub value: Option<String>,
}

/// A value with the name it was found under, not yet judged.
pub struct Found {
    setting: &'static Setting,
    value: SecretString,
    name: String,
    pub origin: Origin,
    /// The file that a secret was read from.
    pub file: Option<PathBuf>,
}

impl Found {
    pub fn text(&self) -> &str {
        self.value.expose_secret()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, and the file that it stands in.
    pub fn place(&self) -> String {
        match &self.origin {
            Origin::DotEnv(path) => format!("{} in {}", self.name, path.display()),
            _ => self.name.clone(),
        }
    }

    /// The one line for a wrong value: names the variable, what was expected, and (unless it is a secret) what it was.
    pub fn bad(&self, expected: &str) -> Error {
        let place = self.place();
        // An address may hold a password before its `@`, and the id and the secret of a token are easily swapped.
        let private = self.setting.secret || [&table::TOKEN_ID, &table::USER].contains(&self.setting);
        if private || self.text().contains('@') {
            return Error::bad_setting(format!("{place}: expected {expected}"));
        }
        let mut shown: String = self.text().chars().take(60).flat_map(char::escape_debug).collect();
        if self.text().chars().nth(60).is_some() {
            shown.push('…');
        }
        Error::bad_setting(format!("{place}: expected {expected}; it is \"{shown}\""))
    }

    fn source(&self) -> Source {
        Source {
            setting: self.setting.name,
            name_used: self.name.clone(),
            origin: self.origin.clone(),
            value: (!self.setting.secret).then(|| self.text().to_owned()),
        }
    }
}

/// Finds settings for the program or for one cluster, and notes what was used.
pub struct Lookup<'a> {
    inputs: &'a Inputs,
    read: ReadFile<'a>,
    /// `PROXMOX_CLUSTER_home_` and its other spellings; none for a single, unnamed cluster.
    prefixes: Vec<String>,
    pub sources: Vec<Source>,
    pub warnings: Vec<String>,
}

impl<'a> Lookup<'a> {
    pub fn new(inputs: &'a Inputs, read: ReadFile<'a>, prefixes: Vec<String>) -> Self {
        Self { inputs, read, prefixes, sources: Vec::new(), warnings: Vec::new() }
    }

    /// Whether settings are looked for under a cluster's prefix.
    pub fn has_prefix(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Whether this comes from a file that merely lay in the working directory, which others may have written.
    pub fn is_only_found(&self, origin: &Origin) -> bool {
        matches!(origin, Origin::DotEnv(_)) && self.inputs.dotenv.as_ref().is_some_and(|file| !file.named)
    }

    /// How the user would write this setting here: for errors about what is missing.
    pub fn name_of(&self, setting: &Setting) -> String {
        match self.prefixes.first() {
            Some(prefix) if setting.per_cluster() => format!("{prefix}{}", ending(setting.name)),
            _ => setting.name.to_owned(),
        }
    }

    /// The value of a setting: the cluster's own, or else the shared one if it has that scope.
    ///
    /// # Errors
    /// When the file of a `…_FILE` setting cannot be read.
    pub fn find(&mut self, setting: &'static Setting) -> Result<Option<Found>> {
        if !self.has_prefix() {
            return self.find_shared(setting);
        }
        match self.find_own(setting)? {
            Some(found) => Ok(Some(found)),
            None if setting.scope == Scope::Own => Ok(None),
            None => self.find_shared(setting),
        }
    }

    /// Only under the cluster's own prefix.
    pub fn find_own(&mut self, setting: &'static Setting) -> Result<Option<Found>> {
        let names: Vec<String> = setting
            .names()
            .flat_map(|name| self.prefixes.iter().map(move |prefix| format!("{prefix}{}", ending(name))))
            .collect();
        self.first_of(setting, &names, false)
    }

    /// Only under the plain names, and as a flag.
    pub fn find_shared(&mut self, setting: &'static Setting) -> Result<Option<Found>> {
        let names: Vec<String> = setting.names().map(str::to_owned).collect();
        self.first_of(setting, &names, true)
    }

    /// Notes that this value is in use.
    pub fn used(&mut self, found: &Found) {
        self.sources.push(found.source());
    }

    /// Notes that nobody set this.
    pub fn defaulted(&mut self, setting: &'static Setting) {
        self.sources.push(Source {
            setting: setting.name,
            name_used: setting.name.to_owned(),
            origin: Origin::Default,
            value: setting.default.map(str::to_owned),
        });
    }

    /// Finds, notes and converts a setting.
    ///
    /// # Errors
    /// The one line that names the variable, if `parse` does not understand the value.
    pub fn parsed<T>(
        &mut self,
        setting: &'static Setting,
        expected: &str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let Some(found) = self.find(setting)? else {
            self.defaulted(setting);
            return Ok(default);
        };
        let value = parse(found.text()).ok_or_else(|| found.bad(expected))?;
        self.used(&found);
        Ok(value)
    }

    /// The strongest source that has one of the names; within it, the first name. Other names with other values in the
    /// same source are worth a word.
    fn first_of(&mut self, setting: &'static Setting, names: &[String], flags: bool) -> Result<Option<Found>> {
        if flags && let Some(given) = filled(self.inputs.flags.get(setting.flag)) {
            let name = format!("--{}", setting.flag);
            return self.finish(setting, name, given, setting.secret, Origin::Flag).map(Some);
        }
        let dotenv = self.inputs.dotenv.as_ref().map(|file| (Origin::DotEnv(file.path.clone()), &file.values));
        for (origin, values) in std::iter::once((Origin::Env, &self.inputs.env)).chain(dotenv) {
            let mut candidates = names
                .iter()
                .flat_map(|name| {
                    let file = setting.secret.then(|| (format!("{name}_FILE"), true));
                    std::iter::once((name.clone(), false)).chain(file)
                })
                .filter_map(|(name, is_file)| filled(values.get(&name)).map(|value| (name, is_file, value)));
            let Some((name, is_file, value)) = candidates.next() else { continue };
            for (other, _, other_value) in candidates {
                if other_value != value {
                    self.warnings.push(format!("{other} is not used: {name} is set too, and goes first"));
                }
            }
            return self.finish(setting, name, value, is_file, origin).map(Some);
        }
        Ok(None)
    }

    fn finish(
        &self,
        setting: &'static Setting,
        name: String,
        given: &str,
        is_file: bool,
        origin: Origin,
    ) -> Result<Found> {
        let file = is_file.then(|| self.expand(given));
        let value = if let Some(path) = &file {
            let content = (self.read)(path).map_err(|error| {
                Error::bad_setting(format!("{name}: expected a readable file; {}: {error}", path.display()))
            })?;
            let content = content.trim_end_matches(['\n', '\r']);
            if content.trim().is_empty() {
                return Err(Error::bad_setting(format!(
                    "{name}: expected the secret in the file; {} is empty",
                    path.display()
                )));
            }
            content.to_owned()
        } else if setting.secret {
            given.to_owned()
        } else {
            given.trim().to_owned()
        };
        Ok(Found { setting, value: value.into(), name, origin, file })
    }

    /// `~/…` is the home directory: where no shell has a hand in it (a client's JSON), nobody else expands it.
    pub fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), filled(self.inputs.env.get("HOME"))) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => PathBuf::from(path),
        }
    }

    /// A variable that is no setting of ours.
    pub fn environment(&self, name: &str) -> Option<&str> {
        filled(self.inputs.env.get(name))
    }

    pub fn read(&self, path: &Path) -> std::io::Result<String> {
        (self.read)(path)
    }
}

/// What follows `PROXMOX_` in a name: what it is called under a cluster's prefix.
pub fn ending(name: &str) -> &str {
    name.strip_prefix("PROXMOX_").unwrap_or(name)
}

/// An empty value is as good as none.
fn filled(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.trim().is_empty())
}
