//! Documents that are made from tables are current. `UPDATE_EXPECT=1 cargo test --test generated` writes them anew.

use expect_test::expect_file;
use proxmox_mcp::docs;

/// What to run when one of these fails (expect-test says it too, in more words).
const RENEW: &str = "to renew it: UPDATE_EXPECT=1 cargo test --test generated";

#[test]
fn the_example_env_file_is_current() {
    eprintln!(".env.example is made from src/config/table.rs; {RENEW}");
    expect_file!["../.env.example"].assert_eq(&docs::env_example());
}

#[test]
fn the_tool_reference_is_current() {
    eprintln!("tools.md is made from src/tools/; {RENEW}");
    expect_file!["../tools.md"].assert_eq(&docs::tools_md());
}

#[test]
fn the_settings_table_of_the_readme_is_current() -> Result<(), Box<dyn std::error::Error>> {
    eprintln!("README.md's settings table is made from src/config/table.rs; {RENEW}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let renewed = docs::with_settings_table(&std::fs::read_to_string(path)?)?;
    expect_file!["../README.md"].assert_eq(&renewed);
    Ok(())
}

#[test]
fn every_dependency_has_its_reason_in_the_architecture() {
    let manifest = include_str!("../Cargo.toml");
    let architecture = include_str!("../ARCHITECTURE.md");
    let names: Vec<&str> = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in &names {
        assert!(architecture.contains(&format!("\n| `{name}` |")), "{name} has no reason in ARCHITECTURE.md");
    }
    let rows = architecture.lines().skip_while(|line| !line.starts_with("| crate")).skip(2);
    for row in rows.take_while(|line| line.starts_with('|')) {
        assert!(names.iter().any(|name| row.starts_with(&format!("| `{name}` |"))), "not a dependency: {row}");
    }
}
