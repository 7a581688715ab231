//! The programs of simulated Linux guests.

use std::{fmt::Write, time::Duration};

use super::{
    Machine, System,
    shell::{Output, Session},
};
use crate::sandbox::wire::civil;

/// Runs a program; nothing where there is none of that name.
pub fn run(session: &mut Session<'_>, name: &str, args: &[String], input: &[u8]) -> Option<Output> {
    let machine = session.machine;
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    Some(match name {
        "true" => Output::code(0),
        "false" => Output::code(1),
        "echo" => match words.split_first() {
            Some((&"-n", rest)) => Output::out(rest.join(" ")),
            _ => Output::out(format!("{}\n", words.join(" "))),
        },
        "printf" => printf(&words),
        "pwd" => Output::out("/root\n"),
        "hostname" => Output::out(format!("{}\n", machine.host)),
        "whoami" => Output::out("root\n"),
        "id" => Output::out(match words.as_slice() {
            ["-u", ..] => "0\n",
            ["-un", ..] => "root\n",
            _ => "uid=0(root) gid=0(root) groups=0(root)\n",
        }),
        "nproc" => Output::out(format!("{}\n", machine.cpus)),
        "uname" => Output::out(uname(machine, &words)),
        "date" => Output::out(date(machine.now + session.took.as_secs(), &words)),
        "uptime" => Output::out(uptime(machine)),
        "df" => Output::out(df(machine)),
        "free" => Output::out(free(machine)),
        "env" => Output::out("HOME=/root\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
        "sleep" => {
            let Some(seconds) = words.first().and_then(|n| n.parse::<f64>().ok()).filter(|n| (0.0..1e9).contains(n))
            else {
                return Some(Output::err(1, "sleep: missing operand\n"));
            };
            session.took += Duration::from_secs_f64(seconds);
            Output::code(0)
        }
        "test" | "[" => test(session, &words),
        "cat" => files(session, name, &words, input, |content| content),
        "head" | "tail" => part(session, name, &words, input),
        "tr" => translate(&words, input),
        "wc" => count(session, &words, input),
        "grep" => grep(session, &words, input),
        "ls" => list(session, &words),
        "mkdir" | "touch" | "rm" | "tee" => change(session, name, &words, input),
        _ => return None,
    })
}

fn uname(machine: &Machine, words: &[&str]) -> String {
    let release = machine.system.kernel();
    let parts = match words.first().copied().unwrap_or("-s") {
        "-r" => release.to_owned(),
        "-n" => machine.host.clone(),
        "-m" => "x86_64".to_owned(),
        "-a" => format!("Linux {} {release} {} x86_64 GNU/Linux", machine.host, machine.system.kernel_version()),
        _ => "Linux".to_owned(),
    };
    format!("{parts}\n")
}

fn date(now: u64, words: &[&str]) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second, weekday) = civil(now);
    match words.iter().find(|word| word.starts_with('+')) {
        Some(&"+%s") => format!("{now}\n"),
        Some(&"+%F") => format!("{year:04}-{month:02}-{day:02}\n"),
        Some(_) => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+0000\n"),
        None => {
            let (weekday, month) = (DAYS[weekday % 7], MONTHS[(month as usize + 11) % 12]);
            format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} UTC {year}\n")
        }
    }
}

fn uptime(machine: &Machine) -> String {
    let (_, _, _, hour, minute, second, _) = civil(machine.now);
    let (days, hours, minutes) = (machine.uptime / 86_400, machine.uptime / 3_600 % 24, machine.uptime / 60 % 60);
    let up = if days > 0 { format!("{days} days, {hours:2}:{minutes:02}") } else { format!("{hours:2}:{minutes:02}") };
    format!(" {hour:02}:{minute:02}:{second:02} up {up},  0 users,  load average: 0.08, 0.05, 0.01\n")
}

fn df(machine: &Machine) -> String {
    let head = "Filesystem     1K-blocks     Used Available Use% Mounted on\n";
    if machine.system == System::Tiny {
        return head.to_owned();
    }
    let (all, used) = (machine.disk / 1024, machine.disk / 5 / 1024);
    format!("{head}/dev/sda1      {all:9} {used:8} {:9}  20% /\n", all - used)
}

