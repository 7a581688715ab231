//! Settings, by the program's own resolver: names that it does not know, and values that it does not take, are wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proxmox_mcp::config::{self, Config, KeySource, Web, table};

use super::blocks::Block;

/// What stands for something else in the documents, and what would stand there.
const STANDS_FOR: &[(&str, &str)] = &[(
    "AA:BB:CC:…",
    "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99",
)];

/// A block of `NAME=value` lines, as `.env` has them.
pub fn load(block: &Block) {
    let given = pairs(block);
    assert!(!given.is_empty(), "{}: no settings", block.place);
    if let Err(e) = resolve(&given).and_then(|config| serves(&config)) {
        panic!("{}: {e}", block.place);
    }
}

/// Whether it would serve with these: not on every address without a key, say. Files of keys and certificates are not on
/// this machine.
pub fn serves(config: &Config) -> Result<(), String> {
    let keys = config.web.keys.clone().map(|keys| match keys {
        KeySource::File(_) => KeySource::Text("anna:a-key-that-is-long-enough".to_owned().into()),
        text => text,
    });
    let web = Web { keys, tls: None, ..config.web.clone() };
    proxmox_mcp::web::about(&web).map(drop).map_err(|e| e.to_string())
}

/// The lines of a block, whatever language it is in: comments and empty lines left out.
pub fn pairs(block: &Block) -> Vec<(String, String)> {
    let lines = block.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{}: {line} is no setting", block.place));
        (name.to_owned(), value.to_owned())
    };
    lines.map(pair).collect()
}

/// Resolves these as the program would, with a cluster for those that name none. Whatever the program would warn of is
/// wrong in a document, except for what it is about.
pub fn resolve(given: &[(String, String)]) -> Result<Config, String> {
    for (name, _) in given {
        known(name)?;
    }
    let has = |names: &[&str]| given.iter().any(|(name, _)| names.contains(&name.as_str()));
    let mut text: String = given.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let several = has(&["PROXMOX_CLUSTERS"]);
    if !several && !has(&["PROXMOX_API_URL", "PROXMOX_HOST", "PROXMOX_URL"]) {
        text.push_str("PROXMOX_API_URL=https://pve.example.com:8006\n");
    }
    if !several && !has(&["PROXMOX_TOKEN_ID", "PROXMOX_TOKEN", "PROXMOX_TOKEN_NAME", "PROXMOX_TOKEN_SECRET"]) {
        text.push_str("PROXMOX_TOKEN=mcp@pve!mcp=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx\n");
    }
    if has(&["PROXMOX_TOKEN_ID"]) && !has(&["PROXMOX_TOKEN_SECRET", "PROXMOX_TOKEN_SECRET_FILE", "PROXMOX_TOKEN_VALUE"])
    {
        text.push_str("PROXMOX_TOKEN_SECRET=xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx\n");
    }
    let text = STANDS_FOR.iter().fold(text, |text, (shown, real)| text.replace(shown, real));
    let env = BTreeMap::from([("HOME".to_owned(), "/home/you".to_owned())]);
    let read = |path: &Path| match path.to_str() {
        Some(".env") => Ok(text.clone()),
        Some(name) if name.ends_with("keys") => Ok("anna:a-key-that-is-long-enough\n".to_owned()),
        _ => Ok("a-secret-that-is-long-enough-for-everything".to_owned()),
    };
    let inputs = config::collect(BTreeMap::new(), env, &read).map_err(|e| e.to_string())?;
    let config = config::resolve(&inputs, &read).map_err(|e| e.to_string())?;
    match config.warnings.iter().find(|warning| !warning.contains("not verified")) {
        Some(warning) => Err(warning.clone()),
        None => Ok(config),
    }
}

/// Whether a setting has this name, its own or an older one, also of one of several clusters.
pub fn known(name: &str) -> Result<(), String> {
    let plain = match name.strip_prefix("PROXMOX_CLUSTER_") {
        Some(own) => own.split_once('_').map(|(_, ending)| format!("PROXMOX_{ending}")).unwrap_or_default(),
        None => name.to_owned(),
    };
    match all().contains(&plain) {
        true => Ok(()),
        false => Err(format!("no setting is called {name}")),
    }
}

fn all() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for setting in table::SETTINGS {
        for name in setting.names() {
            all.insert(name.to_owned());
            if setting.secret {
                all.insert(format!("{name}_FILE"));
            }
        }
    }
    all
}

/// Whatever looks like a setting in a text is one.
pub fn names(path: &str, text: &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("PROXMOX_") {
        let name: String = text[at..].chars().take_while(|c| word(*c)).collect();
        // `PROXMOX_CLUSTER_<name>_` and the like stand for many; a client's own variable is not ours.
        let part = name.ends_with('_') || text[..at].ends_with("${");
        if !part && !text[..at].ends_with(word) {
            known(&name).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    }
}
