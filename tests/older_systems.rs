//! The systems of older servers, started from the configuration that their documents give, word for word: nothing is added
//! but the choice of their tool names, and every tool of theirs is called.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use proxmox_mcp::{
    config::{self, Auth, Config},
    sandbox::Sandbox,
    tool_names::Names,
};
use serde_json::{Value, json};
use support::{Test, guarded, options};

/// From the document about an IDE; the block that is filled in.
const IDE: &str = r#"
"env": {
  "PROXMOX_HOST": "https://192.168.50.11:8006",
  "PROXMOX_USER": "root@pam",
  "PROXMOX_TOKEN_ID": "root@pam!antigravity",
  "PROXMOX_TOKEN_SECRET": "5f4dcc3b-5aa0-4444-9090-e245645666",
  "VERIFY_SSL": "false"
}
"#;

/// As ProxmoxMCP-Plus documents it for its clients; the document about n8n has none for the server.
const PLUS: &str = r#"
"env": {
  "PROXMOX_HOST": "your-proxmox-host",
  "PROXMOX_USER": "root@pam",
  "PROXMOX_TOKEN_NAME": "mcp-token",
  "PROXMOX_TOKEN_VALUE": "your-token-secret",
  "PROXMOX_PORT": "8006",
  "PROXMOX_VERIFY_SSL": "true"
}
"#;

/// The blocks of the TypeScript server's `.env`.
const SERVER: &str = "
PROXMOX_HOST=tu-servidor-proxmox.com
PROXMOX_PORT=8006
";
const BY_TOKEN: &str = "
PROXMOX_AUTH_METHOD=token
PROXMOX_TOKEN=user@pam!tokenid=tu-token-aqui
";
const BY_PASSWORD: &str = "
PROXMOX_AUTH_METHOD=password
PROXMOX_USERNAME=tu-usuario@pam
PROXMOX_PASSWORD=tu-contraseña
";
const SSL: &str = "
# Para ignorar certificados SSL (útil en desarrollo)
PROXMOX_REJECT_UNAUTHORIZED=false
";

/// The `.env` of the plan for Python and Docker, which its compose file mounts.
const PLAN: &str = "
# URL de votre Proxmox (ex: https://192.168.1.10:8006)
PROXMOX_URL=https://<IP>:<PORT>

# Authentification via Token (recommandé)
# Format User: root@pam
PROXMOX_USER=root@pam
# ID du token (ex: mcp-token)
PROXMOX_TOKEN_ID=votre_token_id
# Secret du token (ex: xxxxx-xxxx-xxxx-xxxx)
PROXMOX_TOKEN_SECRET=votre_token_secret

# Sécurité SSL
# 'true' pour vérifier le certificat (prod), 'false' pour ignorer (self-signed)
PROXMOX_VERIFY_SSL=false
";

const PLAN_DOCUMENT: &str = "python-and-docker-plan.md";
const IDE_DOCUMENT: &str = "proxmoxmcp-in-an-ide.md";
const TYPESCRIPT_DOCUMENT: &str = "typescript-server.md";
const N8N_DOCUMENT: &str = "n8n-with-proxmoxmcp-plus.md";

/// A system's document, where the facts are at hand.
fn document(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/systems").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        eprintln!("skipped: {} is not there", path.display());
    }
    text
}

/// Lines without indentation and without what is not ASCII, which one document has garbled.
fn lines(text: &str) -> Vec<String> {
    let plain = |line: &str| line.chars().filter(char::is_ascii).collect::<String>().trim().to_owned();
    text.lines().map(plain).filter(|line| !line.is_empty()).collect()
}

fn resolve(env: BTreeMap<String, String>, dotenv: Option<&str>) -> Config {
    let read = |path: &Path| match dotenv {
        Some(text) if path == Path::new(".env") => Ok(text.to_owned()),
        _ => Err(ErrorKind::NotFound.into()),
    };
    let config = config::resolve(&config::collect(BTreeMap::new(), env, &read).unwrap(), &read).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    config
}

fn choice(names: Names) -> (String, String) {
    ("PROXMOX_TOOL_NAMES".to_owned(), names.name().to_owned())
}

/// The `env` of a client's `mcp.json`.
fn mcp_json(names: Names, block: &str) -> Config {
    let block: Value = serde_json::from_str(&format!("{{{block}}}")).unwrap();
    let env: BTreeMap<String, String> = serde_json::from_value(block["env"].clone()).unwrap();
    resolve(env.into_iter().chain([choice(names)]).collect(), None)
}

/// A `.env` in the working directory.
fn dotenv(names: Names, text: &str) -> Config {
    resolve(BTreeMap::from([choice(names)]), Some(text))
}

/// The same file as compose hands it over: as the environment.
fn env_file(names: Names, text: &str) -> Config {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let env = text.lines().filter(|line| !line.starts_with('#')).filter_map(pair);
    resolve(env.chain([choice(names)]).collect(), None)
}

/// The server, on a cluster that knows the configured credentials.
async fn start(config: &Config) -> Test {
    let sandbox = Sandbox::new(options());
    let [cluster] = config.clusters.as_slice() else { panic!("{} clusters", config.clusters.len()) };
    match &cluster.auth {
        Auth::Token { id, secret } => sandbox.admit(&id.to_string(), secret.clone()),
        Auth::Password { username, password, .. } => sandbox.admit(username, password.clone()),
    }
    guarded(sandbox, cluster.clone(), config.safety.clone()).await
}

