//! Every `curl` line of the documents that asks a server of this machine, copied and run: against the program itself, started
//! as the README says, and with a key where a line shows one.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

const KEY: &str = "a-key-of-sixteen-characters";

/// Ends with the test.
struct Server {
    child: Child,
    /// Of MCP and of REST.
    ports: [String; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    fn start(key: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
        command.args(["serve", "--http", "127.0.0.1:0", "--rest", "127.0.0.1:0", "--sandbox"]);
        command.env_clear().envs(key.map(|key| ("PROXMOX_MCP_API_KEY", key))).current_dir(std::env::temp_dir());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let ports = ["MCP", "REST"].map(|what| {
            let said = format!("{what} at http://127.0.0.1:");
            lines.find_map(|line| line.split_once(&said).map(|(_, port)| port.to_owned())).unwrap()
        });
        // It must never be kept from saying something.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, ports }
    }

    fn run(&self, place: &str, lines: &str) {
        let lines = lines.replace("127.0.0.1:8812", &format!("127.0.0.1:{}", self.ports[0]));
        let lines = lines.replace("127.0.0.1:8811", &format!("127.0.0.1:{}", self.ports[1]));
        // The first that fails ends it.
        let script = format!(
            "set -euo pipefail\nKEY={KEY}\ncurl() {{ command curl --fail-with-body -sS --max-time 120 \"$@\"; }}\n{lines}"
        );
        let ran = Command::new("bash").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{place}:\n{lines}\n{said}{}", String::from_utf8_lossy(&ran.stderr));
        assert!(!said.contains("event: error"), "{place}:\n{lines}\n{said}");
    }
}

/// The blocks of a document in which a server of this machine is asked, without the lines that start one.
fn blocks(text: &str) -> Vec<String> {
    let all = text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let asks = |line: &str| line.contains("curl ") && line.contains("://127.0.0.1:881");
    all.map(|block| block.replace("\\\n", " ").lines().filter(|line| asks(line)).collect::<Vec<_>>().join("\n"))
        .filter(|block| !block.is_empty())
        .collect()
}

#[test]
fn every_curl_line_of_the_documents_does_what_it_says() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let server = Server::start(None);
    let locked = Server::start(Some(KEY));
    let (mut ran, mut shown) = (0, 0);
    for path in docs.chain([root.join("README.md")]) {
        let place = path.display().to_string();
        for block in blocks(&std::fs::read_to_string(&path).unwrap()) {
            server.run(&place, &block);
            ran += block.lines().count();
            for line in block.lines().filter(|line| line.contains("$KEY")) {
                locked.run(&place, line);
                shown += 1;
            }
        }
    }
    assert!(ran >= 10 && shown >= 1, "{ran} lines, {shown} with a key");
}
