//! The few programs of simulated Windows guests.

use super::shell::{Output, Session};

/// Runs a program; nothing where there is none of that name.
pub fn run(session: &mut Session<'_>, argv: &[String]) -> Option<Output> {
    let (program, args) = argv.split_first()?;
    let name = program.rsplit('\\').next()?.to_ascii_lowercase();
    match name.strip_suffix(".exe").unwrap_or(&name) {
        "cmd" => {
            let line = args.iter().skip_while(|arg| !arg.eq_ignore_ascii_case("/c")).skip(1).cloned();
            Some(line_of(session, &line.collect::<Vec<_>>().join(" ")))
        }
        "powershell" | "pwsh" => {
            let command = args.iter().skip_while(|arg| !arg.eq_ignore_ascii_case("-command")).skip(1).cloned();
            Some(line_of(session, &command.collect::<Vec<_>>().join(" ")))
        }
        known @ ("hostname" | "whoami") => Some(line_of(session, known)),
        _ => None,
    }
}

fn line_of(session: &mut Session<'_>, line: &str) -> Output {
    let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let rest = rest.trim().trim_matches(['"', '\'']);
    match word.to_ascii_lowercase().as_str() {
        "" => Output::code(0),
        "echo" | "write-output" | "write-host" => Output::out(format!("{rest}\r\n")),
        "hostname" => Output::out(format!("{}\r\n", session.machine.host)),
        "whoami" => Output::out("nt authority\\system\r\n"),
        "ver" => Output::out("\r\nMicrosoft Windows [Version 10.0.22631.4169]\r\n"),
        "type" | "get-content" => match session.inside.read(session.machine, rest) {
            Some(content) => Output::out(content),
            None => Output::err(1, "The system cannot find the file specified.\r\n"),
        },
        "exit" => Output::code(rest.trim_start_matches("/b ").parse().unwrap_or(0)),
        "start-sleep" => {
            let seconds = rest.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            session.took += std::time::Duration::from_secs(seconds);
            Output::code(0)
        }
        other => Output::err(
            1,
            format!(
                "'{other}' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n"
            ),
        ),
    }
}
