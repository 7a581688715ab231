//! Settings of the real process: what a wrong one looks like, and that a right one contacts nobody by itself.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};

/// Arguments, environment, and how the refusal begins.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

/// The program in an empty directory and an empty environment.
fn program(directory: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command.env_clear().current_dir(directory.path()).stdin(Stdio::null());
    command
}

/// The one line of a refusal: exit code 2, nothing on stdout, no secret.
fn refusal(output: &Output) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(output.stdout, b"", "{line}");
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert!(!line.contains("hunter2"), "{line}");
    line.trim_end().to_owned()
}

#[test]
fn a_missing_or_wrong_setting_is_one_line_on_stderr_and_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let cases: &[Case] = &[
        (&[], &[], "PROXMOX_API_URL is not set: expected"),
        (&["serve"], &[("PROXMOX_HOST", "pve")], "PROXMOX_TOKEN_ID is not set: expected"),
        (&["doctor"], &[("PROXMOX_HOST", "pve"), ("PROXMOX_TOKEN", "hunter2")], "PROXMOX_TOKEN: expected"),
        (&["--port", "x"], &[("PROXMOX_HOST", "pve")], "--port: expected"),
        (&["--env-file", "none"], &[], "--env-file: expected"),
        (&["call", "proxmox-list-nodes"], &[("PROXMOX_URL", "http://pve")], "PROXMOX_URL: expected https://"),
    ];
    for (arguments, settings, expected) in cases {
        let output = program(&directory).args(*arguments).envs(settings.iter().copied()).output().unwrap();
        let line = refusal(&output);
        assert!(line.starts_with(&format!("proxmox-mcp: {expected}")), "{arguments:?} {settings:?}: {line}");
    }
}

#[test]
fn a_bad_line_of_the_env_file_in_the_working_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".env"), "PROXMOX_HOST=pve\nhunter2\n").unwrap();
    let line = refusal(&program(&directory).output().unwrap());
    assert!(line.starts_with("proxmox-mcp: .env, line 2: expected NAME=value"), "{line}");
}

#[test]
fn nobody_is_contacted_before_the_first_call() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut server = program(&directory)
        .env("PROXMOX_HOST", listener.local_addr().unwrap().to_string())
        .env("PROXMOX_USER", "root")
        .env("PROXMOX_PASSWORD", "hunter2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let mut answers = BufReader::new(server.stdout.take().unwrap()).lines();
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"0"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
    ] {
        writeln!(stdin, "{message}").unwrap();
        if message.contains("\"id\"") {
            assert!(answers.next().unwrap().unwrap().contains("\"result\""));
        }
    }
    assert_eq!(listener.accept().map(|_| ()).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    writeln!(
        stdin,
        r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"proxmox-list-nodes","arguments":{{}}}}}}"#
    )
    .unwrap();
    listener.set_nonblocking(false).unwrap();
    let connection = listener.accept().unwrap();
    // Nobody listens any more: every further attempt fails at once.
    drop((listener, connection));
    let answer = answers.next().unwrap().unwrap();
    assert!(answer.contains("\"isError\":true") && !answer.contains("hunter2"), "{answer}");
    drop(stdin);
    assert!(server.wait().unwrap().success());
}

/// A simulated cluster in a process of its own, and its settings with verification off.
fn unverified() -> (Child, String, String) {
    let mut sandbox = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    sandbox.args(["sandbox", "--listen", "127.0.0.1:0"]).env_clear().stdout(Stdio::piped());
    let mut sandbox = sandbox.spawn().unwrap();
    let mut settings = String::new();
    for line in BufReader::new(sandbox.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(fingerprint) = line.strip_prefix("PROXMOX_FINGERPRINT=") {
            return (sandbox, settings + "PROXMOX_VERIFY=false\n", fingerprint.to_owned());
        }
        settings.push_str(&line);
        settings.push('\n');
    }
    (sandbox, settings, String::new())
}

#[test]
fn verification_that_is_off_is_told_once_with_the_line_that_replaces_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sandbox, settings, fingerprint) = unverified();
    std::fs::write(directory.path().join(".env"), settings).unwrap();
    let mut server =
        program(&directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let mut answers = BufReader::new(server.stdout.take().unwrap()).lines();
    let call = |id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"proxmox-list-nodes","arguments":{{}}}}}}"#
        )
    };
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"0"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        call(2),
        call(3),
    ] {
        writeln!(stdin, "{message}").unwrap();
        if message.contains("\"id\"") {
            let answer = answers.next().unwrap().unwrap();
            assert!(answer.contains("\"result\"") && !answer.contains("\"isError\":true"), "{answer}");
        }
    }
    drop(stdin);
    let told = String::from_utf8(server.wait_with_output().unwrap().stderr).unwrap();
    let line = format!("In place of PROXMOX_VERIFY=false set PROXMOX_FINGERPRINT={fingerprint}");
    assert_eq!(told.matches(&line).count(), 1, "{told}");
    assert_eq!(told.matches("not verified").count(), 1, "{told}");

    let report = program(&directory).arg("doctor").output().unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    let hint = format!("try: in place of PROXMOX_VERIFY=false: PROXMOX_FINGERPRINT={fingerprint}\n");
    assert!(report.contains(&hint), "{report}");

    let refused = program(&directory).args(["--require-verified-tls", "true", "doctor"]).output().unwrap();
    sandbox.kill().unwrap();
    assert!(refusal(&refused).contains("PROXMOX_VERIFY in .env: expected a verified certificate"));
}
