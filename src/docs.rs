//! Renders the documents that are made from tables: `.env.example`, the README's settings table and `tools.md`. Writes
//! no files.

mod tool_names;
mod tools;

use std::fmt::Write as _;

pub use tool_names::alias_table;
pub use tools::{tool_section, tool_table, tools_md};

use crate::{
    config::table::{API_URL, Group, SETTINGS, Setting, TOKEN_ID, TOKEN_SECRET},
    error::{Error, Result},
};

/// The README's table stands between these.
const BEGIN: &str = "<!-- settings: generated from src/config/table.rs -->";
const END: &str = "<!-- end of settings -->";

/// The whole of `.env.example`: the three settings that are needed, and all others commented out.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of proxmox-mcp. Copy to .env, or set them in the environment or in the client's configuration.\n\
         # Flags go before the environment, and the environment before this file. An empty value counts as not set.\n\
         # Generated from src/config/table.rs.\n",
    );
    for group in Group::ALL {
        let _ = write!(text, "\n# --- {} ---\n", group.title());
        for setting in of_group(*group) {
            text.push('\n');
            for line in wrapped(setting.help, 110) {
                let _ = writeln!(text, "# {line}");
            }
            let also = also(setting);
            if !also.is_empty() {
                let _ = writeln!(text, "# Also read: {}.", also.join(", "));
            }
            let needed = [&API_URL, &TOKEN_ID, &TOKEN_SECRET].contains(&setting);
            let comment = if needed { "" } else { "# " };
            let _ = writeln!(text, "{comment}{}={}", setting.name, setting.example);
        }
    }
    text
}

/// The settings as a Markdown table.
pub fn settings_table() -> String {
    let mut text = String::from("| variable | flag | default | meaning |\n| --- | --- | --- | --- |\n");
    for setting in SETTINGS {
        let also = also(setting);
        let also = if also.is_empty() {
            String::new()
        } else {
            format!(" Also read: {}.", also.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        };
        let default = setting.default.map(|value| format!("`{value}`")).unwrap_or_default();
        let help = setting.help.replace('<', "&lt;").replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | `--{}` | {default} | {help}{also} |", setting.name, setting.flag);
    }
    text
}

/// The README with its settings table renewed.
///
/// # Errors
/// When the README has lost the lines between which the table stands.
pub fn with_settings_table(readme: &str) -> Result<String> {
    let lost = || Error::internal(format!("README.md: the lines {BEGIN} and {END} are needed"));
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(lost)?;
    let (_, after) = rest.split_once(END).ok_or_else(lost)?;
    Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", settings_table()))
}

fn of_group(group: Group) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().copied().filter(move |setting| setting.group == group)
}

fn also(setting: &Setting) -> Vec<String> {
    let file = setting.secret.then(|| format!("{}_FILE", setting.name));
    setting.aliases.iter().map(|name| (*name).to_owned()).chain(file).collect()
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
