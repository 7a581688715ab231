//! The inside of simulated guests, as far as their agent shows it: a system with a few files, and programs that are few and
//! do what they do elsewhere. What is written stays as long as the guest does; processes end with the run.

mod programs;
mod shell;
mod system;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use shell::Session;
pub use system::{Machine, System};

/// What a guest holds beyond its configuration.
#[derive(Debug, Clone, Default)]
pub struct Inside {
    /// Written files, and those that were there and are gone.
    files: BTreeMap<String, Option<Vec<u8>>>,
    folders: BTreeSet<String>,
    /// Start of the run that the processes are of.
    since: u64,
    last_pid: u64,
    processes: BTreeMap<u64, Process>,
}

/// What a program wrote and how it ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ended {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub code: i64,
    pub signal: Option<i64>,
    /// How long it took.
    pub took: Duration,
    /// Programs it began in its turn.
    pub children: u64,
}

#[derive(Debug, Clone)]
struct Process {
    /// Simulated time at which it ends, since the cluster's start.
    ends: Duration,
    ended: Ended,
}

/// What the agent says about a process.
#[derive(Debug, PartialEq)]
pub enum Look {
    Unknown,
    Running,
    Ended(Ended),
}

/// The process id after which an agent's first program comes.
const FIRST: u64 = 164;

impl Inside {
    /// Forgets the processes of earlier runs.
    pub fn booted(&mut self, since: u64) {
        if self.since != since {
            (self.since, self.last_pid) = (since, FIRST);
            self.processes.clear();
        }
    }

    /// The agent's next process; its way there takes another process id.
    pub fn next_pid(&mut self) -> u64 {
        self.last_pid += 2;
        self.last_pid
    }

    /// Keeps what a program does, to be told when it has ended.
    pub fn began(&mut self, pid: u64, now: Duration, ended: Ended) {
        self.last_pid = self.last_pid.max(pid) + ended.children;
        self.processes.insert(pid, Process { ends: now + ended.took, ended });
    }

    /// The agent tells of an end once.
    pub fn look(&mut self, pid: u64, now: Duration) -> Look {
        match self.processes.get(&pid) {
            None => Look::Unknown,
            Some(process) if process.ends > now => Look::Running,
            Some(_) => self.processes.remove(&pid).map_or(Look::Unknown, |process| Look::Ended(process.ended)),
        }
    }

    pub fn read(&self, machine: &Machine, path: &str) -> Option<Vec<u8>> {
        match self.files.get(&machine.path(path)) {
            Some(written) => written.clone(),
            None => machine.file(path),
        }
    }

