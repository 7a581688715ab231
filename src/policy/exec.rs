//! Which commands may be run in guests.

use super::settings::{Exec, Mode};

/// Characters by which a shell begins another command, or puts the output of one somewhere.
const SHELL: [char; 10] = [';', '&', '|', '<', '>', '$', '`', '\n', '(', ')'];

/// Shells that take the rest of a command as a script.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "cmd.exe"];

/// Why this command is refused, where it is; without words it is as good as any command.
pub fn refuses(exec: &Exec, mode: Mode, words: Option<&[String]>) -> Option<String> {
    let patterns = match (exec, mode) {
        (Exec::On, _) | (Exec::ByMode, Mode::Full) => return None,
        (Exec::ByMode, _) => {
            return Some(format!("PROXMOX_MODE={} lets no commands run in guests", mode.name()));
        }
        (Exec::Off, _) => return Some("PROXMOX_EXEC=off lets no commands run in guests".to_owned()),
        (Exec::Allowed(patterns), _) => patterns,
    };
    let Some(words) = words else {
        return Some("PROXMOX_EXEC_ALLOW allows commands only, no files and passwords in guests".to_owned());
    };
    let text = script(words);
    let fits = patterns.iter().any(|pattern| fits(pattern, &text));
    (!fits).then(|| format!("PROXMOX_EXEC_ALLOW has no pattern for '{text}'"))
}

/// What is run: of `sh -c …` the script.
fn script(words: &[String]) -> String {
    let program = words.first().map(|first| first.rsplit(['/', '\\']).next().unwrap_or_default());
    match (program, words) {
        (Some(program), [_, flag, script])
            if SHELLS.contains(&program) && matches!(flag.as_str(), "-c" | "-lc" | "/c") =>
        {
            script.clone()
        }
        _ => words.join(" "),
    }
}

/// A star stands for any characters but those of [`SHELL`]: `systemctl status *` is not to allow `… ; reboot`.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    let end = text.find(SHELL).unwrap_or(text.len());
    let ends = text[..end].char_indices().map(|(at, _)| at).chain([end]);
    ends.into_iter().any(|at| fits(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(exec: &Exec, mode: Mode, words: &[&str]) -> bool {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        refuses(exec, mode, Some(&words)).is_some()
    }

    #[test]
    fn a_pattern_allows_no_second_command() {
        let exec = Exec::Allowed(vec!["systemctl status *".to_owned(), "uptime".to_owned(), "df * | sort".to_owned()]);
        for (words, allowed) in [
            (&["uptime"][..], true),
            (&["uptime", "-p"], false),
            (&["systemctl", "status", "ssh"], true),
            (&["/bin/sh", "-c", "systemctl status ssh"], true),
            (&["/bin/sh", "-c", "systemctl status ssh; reboot"], false),
            (&["sh", "-c", "systemctl status $(reboot)"], false),
            (&["sh", "-c", "df -h | sort"], true),
            (&["sh", "-c", "df -h | tee x | sort"], false),
            (&["systemctl", "stop", "ssh"], false),
            (&[], false),
        ] {
            assert_eq!(!refused(&exec, Mode::Full, words), allowed, "{words:?}");
        }
        assert!(refuses(&exec, Mode::Full, None).is_some());
    }

    #[test]
    fn where_nothing_may_be_deleted_commands_have_to_be_switched_on() {
        assert!(!refused(&Exec::ByMode, Mode::Full, &["ls"]));
        assert!(refused(&Exec::ByMode, Mode::NoDelete, &["ls"]));
        assert!(!refused(&Exec::On, Mode::NoDelete, &["ls"]));
        assert!(refused(&Exec::Off, Mode::Full, &["ls"]));
    }
}