fn free(machine: &Machine) -> String {
    let all = machine.memory / 1024;
    let used = all / 10 * 3;
    format!(
        "               total        used        free      shared  buff/cache   available\n\
         Mem:    {all:12}{used:12}{:12}        1024{:12}{:12}\nSwap:              0           0           0\n",
        all / 2,
        all - used - all / 2,
        all - used
    )
}

fn printf(words: &[&str]) -> Output {
    let Some((format, args)) = words.split_first() else {
        return Output::err(2, "printf: usage: printf format [arguments]\n");
    };
    let mut args = args.iter();
    let mut out = Vec::new();
    let mut bytes = unescaped(format).into_iter().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'%', Some(b's' | b'd' | b'i')) => {
                bytes.next();
                out.extend(args.next().copied().unwrap_or_default().bytes());
            }
            (b'%', Some(b'%')) => out.extend(bytes.next()),
            _ => out.push(byte),
        }
    }
    Output::out(out)
}

/// `\n`, `\t`, `\\`, `\377`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let digits = rest.iter().take(3).take_while(|b| (b'0'..=b'7').contains(*b)).count();
        if digits > 0 {
            out.push(rest[..digits].iter().fold(0_u8, |n, d| n.wrapping_mul(8).wrapping_add(d - b'0')));
            rest = &rest[digits..];
            continue;
        }
        let Some((next, after)) = rest.split_first() else {
            out.push(b'\\');
            break;
        };
        rest = after;
        match next {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'\\' => out.push(b'\\'),
            other => out.extend([b'\\', *other]),
        }
    }
    out
}

/// Reads the named files, or the input where there are none.
fn files(session: &Session<'_>, name: &str, paths: &[&str], input: &[u8], what: impl Fn(Vec<u8>) -> Vec<u8>) -> Output {
    let paths: Vec<&&str> = paths.iter().filter(|path| !path.starts_with('-') || **path == "-").collect();
    if paths.is_empty() {
        return Output::out(what(input.to_vec()));
    }
    let mut output = Output::default();
    for path in paths {
        match session.inside.read(session.machine, path) {
            _ if *path == "-" => output.out.extend(what(input.to_vec())),
            Some(content) => output.out.extend(what(content)),
            None if session.inside.is_folder(session.machine, path) => {
                output.code = 1;
                output.err.extend(format!("{name}: {path}: Is a directory\n").into_bytes());
            }
            None => {
                output.code = 1;
                output.err.extend(format!("{name}: {path}: No such file or directory\n").into_bytes());
            }
        }
    }
    output
}

/// `head` and `tail`, with `-n` and (head) `-c`.
fn part(session: &Session<'_>, name: &str, words: &[&str], input: &[u8]) -> Output {
    let (mut bytes, mut lines, mut paths) = (None, 10, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse::<usize>().ok());
        match *word {
            "-c" => bytes = number(),
            "-n" => lines = number().unwrap_or(10),
            other if other.starts_with('-') => lines = other[1..].parse().unwrap_or(10),
            path => paths.push(path),
        }
    }
    if let (Some(count), ["/dev/zero"]) = (bytes, paths.as_slice()) {
        return Output::out(vec![0; count.min(16 << 20)]);
    }
    files(session, name, &paths, input, |content| {
        if let Some(count) = bytes {
            return content.into_iter().take(count).collect();
        }
        let all: Vec<&[u8]> = content.split_inclusive(|b| *b == b'\n').collect();
        let skip = if name == "tail" { all.len().saturating_sub(lines) } else { 0 };
        all.into_iter().skip(skip).take(lines).flatten().copied().collect()
    })
}

/// `tr` of single characters.
fn translate(words: &[&str], input: &[u8]) -> Output {
    let [from, to, ..] = words else { return Output::err(1, "tr: missing operand\n") };
    let (from, to) = (unescaped(from), unescaped(to));
    let change = |byte: &u8| {
        let at = from.iter().position(|b| b == byte);
        at.and_then(|at| to.get(at).or(to.last())).copied().unwrap_or(*byte)
    };
    Output::out(input.iter().map(change).collect::<Vec<_>>())
}

