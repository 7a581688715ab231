//! What the documents show works: every block of configuration is loaded by the code that would load it, every command line
//! of this program is parsed by its own parser, and every figure, route and file that is named is there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod documents_parts;

use std::path::PathBuf;

use documents_parts::{blocks::Block, clients, compose, image, keys, metrics, proxies, settings, shell, unit, yaml};

/// From the root of the repository.
fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every document that people read, by its path.
fn documents() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut paths = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".md"), "docs/{name} is no document");
        paths.push(format!("docs/{name}"));
    }
    assert!(paths.len() > 9, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn all_blocks() -> Vec<Block> {
    documents().iter().flat_map(|(path, text)| Block::all(path, text)).collect()
}

#[test]
fn every_block_of_the_documents_is_loaded_by_what_would_load_it() {
    let blocks = all_blocks();
    let mut clients_seen = 0;
    for block in &blocks {
        match block.language.as_str() {
            "env" => settings::load(block),
            "sh" => shell::load(block),
            "json" => clients_seen += usize::from(clients::load(block)),
            "yaml" => yaml::load(block),
            "ini" => unit::load(&block.place, &block.text),
            "keys" => keys::load(block),
            "nginx" | "caddyfile" => proxies::load(block),
            // Output, or a picture of something: nothing loads it.
            "text" => {}
            other => panic!("{}: no loader for '{other}'", block.place),
        }
    }
    assert!(blocks.len() > 50 && clients_seen > 2, "{} blocks, {clients_seen} clients", blocks.len());
}

#[test]
fn the_loaders_refuse_what_is_wrong() {
    let refused = |language: &str, text: &str, load: fn(&Block)| {
        let block = Block { place: "test".to_owned(), language: language.to_owned(), text: text.to_owned() };
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let outcome = std::panic::catch_unwind(|| load(&block));
        std::panic::set_hook(hook);
        assert!(outcome.is_err(), "{text} was taken");
    };
    refused("env", "PROXMOX_MOOD=read-only", settings::load);
    refused("env", "PROXMOX_MODE=sometimes", settings::load);
    refused("sh", "proxmox-mcp serve --htpp 1", shell::load);
    refused("sh", "claude mcp add x -- proxmox-mcp --sandpit", shell::load);
    refused("sh", "docker run -e PROXMOX_MOOD=1 proxmox-mcp", shell::load);
    refused("sh", "curl http://127.0.0.1:8812/metrix", shell::load);
    refused("sh", "frobnicate", shell::load);
    let client = r#"{"mcpServers": {"a": {"command": "proxmox-mcp", "args": ["--sandpit"]}}}"#;
    refused("json", client, |block| assert!(clients::load(block)));
    let client = r#"{"mcpServers": {"a": {"command": "proxmox-mcp", "env": {"PROXMOX_HOST": "x:y"}}}}"#;
    refused("json", client, |block| assert!(clients::load(block)));
    refused("yaml", "a: [", yaml::load);
    refused("yaml", "groups: [{name: a, rules: [{alert: A, expr: proxmox_mcp_nothing > 1}]}]", yaml::load);
    refused("keys", "ben:short", keys::load);
    refused("keys", "ben:long-enough-to-be-a-key mode=sometimes", keys::load);
    refused("nginx", "server { listen 1;", proxies::load);
    refused("ini", "[Service]\nExecStart", |block| unit::load(&block.place, &block.text));
}

#[test]
fn every_setting_figure_and_file_that_is_named_is_there() {
    for (path, text) in documents() {
        settings::names(&path, &text);
        metrics::names(&path, &text);
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(&path).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap();
            assert!(folder.join(file).exists(), "{path}: {link} is not there");
        }
    }
}

#[test]
fn every_figure_stands_in_the_documents() {
    let text = read("docs/operation.md");
    for name in metrics::all() {
        assert!(text.contains(&format!("`{name}")), "docs/operation.md says nothing of {name}");
    }
}

#[test]
fn every_document_is_found_from_the_readme() {
    let readme = read("README.md");
    for (path, _) in documents().iter().filter(|(path, _)| path.starts_with("docs/")) {
        assert!(readme.contains(&format!("]({path})")), "README.md does not lead to {path}");
    }
}

#[test]
fn compose_starts_what_the_image_is_made_of() {
    let compose = compose::Service::read(&read("compose.yaml"));
    let image = image::Image::read(&read("Dockerfile"));
    image.check();
    compose.check(&image);
}

#[test]
fn compose_needs_no_key_only_while_it_is_the_simulated_cluster() {
    let compose = compose::Service::read(&read("compose.yaml"));
    let sandbox = compose.settings(&[]).unwrap();
    assert!(sandbox.sandbox && sandbox.web.insecure_no_auth);
    settings::serves(&sandbox).unwrap();
    let mut cluster = vec![
        ("PROXMOX_SANDBOX", "false"),
        ("PROXMOX_API_URL", "https://pve.example.com:8006"),
        ("PROXMOX_TOKEN_ID", "mcp@pve!mcp"),
        ("PROXMOX_TOKEN_SECRET", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
    ];
    let real = compose.settings(&cluster).unwrap();
    assert!(!real.sandbox && !real.web.insecure_no_auth);
    assert_eq!(real.clusters.len(), 1);
    assert!(settings::serves(&real).unwrap_err().contains("nobody would need a key"));
    cluster.push(("PROXMOX_MCP_API_KEY", "n8n:a-key-that-is-long-enough mode=no-delete"));
    settings::serves(&compose.settings(&cluster).unwrap()).unwrap();
}

#[test]
fn the_systemd_unit_starts_a_server_with_its_secrets_from_files() {
    unit::check(&read("contrib/proxmox-mcp.service"));
}
