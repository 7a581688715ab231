//! A small POSIX shell: lists, pipes, redirections, quotes, variables, command substitution. No loops, no functions.

use std::{collections::HashMap, time::Duration};

use super::{Ended, Inside, Machine, System, programs, windows};

/// A program that runs, and those it begins.
pub struct Session<'a> {
    pub machine: &'a Machine,
    pub inside: &'a mut Inside,
    pid: u64,
    variables: HashMap<String, String>,
    /// The code of the last command.
    status: i64,
    exited: bool,
    pub signal: Option<i64>,
    pub took: Duration,
    children: u64,
}

/// What a command writes, and its code.
#[derive(Debug, Default)]
pub struct Output {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub code: i64,
}

impl Output {
    pub fn code(code: i64) -> Self {
        Self { code, ..Self::default() }
    }
    pub fn out(text: impl Into<Vec<u8>>) -> Self {
        Self { out: text.into(), ..Self::default() }
    }
    pub fn err(code: i64, text: impl Into<Vec<u8>>) -> Self {
        Self { err: text.into(), code, ..Self::default() }
    }
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `;`, `&&`, `||`, `|`, `<`, `>`, `>>`, `2>`, `2>>`, `>&2`, `2>&1`.
    Operator(String),
}

impl<'a> Session<'a> {
    pub fn new(machine: &'a Machine, inside: &'a mut Inside, pid: u64) -> Self {
        let variables = [
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("PWD", "/root"),
            ("SHELL", "/bin/sh"),
            ("USER", "root"),
        ];
        let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let took = Duration::ZERO;
        Self { machine, inside, pid, variables, status: 0, exited: false, signal: None, took, children: 0 }
    }

    /// Runs what the agent was told to; nothing where there is no such program.
    pub fn program(mut self, argv: &[String], input: &[u8]) -> Option<Ended> {
        let output = match self.machine.system {
            System::Windows => windows::run(&mut self, argv)?,
            _ => self.external(argv, input)?,
        };
        let (signal, took, children) = (self.signal, self.took, self.children);
        Some(Ended { out: output.out, err: output.err, code: output.code, signal, took, children })
    }

    /// A program by its name or path.
    fn external(&mut self, argv: &[String], input: &[u8]) -> Option<Output> {
        let (program, args) = argv.split_first()?;
        let name = match program.rsplit_once('/') {
            None => program.as_str(),
            Some(("/bin" | "/usr/bin" | "/sbin" | "/usr/sbin", name)) => name,
            Some(_) => return None,
        };
        if !matches!(name, "sh" | "bash" | "dash") {
            return programs::run(self, name, args, input);
        }
        let line = match args {
            [flag, line, ..] if flag.starts_with('-') && flag.contains('c') => line.clone(),
            [script, ..] => {
                let Some(script) = self.inside.read(self.machine, script) else {
                    return Some(Output::err(2, format!("{program}: 0: cannot open {script}: No such file\n")));
                };
                String::from_utf8_lossy(&script).into_owned()
            }
            [] => String::from_utf8_lossy(input).into_owned(),
        };
        let input = if args.is_empty() { &[] } else { input };
        let mut inner = Session::new(self.machine, self.inside, self.pid);
        let mut output = inner.line(program, &line, input);
        output.code = inner.status;
        let (signal, took, children) = (inner.signal, inner.took, inner.children);
        self.signal = signal;
        self.took += took;
        self.children += children;
        Some(output)
    }

    /// Runs a line; its output is that of all its commands.
    fn line(&mut self, shell: &str, line: &str, input: &[u8]) -> Output {
        let mut total = Output::default();
        let mut chars = line.chars().peekable();
        let (mut runs, mut input) = (true, Some(input));
        while chars.peek().is_some() && !self.exited && self.signal.is_none() {
            let mut commands: Vec<Vec<Token>> = vec![Vec::new()];
            let mut then = String::new();
            for token in self.statement(shell, &mut chars, runs) {
                match token {
                    Token::Operator(op) if op == "|" => commands.push(Vec::new()),
                    Token::Operator(op) if matches!(op.as_str(), ";" | "&&" | "||") => then = op,
                    token => commands.last_mut().into_iter().for_each(|command| command.push(token.clone())),
                }
            }
            if runs && commands.iter().any(|command| !command.is_empty()) {
                // What stands in the input is the first command's that reads it.
                let wants = commands.first().is_some_and(|command| reads(command));
                let given = if wants { input.take().unwrap_or_default() } else { &[] };
                self.pipeline(shell, commands, given, &mut total);
            }
            runs = match then.as_str() {
                "&&" => self.status == 0,
                "||" => self.status != 0,
                _ => true,
            };
        }
        total
    }

