//! The guest agent: commands and their results, files, passwords, facts; and guests that do not answer.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http::Method;
use proxmox_mcp::sandbox::{Fault, FaultKind};
use serde_json::{Value, json};
use support::{Test, options, start};

const EXEC: &str = "proxmox-guest-exec";
const EXEC_PATH: &str = "/nodes/*/qemu/*/agent/exec";
const STATUS_PATH: &str = "/nodes/*/qemu/*/agent/exec-status";

/// Runs a command in web-01 and waits for it; the result.
async fn exec(test: &Test, mut arguments: Value) -> Value {
    arguments["vmid"] = json!(100);
    let outcome = test.call(EXEC, arguments).await;
    assert_eq!(outcome["state"], "done", "{outcome}");
    outcome["result"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_shell_line_runs_in_the_guest_s_shell_and_its_output_comes_back() {
    let test = start(options()).await;
    let ran = exec(&test, json!({"command": "hostname; echo oops >&2; exit 3"})).await;
    assert_eq!(ran["running"], false);
    assert_eq!((&ran["exit_code"], &ran["stdout"], &ran["stderr"]), (&json!(3), &json!("web-01\n"), &json!("oops\n")));
    assert_eq!(test.sent.writes(), ["POST /nodes/pve1/qemu/100/agent/exec"]);
}

#[tokio::test(start_paused = true)]
async fn a_program_with_args_needs_no_shell() {
    let test = start(options()).await;
    let ran = exec(&test, json!({"command": "echo", "args": ["a  b", "$HOME;", "é €"]})).await;
    assert_eq!(ran["stdout"], "a  b $HOME; é €\n");
    let ran = exec(&test, json!({"args": ["/bin/cat"], "input_data": "naïve €\n"})).await;
    assert_eq!((&ran["stdout"], ran.get("stdout_encoding")), (&json!("naïve €\n"), None));
    let ran = exec(&test, json!({"command": "id"})).await;
    assert!(ran["stdout"].as_str().unwrap().starts_with("uid=0(root)"), "{ran}");
    let asked = test.sent.matching(|_, path| path.ends_with("get-osinfo"));
    assert!(asked.is_empty(), "no shell was needed: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn output_that_is_no_text_is_marked() {
    let test = start(options()).await;
    let ran = exec(&test, json!({"command": "head -c 3 /dev/zero"})).await;
    assert_eq!((&ran["stdout"], &ran["stdout_encoding"]), (&json!("AAAA"), &json!("base64")));
    let ran = exec(&test, json!({"command": r"printf 'a\377'"})).await;
    assert_eq!((&ran["stdout"], &ran["stdout_encoding"]), (&json!("aÿ"), &json!("latin-1")));
}

#[tokio::test(start_paused = true)]
async fn long_output_keeps_its_ends_and_says_what_is_missing() {
    let test = start(options()).await;
    let line = r"echo first; head -c 200000 /dev/zero | tr '\0' x; echo; echo last";
    let ran = exec(&test, json!({"command": line})).await;
    let stdout = ran["stdout"].as_str().unwrap();
    assert!(stdout.len() < 70_000 && stdout.starts_with("first\n") && stdout.ends_with("last\n"), "{}", stdout.len());
    assert!(ran["note"].as_str().unwrap().contains("of 200012 bytes of stdout"), "{}", ran["note"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_its_time_is_waited_for() {
    let test = start(options()).await;
    let begun = tokio::time::Instant::now();
    let ran = exec(&test, json!({"command": "sleep 20; echo done"})).await;
    assert_eq!(ran["stdout"], "done\n");
    let took = begun.elapsed().as_secs_f64();
    assert!((20.0..21.5).contains(&took), "{took}");
    let looks = test.sent.matching(|_, path| path.ends_with("exec-status")).len();
    assert!(looks < 30, "{looks} looks");
    assert!(test.progress.lock().unwrap().iter().any(|update| update.message.contains("runs")));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_too_long_goes_on_and_is_read_later() {
    let test = start(options()).await;
    let outcome = test.call(EXEC, json!({"vmid": 100, "command": "sleep 90; echo late", "timeout": 5})).await;
    assert_eq!((&outcome["state"], &outcome["result"]["running"]), (&json!("running"), &json!(true)));
    let pid = &outcome["result"]["pid"];
    let next = outcome["next"].as_str().unwrap();
    assert!(next.contains(&format!("proxmox-guest-exec-status vmid=100 pid={pid}")), "{next}");
    let status = "proxmox-guest-exec-status";
    assert_eq!(test.call(status, json!({"vmid": 100, "pid": pid})).await["running"], true);
    let ended = test.call(status, json!({"vmid": 100, "pid": pid, "timeout": 120})).await;
    assert_eq!((&ended["exit_code"], &ended["stdout"]), (&json!(0), &json!("late\n")));
    let gone = test.fails(status, json!({"vmid": 100, "pid": pid})).await;
    assert!(gone.contains("does not exist") && gone.contains("hands a result out once"), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn without_wait_only_the_process_id_comes_back() {
    let test = start(options()).await;
    let outcome = test.call(EXEC, json!({"vmid": 100, "command": "uptime", "wait": false})).await;
    assert_eq!((&outcome["state"], &outcome["result"]["running"]), (&json!("running"), &json!(true)));
    assert!(test.sent.matching(|_, path| path.ends_with("exec-status")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_told_apart_from_an_exit_code() {
    let test = start(options()).await;
    let ran = exec(&test, json!({"command": "kill -9 $$"})).await;
    assert_eq!((&ran["signal"], ran.get("exit_code")), (&json!(9), None));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_there_is_named_as_the_likely_reason() {
    let test = start(options()).await;
    let words = test.fails(EXEC, json!({"vmid": 100, "command": "/no/such"})).await;
    assert!(words.contains("Broken pipe") && words.contains("no such program"), "{words}");
    assert_eq!(test.sent.writes().len(), 1);
    let ran = exec(&test, json!({"command": "/no/such --flag"})).await;
    assert_eq!(ran["exit_code"], 127, "a shell says so itself");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_does_not_lose_the_command() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, STATUS_PATH).times(3));
    let ran = exec(&test, json!({"command": "sleep 3; echo still there"})).await;
    assert_eq!(ran["stdout"], "still there\n");
    // An answer that is lost on the way takes the result with it: the agent has handed it out.
    test.sandbox.fault(Fault::new(FaultKind::Status596).on(Method::GET, STATUS_PATH).times(1));
    let words = test.fails(EXEC, json!({"vmid": 100, "command": "echo once"})).await;
    assert!(words.contains("the command was begun as process"), "{words}");
    assert!(words.contains("done before: POST /nodes/pve1/qemu/100/agent/exec"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_answer_is_lost_is_not_sent_again() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Drop).on(Method::POST, EXEC_PATH).times(1));
    let words = test.fails(EXEC, json!({"vmid": 100, "command": "touch /tmp/x"})).await;
    assert!(words.contains("may or may not have been done"), "{words}");
    assert_eq!(test.sent.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn windows_runs_its_own_shells() {
    let test = start(options()).await;
    test.call("proxmox-start-vm", json!({"vmid": 106, "wait": true})).await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let plan = test.call(EXEC, json!({"vmid": 106, "command": "echo hi", "dry_run": true})).await;
    assert_eq!(plan["requests"][0]["params"]["command"], json!(["cmd.exe", "/c", "echo hi"]));
    let ran = test.call(EXEC, json!({"vmid": 106, "command": "echo hi"})).await;
    assert_eq!(ran["result"]["stdout"], "hi\n");
    let ran = test.call(EXEC, json!({"vmid": 106, "command": "Write-Output 'hi'", "shell": "powershell"})).await;
    assert_eq!(ran["result"]["stdout"], "hi\n");
    let info = test.call("proxmox-agent-info", json!({"vmid": 106})).await;
    assert_eq!((&info["os"]["id"], &info["hostname"]), (&json!("mswindows"), &json!("WIN11-TEST")));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_each_word_and_runs_nothing() {
    let test = start(options()).await;
    let plan = test.call(EXEC, json!({"vmid": 100, "command": "rm -rf /srv/x && sync", "dry_run": true})).await;
    assert_eq!(plan["state"], "planned");
    assert_eq!(plan["summary"], "run `rm -rf /srv/x && sync` in VM 100 (web-01) on pve1");
    assert_eq!(plan["requests"][0]["params"]["command"], json!(["/bin/sh", "-c", "rm -rf /srv/x && sync"]));
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_run_is_refused_before_anything_is_sent() {
    let test = start(options()).await;
    for (arguments, words) in [
        (json!({"vmid": 100}), "command: expected"),
        (
            json!({"vmid": 100, "command": "cat", "input_data": "x".repeat(65_537)}),
            "input_data: expected at most 65536",
        ),
        (json!({"vmid": 108, "command": "id"}), "a container has no guest agent"),
        (json!({"vmid": 108, "command": "id"}), "pct exec 108"),
    ] {
        let said = test.fails(EXEC, arguments).await;
        assert!(said.contains(words), "{said}");
    }
    assert!(test.sent.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn guests_that_do_not_answer_are_told_apart() {
    let test = start(options()).await;
    let stopped = test.fails("proxmox-agent-info", json!({"vmid": 107})).await;
    assert!(stopped.contains("VM 107 is not running") && stopped.contains("start it first"), "{stopped}");
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    let early = test.fails("proxmox-agent-ping", json!({"vmid": 107})).await;
    assert!(early.contains("QEMU guest agent is not running") && early.contains("installed"), "{early}");
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let ping = test.call("proxmox-agent-ping", json!({"vmid": 107})).await;
    assert_eq!(ping["result"]["answered"], true);
    test.sandbox.by_hand().set(107, "agent", None);
    let none = test.fails(EXEC, json!({"vmid": 107, "command": "id"})).await;
    assert!(none.contains("No QEMU guest agent configured") && none.contains("agent=1"), "{none}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_dead_is_not_asked_seven_times() {
    let test = start(options()).await;
    test.fails("proxmox-agent-info", json!({"vmid": 107})).await;
    assert!(test.sent.matching(|_, path| path.contains("/agent/")).len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn the_agent_tells_of_its_guest() {
    let test = start(options()).await;
    let info = test.call("proxmox-agent-info", json!({"name": "web-01"})).await;
    assert_eq!(info["os"]["name"], "Debian GNU/Linux 12 (bookworm)");
    assert_eq!(info["hostname"], "web-01");
    let addresses = info["network"][1]["addresses"].as_array().unwrap();
    assert!(addresses[0].as_str().unwrap().starts_with("192.168."), "{addresses:?}");
    assert_eq!((&info["filesystems"][0]["mountpoint"], &info["timezone"]["offset_s"]), (&json!("/"), &json!(0)));
    assert!(info["time"].as_u64().unwrap() >= 1_800_000_000);
    let some = test.call("proxmox-agent-info", json!({"name": "web-01", "include": ["hostname", "users"]})).await;
    assert_eq!((&some["hostname"], &some["users"], some.get("os")), (&json!("web-01"), &json!([]), None));
}

#[tokio::test(start_paused = true)]
async fn what_the_agent_cannot_tell_stands_beside_what_it_can() {
    let test = start(options()).await;
    test.sandbox.fault(Fault::new(FaultKind::Status595).on(Method::GET, "/nodes/*/qemu/*/agent/get-fsinfo"));
    let info = test.call("proxmox-agent-info", json!({"name": "web-01"})).await;
    assert!(info["failed"]["filesystems"].as_str().unwrap().contains("Connection refused"), "{info}");
    assert_eq!(info["hostname"], "web-01");
    let words = test.fails("proxmox-agent-info", json!({"name": "web-01", "include": ["filesystems"]})).await;
    assert!(words.contains("Connection refused"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn files_come_back_as_they_were_written() {
    let test = start(options()).await;
    for content in ["plain\n", "naïve €\n", ""] {
        let file = json!({"vmid": 100, "path": "/tmp/a", "content": content, "confirm": true});
        assert_eq!(test.call("proxmox-agent-file-write", file).await["state"], "done");
        let read = test.call("proxmox-agent-file-read", json!({"vmid": 100, "path": "/tmp/a"})).await;
        assert_eq!((&read["content"], &read["truncated"]), (&json!(content), &json!(false)));
        assert_eq!(read["bytes"], content.len());
    }
    let binary = json!({"vmid": 100, "path": "/tmp/b", "content": "AAH/", "base64": true, "confirm": true});
    test.call("proxmox-agent-file-write", binary).await;
    let read = test.call("proxmox-agent-file-read", json!({"vmid": 100, "path": "/tmp/b"})).await;
    assert_eq!((&read["content"], &read["encoding"]), (&json!("AAH/"), &json!("base64")));
    assert_eq!(exec(&test, json!({"command": "wc -c < /tmp/b"})).await["stdout"], "3\n");
}

#[tokio::test(start_paused = true)]
async fn a_long_file_is_read_in_parts() {
    let test = start(options()).await;
    exec(&test, json!({"command": r"head -c 100000 /dev/zero | tr '\0' x > /tmp/long; echo end >> /tmp/long"})).await;
    let file = json!({"vmid": 100, "path": "/tmp/long"});
    let first = test.call("proxmox-agent-file-read", file.clone()).await;
    assert_eq!((&first["truncated"], &first["next_offset"]), (&json!(true), &json!(65_536)));
    let mut rest = file;
    rest["offset"] = first["next_offset"].clone();
    let second = test.call("proxmox-agent-file-read", rest).await;
    assert_eq!((&second["truncated"], second.get("next_offset")), (&json!(false), None));
    assert_eq!(second["bytes"], 100_004 - 65_536);
    assert!(second["content"].as_str().unwrap().ends_with("xend\n"));
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_are_refused() {
    let test = start(options()).await;
    let write = "proxmox-agent-file-write";
    for (tool, arguments, words) in [
        ("proxmox-agent-file-read", json!({"vmid": 100, "path": "/nosuch"}), "No such file or directory"),
        (write, json!({"vmid": 100, "path": "/no/x", "content": "x", "confirm": true}), "No such file or directory"),
        (
            write,
            json!({"vmid": 100, "path": "/tmp/x", "content": "x".repeat(61_441), "confirm": true}),
            "at most 61440",
        ),
        (
            write,
            json!({"vmid": 100, "path": "/tmp/x", "content": "é".repeat(30_000), "confirm": true}),
            "at most 46080",
        ),
        (write, json!({"vmid": 100, "path": "/tmp/x", "content": "?", "base64": true, "confirm": true}), "base64"),
    ] {
        let said = test.fails(tool, arguments).await;
        assert!(said.contains(words), "{said}");
    }
    let asked = test.call(write, json!({"vmid": 100, "path": "/etc/motd", "content": "x"})).await;
    assert_eq!(asked["state"], "needs_confirmation");
    let read = test.call("proxmox-agent-file-read", json!({"vmid": 100, "path": "/etc/motd"})).await;
    assert_eq!(read["content"], "");
}

#[tokio::test(start_paused = true)]
async fn a_password_is_set_and_never_shown() {
    let test = start(options()).await;
    let arguments = json!({"vmid": 100, "username": "root", "password": "hunter2-hunter2"});
    let mut dry = arguments.clone();
    dry["dry_run"] = json!(true);
    let plan = test.call("proxmox-agent-set-password", dry).await;
    assert_eq!(plan["requests"][0]["params"], json!({"username": "root", "password": "********"}));
    assert!(test.sent.writes().is_empty() && !plan.to_string().contains("hunter2"));
    let mut real = arguments;
    real["confirm"] = json!(true);
    let done = test.call("proxmox-agent-set-password", real.clone()).await;
    assert!(done["state"] == "done" && !done.to_string().contains("hunter2"), "{done}");
    real["username"] = json!("nobody-here");
    let words = test.fails("proxmox-agent-set-password", real.clone()).await;
    assert!(words.contains("does not exist") && !words.contains("hunter2"), "{words}");
    real["password"] = json!("abc");
    let words = test.fails("proxmox-agent-set-password", real).await;
    assert!(words.contains("password"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn file_systems_are_trimmed() {
    let test = start(options()).await;
    let plan = test.call("proxmox-agent-fstrim", json!({"vmid": 100, "dry_run": true})).await;
    assert_eq!((&plan["state"], test.sent.writes().len()), (&json!("planned"), 0));
    let done = test.call("proxmox-agent-fstrim", json!({"vmid": 100})).await;
    assert_eq!(done["result"]["filesystems"][0]["path"], "/");
    assert!(done["result"]["filesystems"][0]["trimmed_mib"].as_u64().unwrap() > 0);
}

#[tokio::test(start_paused = true)]
async fn addresses_follow_cloud_init() {
    let test = start(options()).await;
    test.sandbox.by_hand().set(107, "ipconfig0", Some("ip=10.20.30.40/16,gw=10.20.0.1"));
    test.call("proxmox-start-vm", json!({"vmid": 107, "wait": true})).await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let info = test.call("proxmox-agent-info", json!({"vmid": 107, "include": ["network"]})).await;
    assert_eq!(info["network"][1]["addresses"][0], "10.20.30.40/16");
}
