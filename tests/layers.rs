//! Who may know whom: rules of ARCHITECTURE.md that no type can hold, read from the sources.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

/// Every source file below `directory`, with its path from `src/` and its code without comments and in-file tests.
fn sources(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut left: Vec<PathBuf> = vec![root.join(directory)];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            files.push((name, code(&std::fs::read_to_string(&path).unwrap())));
        }
    }
    assert!(!files.is_empty(), "nothing in src/{directory}");
    files.retain(|(name, _)| !name.ends_with("tests.rs") && !name.contains("/tests/"));
    files
}

/// Without comments, and without the tests that stand at the end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The files whose code has one of the words, outside of those that may.
fn offenders(directory: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    sources(directory)
        .into_iter()
        .filter(|(name, _)| !allowed.iter().any(|allowed| name.starts_with(allowed)))
        .flat_map(|(name, code)| {
            let found: Vec<String> =
                words.iter().filter(|word| code.contains(**word)).map(|word| format!("{name}: {word}")).collect();
            found
        })
        .collect()
}

#[test]
fn only_mcp_names_rmcp() {
    assert_eq!(offenders("", &["rmcp"], &["mcp/"]), Vec::<String>::new());
    assert!(!offenders("mcp", &["rmcp"], &[]).is_empty(), "the search itself does not work");
}

#[test]
fn proxmox_knows_nothing_of_mcp_the_tools_or_the_command_line() {
    let words = ["crate::mcp", "crate::tool", "crate::call", "crate::cli", "crate::sandbox"];
    assert_eq!(offenders("pve", &words, &[]), Vec::<String>::new());
}

#[test]
fn tools_know_neither_the_sandbox_nor_any_face() {
    assert_eq!(offenders("tools", &["sandbox", "crate::mcp", "crate::cli", "Client"], &[]), Vec::<String>::new());
}

#[test]
fn the_sandbox_knows_neither_tools_nor_faces() {
    let words = ["crate::tool", "crate::call", "crate::mcp", "crate::cli", "crate::config"];
    assert_eq!(offenders("sandbox", &words, &[]), Vec::<String>::new());
}

#[test]
fn connections_are_made_in_few_places() {
    let words = ["reqwest::", "TcpStream", "TcpListener"];
    assert_eq!(
        offenders(
            "",
            &words,
            &["pve/https.rs", "cli/health.rs", "mcp/", "sandbox/listen.rs", "web/listen.rs", "web/oauth/issuer.rs"]
        ),
        Vec::<String>::new()
    );
}

#[test]
fn plans_are_sent_in_one_place_and_approved_in_one_place() {
    assert_eq!(offenders("", &[".execute("], &["execute/send.rs", "pve/https.rs"]), Vec::<String>::new());
    assert_eq!(offenders("", &["Approved("], &["policy.rs"]), Vec::<String>::new());
}

/// A task whose tool has something to do at its end is not left to others.
#[test]
fn who_has_something_to_do_when_its_task_has_ended_says_so() {
    let mut seen = 0;
    for (name, code) in sources("tools") {
        for action in code.split("impl Action for ").skip(1) {
            // Up to the end of the block: the first brace at the line's beginning.
            let action = action.split("\n}").next().unwrap();
            let does = ["fn result(", "fn undo(", "fn goes_on("].iter().any(|method| action.contains(method));
            let says = action.contains("const LOOKS_AFTER: bool = true;");
            assert_eq!(does, says, "{name}: {}", action.lines().next().unwrap());
            seen += usize::from(does);
        }
    }
    assert!(seen > 5, "the search itself does not work");
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (name, _) in sources("") {
        let text = std::fs::read_to_string(root.join(&name)).unwrap();
        assert!(text.starts_with("//!"), "{name} does not open with `//!`");
    }
}
