//! A program that is killed half way: what it leaves on record, taken back or finished by another one. Real processes, with
//! the simulated cluster as one of its own.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command.env_clear().current_dir(std::env::temp_dir()).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A simulated cluster, and a directory for records.
struct Lab {
    sandbox: Child,
    settings: Vec<(String, String)>,
    state: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.sandbox.kill());
        drop(self.sandbox.wait());
        drop(fs::remove_dir_all(&self.state));
    }
}

impl Lab {
    fn start(name: &str) -> Self {
        let mut sandbox = program()
            .args(["sandbox", "--listen", "127.0.0.1:0", "--time-scale", "5"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(sandbox.stdout.take().unwrap()).lines().map(Result::unwrap);
        let settings = lines.by_ref().filter(|line| !line.starts_with('#')).take(4);
        let settings = settings.map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        let settings = settings.collect();
        let state = std::env::temp_dir().join(format!("proxmox-mcp-resume-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&state));
        Self { sandbox, settings, state }
    }

    fn run(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.args(args).envs(self.settings.clone()).env("PROXMOX_STATE_DIR", &self.state).stdout(Stdio::piped());
        command
    }

    fn json(&self, args: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let value = serde_json::from_str(&text)
            .unwrap_or_else(|e| json!(format!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr))));
        (value, output.status.code())
    }

    /// Names and states of the VMs that are called so. The list is some seconds behind with states, so each is asked.
    fn machines(&self) -> Vec<(String, String)> {
        let (vms, _) = self.json(&["call", "proxmox-list-vms", "limit=1000"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut names: Vec<String> = vms["vms"].as_array().unwrap().iter().map(|row| text(&row["name"])).collect();
        names.retain(|name| name.starts_with("app"));
        names.sort();
        let state = |name: &String| {
            let (info, _) = self.json(&["call", "proxmox-vm-info", &format!("name={name}")]);
            text(&info["status"])
        };
        names.iter().map(|name| (name.clone(), state(name))).collect()
    }

    fn record(&self) -> Option<PathBuf> {
        let entry = fs::read_dir(&self.state).ok()?.next()?;
        Some(entry.unwrap().path())
    }

    /// Provisions three VMs and is killed once its record has so many lines; false where it came to its end before.
    fn killed_at(&self, lines: usize) -> bool {
        let mut child = self
            .run(&[
                "call",
                "proxmox-provision-vm",
                "name=app{01..03}",
                "template=debian-12",
                "cores=2",
                "memory_mb=1024",
            ])
            .args([
                "password=n0-one-reads-this",
                "tags=[\"lab\"]",
                "wait_agent=false",
                "wait_address=false",
                "confirm=true",
            ])
            .spawn()
            .unwrap();
        loop {
            if let Some(record) = self.record()
                && count(&record) >= lines
            {
                child.kill().unwrap();
                child.wait().unwrap();
                return self.record().is_some();
            }
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

fn count(record: &Path) -> usize {
    fs::read_to_string(record).map_or(0, |text| text.lines().count())
}

#[test]
fn what_a_killed_program_had_begun_is_taken_back() {
    for lines in [2, 5, 9, 14, 20] {
        let lab = Lab::start(&format!("back-{lines}"));
        assert_eq!(lab.machines(), []);
        assert!(lab.killed_at(lines), "it ended before its record had {lines} lines");
        let record = fs::read_to_string(lab.record().unwrap()).unwrap();
        assert!(!record.contains("n0-one-reads-this"), "a secret on disk: {record}");
        let (left, code) = lab.json(&["resume", "--json"]);
        assert_eq!((left.as_array().map(Vec::len), code), (Some(1), Some(0)), "{left}");
        assert_eq!(left[0]["lanes"].as_array().unwrap().len(), 3, "{left}");
        let (told, code) = lab.json(&["resume", "--rollback"]);
        assert_eq!(code, Some(0), "killed at {lines}: {told}");
        assert_eq!(lab.machines(), [], "killed at {lines}: {told}");
        assert_eq!(lab.json(&["resume", "--json"]).0, json!([]));
    }
}

#[test]
fn what_a_killed_program_had_begun_is_finished() {
    for lines in [8, 15, 20] {
        let lab = Lab::start(&format!("finish-{lines}"));
        assert!(lab.killed_at(lines), "it ended before its record had {lines} lines");
        let (told, code) = lab.json(&["resume", "--finish"]);
        // Killed while a request was on its way: what may have been done is not done again, only taken back.
        if told["error"]["kind"] == "unclear" {
            assert_eq!(lab.json(&["resume", "--rollback"]).1, Some(0));
            assert_eq!(lab.machines(), []);
            continue;
        }
        assert_eq!(code, Some(0), "killed at {lines}: {told}");
        let all = ["app01", "app02", "app03"].map(|name| (name.to_owned(), "running".to_owned()));
        assert_eq!(lab.machines(), all, "killed at {lines}: {told}");
        assert_eq!(told["done"], 3, "{told}");
        assert_eq!(lab.json(&["resume", "--json"]).0, json!([]));
    }
}

#[test]
fn only_who_has_the_credentials_takes_a_record_up_and_forgetting_changes_nothing() {
    let lab = Lab::start("others");
    assert!(lab.killed_at(9));
    let before = lab.machines();
    let other = lab
        .run(&["resume", "--rollback"])
        .env("PROXMOX_TOKEN_SECRET", "00000000-0000-0000-0000-000000000000")
        .output()
        .unwrap();
    let said = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(said.contains("other credentials"), "{said}");
    let forgotten = lab.run(&["resume", "--forget"]).output().unwrap();
    assert_eq!(forgotten.status.code(), Some(0));
    assert_eq!(lab.machines().len(), before.len());
    assert_eq!(lab.json(&["resume", "--json"]).0, json!([]));
    let nothing = lab.run(&["resume", "--rollback"]).output().unwrap();
    assert!(String::from_utf8(nothing.stderr).unwrap().contains("nothing was left half done"));
}