fn count(session: &Session<'_>, words: &[&str], input: &[u8]) -> Output {
    let flag = words.first().copied().unwrap_or_default().to_owned();
    files(session, "wc", words, input, |content| {
        let lines = content.iter().filter(|b| **b == b'\n').count();
        let number = match flag.as_str() {
            "-c" => content.len(),
            "-w" => content.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count(),
            _ => lines,
        };
        format!("{number}\n").into_bytes()
    })
}

/// Lines that hold a text.
fn grep(session: &Session<'_>, words: &[&str], input: &[u8]) -> Output {
    let words: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let Some((text, paths)) = words.split_first() else { return Output::err(2, "Usage: grep PATTERN [FILE]...\n") };
    let mut output = files(session, "grep", paths, input, |content| {
        let lines = content.split_inclusive(|b| *b == b'\n');
        lines.filter(|line| String::from_utf8_lossy(line).contains(text)).flatten().copied().collect()
    });
    if output.out.is_empty() {
        output.code = output.code.max(1);
    }
    output
}

fn list(session: &Session<'_>, words: &[&str]) -> Output {
    let long = words.iter().any(|word| word.starts_with('-') && word.contains('l'));
    let mut paths: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    if paths.is_empty() {
        paths.push("/root");
    }
    let mut output = Output::default();
    for path in paths {
        let names: Vec<String> = match session.inside.read(session.machine, path) {
            Some(_) => vec![path.to_owned()],
            None if session.inside.is_folder(session.machine, path) => {
                session.inside.list(session.machine, path).into_iter().collect()
            }
            None => {
                output.code = 2;
                let words = format!("ls: cannot access '{path}': No such file or directory\n");
                output.err.extend(words.into_bytes());
                continue;
            }
        };
        for name in names {
            let full = if name == path { name.clone() } else { format!("{path}/{name}") };
            let size = session.inside.read(session.machine, &full).map(|content| content.len());
            let mut line = String::new();
            if long {
                let mode = if size.is_some() { "-rw-r--r-- 1" } else { "drwxr-xr-x 2" };
                let _ = write!(line, "{mode} root root {:6} Jan  1 00:00 ", size.unwrap_or(4096));
            }
            output.out.extend(format!("{line}{name}\n").into_bytes());
        }
    }
    output
}

fn change(session: &mut Session<'_>, name: &str, words: &[&str], input: &[u8]) -> Output {
    let has = |flag: char| words.iter().any(|word| word.starts_with('-') && word.contains(flag));
    let mut output = Output::default();
    if name == "tee" {
        output.out = input.to_vec();
    }
    for path in words.iter().filter(|word| !word.starts_with('-')) {
        let machine = session.machine;
        let done = match name {
            "mkdir" => {
                let mut made = machine.path(path);
                let there = session.inside.is_folder(machine, machine.parent(&made)) || has('p');
                while there && !session.inside.is_folder(machine, &made) {
                    session.inside.folders.insert(made.clone());
                    made = machine.parent(&made).to_owned();
                }
                if there { Ok(()) } else { Err("No such file or directory") }
            }
            "touch" => {
                let content = session.inside.read(machine, path).unwrap_or_default();
                session.inside.write(machine, path, content)
            }
            "tee" => {
                let old = if has('a') { session.inside.read(machine, path).unwrap_or_default() } else { Vec::new() };
                session.inside.write(machine, path, [&old, input].concat())
            }
            _ if session.inside.remove(machine, path) || has('f') => Ok(()),
            _ => Err("No such file or directory"),
        };
        if let Err(why) = done {
            output.code = 1;
            output.err.extend(format!("{name}: cannot {name} '{path}': {why}\n").into_bytes());
        }
    }
    output
}

/// `-e`, `-f`, `-d`, `-n`, `-z`, `=`, `!=`.
fn test(session: &Session<'_>, words: &[&str]) -> Output {
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "]").collect();
    let file = |path: &str| session.inside.read(session.machine, path).is_some();
    let folder = |path: &str| session.inside.is_folder(session.machine, path);
    let holds = match words.as_slice() {
        ["-f", path] => file(path),
        ["-d", path] => folder(path),
        ["-e", path] => file(path) || folder(path),
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        [a, "=", b] => a == b,
        [a, "!=", b] => a != b,
        [text] => !text.is_empty(),
        _ => false,
    };
    Output::code(i64::from(!holds))
}