    fn pipeline(&mut self, shell: &str, commands: Vec<Vec<Token>>, input: &[u8], total: &mut Output) {
        let mut input = input.to_vec();
        let last = commands.len() - 1;
        for (at, command) in commands.into_iter().enumerate() {
            let output = self.command(shell, command, &input);
            self.status = output.code;
            total.err.extend(output.err);
            if at == last {
                total.out.extend(output.out);
                return;
            }
            self.children += 1;
            input = output.out;
        }
    }

    /// One command with its redirections.
    fn command(&mut self, shell: &str, tokens: Vec<Token>, input: &[u8]) -> Output {
        let (mut words, mut input, mut to, mut errors_to) = (Vec::new(), input.to_vec(), None, None);
        let mut swap = None;
        let mut tokens = tokens.into_iter();
        while let Some(token) = tokens.next() {
            let operator = match token {
                Token::Word(word) => {
                    words.push(word);
                    continue;
                }
                Token::Operator(operator) => operator,
            };
            if matches!(operator.as_str(), ">&2" | "2>&1") {
                swap = Some(operator);
                continue;
            }
            let Some(Token::Word(path)) = tokens.next() else {
                return Output::err(2, format!("{shell}: 1: Syntax error: newline unexpected\n"));
            };
            match operator.as_str() {
                "<" => match self.inside.read(self.machine, &path) {
                    Some(content) => input = content,
                    None => return Output::err(2, format!("{shell}: 1: cannot open {path}: No such file\n")),
                },
                ">" | ">>" => to = Some((path, operator == ">>")),
                _ => errors_to = Some((path, operator == "2>>")),
            }
        }
        let mut output = self.run(shell, &words, &input);
        match swap.as_deref() {
            Some(">&2") => output.err.append(&mut output.out),
            Some(_) => output.out.append(&mut output.err),
            None => {}
        }
        if let Some(target) = errors_to {
            let content = std::mem::take(&mut output.err);
            self.redirect(shell, target, content, &mut output);
        }
        if let Some(target) = to {
            let content = std::mem::take(&mut output.out);
            self.redirect(shell, target, content, &mut output);
        }
        output
    }

    fn redirect(&mut self, shell: &str, (path, append): (String, bool), content: Vec<u8>, output: &mut Output) {
        if path == "/dev/null" {
            return;
        }
        let old = if append { self.inside.read(self.machine, &path).unwrap_or_default() } else { Vec::new() };
        if self.inside.write(self.machine, &path, [old, content].concat()).is_err() {
            output.code = 2;
            output.err.extend(format!("{shell}: 1: cannot create {path}: Directory nonexistent\n").into_bytes());
        }
    }

    fn run(&mut self, shell: &str, words: &[String], input: &[u8]) -> Output {
        let Some((name, args)) = words.split_first() else { return Output::code(0) };
        if let Some((key, value)) = name.split_once('=').filter(|(key, _)| is_name(key) && args.is_empty()) {
            self.variables.insert(key.to_owned(), value.to_owned());
            return Output::code(0);
        }
        let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
        match name.as_str() {
            ":" | "set" | "umask" | "trap" => Output::code(0),
            "cd" => Output::code(0),
            "export" => {
                for (key, value) in args.iter().filter_map(|arg| arg.split_once('=')) {
                    self.variables.insert(key.to_owned(), value.to_owned());
                }
                Output::code(0)
            }
            "exit" => {
                self.exited = true;
                Output::code(number(args.first()).unwrap_or(self.status) & 0xff)
            }
            "kill" => {
                let signal = args.first().and_then(|arg| arg.strip_prefix('-')?.parse().ok()).unwrap_or(15);
                if number(args.last()) == Some(self.pid as i64) {
                    self.signal = Some(signal);
                    return Output::code(0);
                }
                Output::err(1, format!("{shell}: 1: kill: No such process\n"))
            }
            "env" if args.is_empty() => {
                let mut lines: Vec<String> = self.variables.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
                lines.sort();
                Output::out(lines.concat())
            }
            _ => {
                if !matches!(name.as_str(), "echo" | "printf" | "true" | "false" | "test" | "[" | "pwd") {
                    self.children += 1;
                }
                let missing = || Output::err(127, format!("{shell}: 1: {name}: not found\n"));
                self.external(words, input).unwrap_or_else(missing)
            }
        }
    }

