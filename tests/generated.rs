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
fn the_settings_table_of_the_readme_is_current() -> Result<(), Box<dyn std::error::Error>> {
    eprintln!("README.md's settings table is made from src/config/table.rs; {RENEW}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let renewed = docs::with_settings_table(&std::fs::read_to_string(path)?)?;
    expect_file!["../README.md"].assert_eq(&renewed);
    Ok(())
}