/// Each tool of the system, on a cluster of its own.
async fn every_tool_works(config: Config, names: Names) {
    assert_eq!(config.safety.tool_names, names);
    for alias in names.aliases() {
        let test = start(&config).await;
        let arguments = test.older_example(alias).await;
        let result = test.mcp.call(alias.name, arguments.clone()).await;
        let result = result.unwrap_or_else(|e| panic!("{} {arguments}: {e}", alias.name));
        assert!(
            result.get("state").is_none_or(|state| state == "done" || state == "running"),
            "{}: {result}",
            alias.name
        );
    }
}

#[test]
fn the_blocks_stand_in_the_documents() {
    let cases: &[(&str, &[&str])] = &[
        (IDE_DOCUMENT, &[IDE]),
        (TYPESCRIPT_DOCUMENT, &[SERVER, BY_TOKEN, BY_PASSWORD, SSL]),
        (PLAN_DOCUMENT, &[PLAN]),
    ];
    for (name, blocks) in cases {
        let Some(text) = document(name) else { continue };
        let text = lines(&text);
        for block in *blocks {
            let block = lines(block);
            assert!(text.windows(block.len()).any(|part| part == block), "{name} has no {block:?}");
        }
    }
}

/// The names that a document lists: what begins a line after this, up to what is no part of a name.
fn listed_after(text: &str, mark: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let rest = line.trim().strip_prefix(mark)?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() > 3;
        // Prose goes on after its first word.
        (is_name && !after.starts_with(' ')).then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn every_tool_that_the_documents_name_is_there() {
    for (name, names, mark, count) in [
        (N8N_DOCUMENT, Names::Plus, "- ", 17),
        (TYPESCRIPT_DOCUMENT, Names::Camel, "- **", 12),
        (PLAN_DOCUMENT, Names::Machines, "*   **`", 6),
    ] {
        let Some(text) = document(name) else { continue };
        let found = listed_after(&text, mark);
        assert_eq!(found.len(), count, "{name}: {found:?}");
        for tool in &found {
            assert!(names.alias(tool).is_some(), "{name}: {tool}");
        }
        // The other two have the tools of their documents and no others.
        assert!(names == Names::Plus || names.aliases().count() == count, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ide_s_block_runs_every_tool() {
    every_tool_works(mcp_json(Names::Plus, IDE), Names::Plus).await;
}

#[tokio::test(start_paused = true)]
async fn the_block_of_proxmoxmcp_plus_runs_every_tool() {
    every_tool_works(mcp_json(Names::Plus, PLUS), Names::Plus).await;
}

#[tokio::test(start_paused = true)]
async fn the_typescript_server_s_files_run_every_tool() {
    for auth in [BY_TOKEN, BY_PASSWORD] {
        every_tool_works(dotenv(Names::Camel, &format!("{SERVER}{auth}{SSL}")), Names::Camel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_plan_s_file_runs_every_tool_read_or_mounted() {
    let filled = PLAN.replace("<IP>:<PORT>", "192.168.1.10:8006");
    every_tool_works(dotenv(Names::Machines, &filled), Names::Machines).await;
    every_tool_works(env_file(Names::Machines, &filled), Names::Machines).await;
}

/// The program itself, as an IDE starts it with its block; only where it leads is the simulated cluster.
#[test]
fn the_program_starts_with_an_older_block() {
    let block: Value = serde_json::from_str(&format!("{{{IDE}}}")).unwrap();
    let env: BTreeMap<String, String> = serde_json::from_value(block["env"].clone()).unwrap();
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
        command.env_clear().envs(&env).current_dir(std::env::temp_dir());
        command.env("PROXMOX_SANDBOX", "true").env("PROXMOX_TOOL_NAMES", "plus");
        command
    };
    let mut child = program().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |id: u32, method: &str, params: Value| -> Value {
        writeln!(stdin, "{}", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).unwrap();
        loop {
            let message: Value = serde_json::from_str(&stdout.next().unwrap().unwrap()).unwrap();
            if message["id"] == id {
                return message["result"].clone();
            }
        }
    };
    let client =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "ide", "version": "1"}});
    let hello = ask(1, "initialize", client);
    assert!(hello["capabilities"]["prompts"].is_null(), "{hello}");
    let instructions = hello["instructions"].as_str().unwrap();
    assert!(instructions.len() > 100 && !instructions.contains("proxmox-"), "{instructions}");
    let listed = ask(2, "tools/list", json!({}));
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names.len(), Names::Plus.aliases().count());
    assert!(names.contains(&"get_vms") && names.iter().all(|name| !name.starts_with("proxmox-")));
    let vms = ask(3, "tools/call", json!({"name": "get_vms", "arguments": {}}));
    assert!(vms["structuredContent"]["total"].as_u64().unwrap() > 5, "{vms}");
    drop(stdin);
    assert!(child.wait().unwrap().success());
    // The command line knows the same names.
    let called = program().args(["call", "get_node_status", "node=pve1"]).output().unwrap();
    let status: Value = serde_json::from_slice(&called.stdout).unwrap();
    assert_eq!((called.status.code(), &status["node"]), (Some(0), &json!("pve1")));
    let ours = program().args(["call", "proxmox-list-vms"]).output().unwrap();
    assert_eq!(ours.status.code(), Some(2), "{}", String::from_utf8_lossy(&ours.stderr));
    let listed = program().arg("tools").output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains("execute_vm_command"));
}