    /// Takes apart what is left of a line, as far as the next `;`, `&&` or `||`. Quotes and variables are gone afterwards;
    /// what does not run is not expanded.
    fn statement(&mut self, shell: &str, chars: &mut Letters<'_>, runs: bool) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut word: Option<String> = None;
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                '\'' if !quoted => {
                    word.get_or_insert_default().extend(chars.by_ref().take_while(|c| *c != '\''));
                }
                '\\' => match chars.next() {
                    Some('\n') | None => {}
                    Some(next) if quoted && !matches!(next, '"' | '\\' | '$' | '`') => {
                        word.get_or_insert_default().extend(['\\', next]);
                    }
                    Some(next) => word.get_or_insert_default().push(next),
                },
                '$' => {
                    let value = self.expansion(shell, chars, runs);
                    if !value.is_empty() || quoted {
                        word.get_or_insert_default().push_str(&value);
                    }
                }
                c if quoted => word.get_or_insert_default().push(c),
                '#' if word.is_none() => drop(chars.by_ref().find(|c| *c == '\n')),
                ' ' | '\t' => tokens.extend(word.take().map(Token::Word)),
                ';' | '\n' | '|' | '&' | '<' | '>' => {
                    let mut operator = if c == '\n' { ";".to_owned() } else { c.to_string() };
                    match word.take() {
                        Some(number) if c == '>' && number == "2" => operator.insert(0, '2'),
                        Some(number) if c == '>' && number == "1" => {}
                        other => tokens.extend(other.map(Token::Word)),
                    }
                    if matches!(c, '|' | '&' | '>') && chars.peek() == Some(&c) {
                        operator.push(c);
                        chars.next();
                    }
                    if c == '>' && chars.peek() == Some(&'&') {
                        operator.push('&');
                        chars.next();
                        operator.extend(chars.next());
                    }
                    // A command in the background is waited for here.
                    let operator = if operator == "&" { ";".to_owned() } else { operator };
                    let ends = matches!(operator.as_str(), ";" | "&&" | "||");
                    tokens.push(Token::Operator(operator));
                    if ends {
                        return tokens;
                    }
                }
                c => word.get_or_insert_default().push(c),
            }
        }
        tokens.extend(word.map(Token::Word));
        tokens
    }

    /// What stands for `$…`, whose `$` was read.
    fn expansion(&mut self, shell: &str, chars: &mut Letters<'_>, runs: bool) -> String {
        let next = chars.peek().copied().unwrap_or_default();
        match next {
            '?' | '$' => {
                chars.next();
                if next == '?' { self.status.to_string() } else { self.pid.to_string() }
            }
            '(' => {
                chars.next();
                let (mut depth, mut inner) = (1, String::new());
                for c in chars.by_ref() {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    if depth == 0 {
                        break;
                    }
                    inner.push(c);
                }
                if !runs {
                    return String::new();
                }
                let output = self.line(shell, &inner, &[]);
                String::from_utf8_lossy(&output.out).trim_end_matches('\n').to_owned()
            }
            '{' => {
                chars.next();
                let name: String = chars.by_ref().take_while(|c| *c != '}').collect();
                self.variables.get(&name).cloned().unwrap_or_default()
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                self.variables.get(&name).cloned().unwrap_or_default()
            }
            _ => "$".to_owned(),
        }
    }
}

/// Whether a command reads what it is given: one that does, without a file.
fn reads(command: &[Token]) -> bool {
    const READERS: [&str; 9] = ["cat", "grep", "head", "sh", "bash", "tail", "tee", "tr", "wc"];
    let Some((Token::Word(name), rest)) = command.split_first() else { return false };
    READERS.contains(&name.rsplit('/').next().unwrap_or_default())
        && !rest.iter().any(|token| matches!(token, Token::Word(word) if word.starts_with('/')))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.as_bytes()[0].is_ascii_digit()
}