    /// # Errors
    /// The system's words.
    pub fn write(&mut self, machine: &Machine, path: &str, content: Vec<u8>) -> Result<(), &'static str> {
        let path = machine.path(path);
        if self.is_folder(machine, &path) {
            return Err("Is a directory");
        }
        if !self.is_folder(machine, machine.parent(&path)) {
            return Err("No such file or directory");
        }
        self.files.insert(path, Some(content));
        Ok(())
    }

    fn is_folder(&self, machine: &Machine, path: &str) -> bool {
        let path = machine.path(path);
        self.folders.contains(&path) || machine.system.folders().contains(&path.as_str())
    }

    /// Removes a file; whether it was there.
    fn remove(&mut self, machine: &Machine, path: &str) -> bool {
        let there = self.read(machine, path).is_some();
        if there {
            self.files.insert(machine.path(path), None);
        }
        there
    }

    /// The names in a folder.
    fn list(&self, machine: &Machine, folder: &str) -> BTreeSet<String> {
        let folder = machine.path(folder);
        let written = self.files.iter().filter(|(_, content)| content.is_some()).map(|(path, _)| path.as_str());
        let system = machine.system.files().iter().copied().filter(|path| self.files.get(*path) != Some(&None));
        let folders = machine.system.folders().iter().copied().chain(self.folders.iter().map(String::as_str));
        written
            .chain(system)
            .chain(folders)
            .filter(|path| path.len() > folder.len() && machine.parent(path) == folder)
            .map(|path| path[machine.parent(path).len()..].trim_start_matches(['/', '\\']).to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(system: System) -> Machine {
        Machine {
            system,
            host: "web".to_owned(),
            now: 1_800_000_000,
            uptime: 90_000,
            disk: 32 << 30,
            cpus: 2,
            memory: 4 << 30,
        }
    }

    fn run(argv: &[&str], input: &str) -> Option<Ended> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        Session::new(&machine(System::Debian), &mut Inside::default(), 200).program(&argv, input.as_bytes())
    }

    /// Exit code, stdout and stderr of a shell line.
    fn sh(line: &str) -> (i64, String, String) {
        let ended = run(&["/bin/sh", "-c", line], "").unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ended.code, text(&ended.out), text(&ended.err))
    }

    fn out(line: &str) -> String {
        sh(line).1
    }

    #[test]
    fn lines_end_with_the_code_of_their_last_command() {
        assert_eq!(sh("echo out; echo err >&2; exit 3"), (3, "out\n".to_owned(), "err\n".to_owned()));
        assert_eq!(sh("true && false || echo no").1, "no\n");
        assert_eq!(sh("false && echo never").0, 1);
        assert_eq!(sh("nosuch"), (127, String::new(), "/bin/sh: 1: nosuch: not found\n".to_owned()));
        assert_eq!(out("false; echo $?"), "1\n");
        assert_eq!(out("false && echo $(touch /tmp/x); ls /tmp"), "");
    }

    #[test]
    fn words_are_quoted_and_expanded_as_in_a_shell() {
        assert_eq!(out(r#"echo "a  b" 'c $HOME' $HOME \$x"#), "a  b c $HOME /root $x\n");
        assert_eq!(out("printf '%s-%s\\n' a b"), "a-b\n");
        assert_eq!(out("echo it is $(hostname)"), "it is web\n");
        assert_eq!(out("X=1; echo $X"), "1\n");
    }

    #[test]
    fn files_are_written_read_and_listed() {
        assert_eq!(out("echo one > /tmp/a; echo two >> /tmp/a; cat < /tmp/a; ls /tmp"), "one\ntwo\na\n");
        assert_eq!(out("mkdir -p /srv/x/y && touch /srv/x/y/z && ls /srv/x && rm /srv/x/y/z && ls /srv/x/y"), "y\n");
        assert_eq!(sh("cat /nosuch").2, "cat: /nosuch: No such file or directory\n");
        assert_eq!(out("cat /etc/hostname | wc -c"), "4\n");
        assert_eq!(sh("ls /nosuch 2>/dev/null; echo $?").1, "2\n");
    }

    #[test]
    fn bytes_and_input_pass() {
        let ended = run(&["/bin/sh", "-c", r#"head -c 3 /dev/zero | tr "\0" "\377"; cat"#], "in").unwrap_or_default();
        assert_eq!(ended.out, [0xff, 0xff, 0xff, b'i', b'n']);
        assert_eq!(run(&["/no/such"], ""), None);
        assert_eq!(run(&["sh -c \"echo hi\""], ""), None);
        assert_eq!(run(&["id"], "").map(|ended| ended.code), Some(0));
    }

    #[test]
    fn sleeping_takes_time_and_signals_end_a_shell() {
        let ended = run(&["sh", "-c", "sleep 2; echo done"], "").unwrap_or_default();
        assert_eq!((ended.took.as_secs(), ended.children), (2, 1));
        let killed = run(&["sh", "-c", "kill -9 $$; echo never"], "").unwrap_or_default();
        assert_eq!((killed.signal, killed.out.len()), (Some(9), 0));
    }

    #[test]
    fn windows_has_programs_of_its_own() {
        let mut inside = Inside::default();
        let machine = machine(System::Windows);
        let mut run = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            Session::new(&machine, &mut inside, 200).program(&argv, b"")
        };
        assert_eq!(run(&["cmd.exe", "/c", "echo hi"]).unwrap_or_default().out, b"hi\r\n");
        assert_eq!(run(&["cmd.exe", "/c", "exit 4"]).unwrap_or_default().code, 4);
        assert_eq!(run(&["/bin/sh", "-c", "true"]), None);
    }
}
