//! Notes to be filled in: a title and a short table, for the common kinds of guests.

use std::collections::BTreeMap;

use super::markup::Format;
use crate::tool::*;

/// Render notes to store: a table of what is worth noting.
#[derive(Deserialize, JsonSchema)]
pub struct NotesTemplate {
    template_type: String,
    #[serde(default = "html")]
    format: Format,
    /// {"name": "web-01", "owner": "ops"}; other names add rows.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

fn html() -> Format {
    Format::Html
}

/// Kind → its rows beside those that all have.
const KINDS: &[(&str, &[&str])] = &[
    ("service", &["service", "ports"]),
    ("database", &["engine", "port", "backup"]),
    ("web", &["url", "ports", "certificate"]),
    ("desktop", &["user", "access"]),
    ("infrastructure", &["role", "address", "depends on"]),
    ("test", &["delete after"]),
];
const FIRST: &[&str] = &["name", "purpose", "owner", "date"];
const LAST: &[&str] = &["links"];

impl Tool for NotesTemplate {
    const NAME: &str = "proxmox-notes-template";
    const TITLE: &str = "Template for notes";
    const API: &[&str] = &[];
    const EXAMPLE: (&str, &str) = (
        "Draft notes for a database server of the shop team",
        r#"{"template_type": "database", "format": "markdown", "variables": {"name": "db-01", "owner": "shop"}}"#,
    );
}

#[derive(Serialize, JsonSchema)]
pub struct Rendered {
    template_type: String,
    content: String,
    /// Rows that no variable was given for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
}

impl Query for NotesTemplate {
    type Output = Rendered;
    async fn query(&self, _: &Reader<'_>) -> Result<Rendered> {
        let Some((kind, own)) = KINDS.iter().find(|(kind, _)| kind.eq_ignore_ascii_case(&self.template_type)) else {
            let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
            let words = format!("template_type: expected one of {}, got '{}'", kinds.join(", "), self.template_type);
            return Err(Error::bad_argument(words));
        };
        let value = |row: &str| {
            let same = |key: &&String| key.replace(['_', '-'], " ").eq_ignore_ascii_case(row);
            self.variables.keys().find(same).and_then(|key| self.variables.get(key)).map(|v| v.trim().to_owned())
        };
        let known: Vec<&str> = FIRST.iter().chain(*own).chain(LAST).copied().collect();
        let mut rows: Vec<(String, Option<String>)> = known.iter().map(|row| ((*row).to_owned(), value(row))).collect();
        for (key, value) in &self.variables {
            let name = key.replace(['_', '-'], " ").to_lowercase();
            if !known.contains(&name.as_str()) {
                rows.push((name, Some(value.trim().to_owned())));
            }
        }
        let missing = rows.iter().filter(|(_, value)| value.is_none()).map(|(row, _)| row.clone()).collect();
        let title = value("name").unwrap_or_else(|| title_case(kind));
        Ok(Rendered { template_type: (*kind).to_owned(), content: render(self.format, &title, &rows), missing })
    }
}

fn render(format: Format, title: &str, rows: &[(String, Option<String>)]) -> String {
    let mut out = match format {
        Format::Html => format!("<h2>{}</h2>\n<table>\n", escaped(title)),
        Format::Plain => format!("{title}\n"),
        Format::Markdown | Format::Auto => format!("## {title}\n\n| | |\n|---|---|\n"),
    };
    for (row, value) in rows {
        let (row, value) = (title_case(row), value.as_deref().unwrap_or("…"));
        out.push_str(&match format {
            Format::Html => format!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(&row), escaped(value)),
            Format::Plain => format!("{row}: {value}\n"),
            Format::Markdown | Format::Auto => {
                format!("| {row} | {} |\n", value.replace('|', "\\|").replace('\n', " "))
            }
        });
    }
    if format == Format::Html {
        out.push_str("</table>\n");
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn title_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
