//! Lines for a shell: those of this program are parsed by its own parser, and what else is called is known.

use super::{blocks::Block, settings};

/// What a reader has, or is told to get.
const OTHERS: &[&str] = &[
    "ansible",
    "ansible-inventory",
    "ansible-playbook",
    "cargo",
    "chmod",
    "claude",
    "curl",
    "docker",
    "echo",
    "install",
    "journalctl",
    "openssl",
    "pveum",
    "systemctl",
];
/// What is served, whatever the port.
const ROUTES: &[&str] =
    &["", "/mcp", "/proxmox/mcp", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/tools", "/tasks"];

pub fn load(block: &Block) {
    let text = block.text.replace("\\\n", " ");
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(!lines.is_empty(), "{}: nothing to run", block.place);
    // A block of settings, as they are exported or written to a file.
    if lines.iter().all(|line| is_setting(line)) {
        return settings::load(block);
    }
    for line in lines {
        command(&block.place, line);
    }
}

fn is_setting(line: &str) -> bool {
    let name: String = line.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
    line.starts_with("PROXMOX_")
        && line[name.len()..].chars().next().is_some_and(|c| c == '=' || c.is_ascii_lowercase())
}

fn command(place: &str, line: &str) {
    // What is kept is what a command prints.
    let line = line.split_once("=$(").map_or(line, |(_, rest)| rest.trim_end_matches(')'));
    let words = words(line.strip_prefix("exec ").unwrap_or(line));
    let assigned = words.iter().take_while(|word| word.starts_with("PROXMOX_") && word.contains('=')).count();
    let words = &words[assigned..];
    let name = words.first().unwrap_or_else(|| panic!("{place}: {line}")).as_str();
    assert!(name == "proxmox-mcp" || OTHERS.contains(&name), "{place}: nobody knows what {name} is");
    for word in words {
        for at in word.match_indices("http").map(|(at, _)| at) {
            url(place, &word[at..]);
        }
        let value = word.strip_prefix("-e").unwrap_or(word);
        if let Some((name, _)) = value.split_once('=').filter(|(name, _)| name.starts_with("PROXMOX_")) {
            settings::known(name).unwrap_or_else(|e| panic!("{place}: {e}"));
        }
    }
    // `claude mcp add … -- proxmox-mcp …`, `docker run … proxmox-mcp …`: the last one is the program.
    let subjects: &[&str] = &["mcp", "run"];
    let at = match name {
        "proxmox-mcp" => Some(0),
        "cargo" => words.iter().position(|word| word == "--"),
        _ if words.iter().any(|word| subjects.contains(&word.as_str())) => {
            words.iter().rposition(|word| word == "proxmox-mcp")
        }
        _ => None,
    };
    let Some(at) = at else { return };
    arguments(place, &words[at + 1..]);
}

/// The arguments of this program, by its own parser.
pub fn arguments(place: &str, words: &[String]) {
    // A script hands on what it was given.
    let given = words.iter().map(String::as_str).filter(|word| *word != "$@");
    let all = std::iter::once("proxmox-mcp").chain(given);
    if let Err(e) = proxmox_mcp::cli::command().try_get_matches_from(all) {
        panic!("{place}: {e}");
    }
}

/// Of ours, one that is served.
pub fn url(place: &str, url: &str) {
    let rest = url.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let ours = rest.contains(":881") || rest.starts_with("mcp.example.com");
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    let path = path.split(['?', '"', '\'']).next().unwrap();
    let tool = path.strip_prefix("/tools/").is_some_and(|name| proxmox_mcp::tools::all().any(|tool| tool.name == name));
    if ours && !tool && !path.contains("TOOL") {
        assert!(ROUTES.contains(&path), "{place}: {url}: nothing is served at {path}");
    }
}

/// Words as a shell makes them: quotes, and a comment at the end. Redirections end the command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '#' | '>' | '|') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "{line}: a quote without an end");
    words.extend(word);
    words
}
