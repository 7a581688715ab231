//! The systems that guests run, and the files that each begins with.

use crate::sandbox::guest::{Guest, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    Debian,
    Ubuntu,
    Windows,
    /// Of guests whose `ostype` is not set: a kernel and Busybox in memory, without file systems.
    Tiny,
}

impl System {
    pub fn of(guest: &Guest) -> Self {
        let tagged = |word: &str| guest.config.get("tags").is_some_and(|tags| tags.contains(word));
        match guest.config.get("ostype") {
            None if guest.kind == Kind::Qemu => Self::Tiny,
            Some(kind) if kind.starts_with('w') => Self::Windows,
            _ if tagged("ubuntu") => Self::Ubuntu,
            _ => Self::Debian,
        }
    }

    pub fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Windows => &[
                "c:\\",
                "c:\\temp",
                "c:\\users",
                "c:\\users\\administrator",
                "c:\\users\\public",
                "c:\\windows",
                "c:\\windows\\temp",
            ],
            Self::Tiny => &["/", "/bin", "/dev", "/etc", "/proc", "/root", "/tmp"],
            _ => &[
                "/",
                "/bin",
                "/boot",
                "/dev",
                "/etc",
                "/home",
                "/opt",
                "/proc",
                "/root",
                "/run",
                "/srv",
                "/tmp",
                "/usr",
                "/usr/bin",
                "/usr/local",
                "/usr/local/bin",
                "/var",
                "/var/log",
                "/var/tmp",
            ],
        }
    }

    /// What there is besides what was written.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Self::Windows => &["c:\\windows\\win.ini"],
            Self::Tiny => &["/etc/hostname", "/etc/os-release"],
            _ => &[
                "/etc/hostname",
                "/etc/hosts",
                "/etc/motd",
                "/etc/os-release",
                "/etc/passwd",
                "/var/log/cloud-init.log",
            ],
        }
    }

    pub fn kernel(self) -> &'static str {
        match self {
            Self::Windows => "22631",
            Self::Ubuntu => "6.8.0-45-generic",
            Self::Debian => "6.1.0-25-amd64",
            Self::Tiny => "6.12.107-tiny",
        }
    }

    pub fn kernel_version(self) -> &'static str {
        match self {
            Self::Windows => "10.0",
            Self::Ubuntu => "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024",
            Self::Debian => "#1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)",
            Self::Tiny => "#1 SMP PREEMPT_DYNAMIC 6.12.107-1 (2026-08-29)",
        }
    }

    /// As `/etc/os-release` has them: id, name, version, and name with version.
    pub fn release(self) -> [&'static str; 4] {
        match self {
            Self::Windows => ["mswindows", "Microsoft Windows", "11", "Windows 11 Pro"],
            Self::Ubuntu => ["ubuntu", "Ubuntu", "24.04", "Ubuntu 24.04.1 LTS"],
            Self::Debian => ["debian", "Debian GNU/Linux", "12", "Debian GNU/Linux 12 (bookworm)"],
            Self::Tiny => ["tiny", "TinyGuest", "1.0", "TinyGuest 1.0"],
        }
    }
}

/// A guest as its programs see it.
#[derive(Debug, Clone)]
pub struct Machine {
    pub system: System,
    pub host: String,
    /// Unix time.
    pub now: u64,
    /// In seconds.
    pub uptime: u64,
    /// Bytes of the first disk.
    pub disk: u64,
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
}

impl Machine {
    pub fn of(guest: &Guest, now: u64) -> Self {
        let system = System::of(guest);
        let name = guest.name().unwrap_or_default().replace(' ', "-");
        Self {
            system,
            host: if system == System::Windows { name.to_ascii_uppercase() } else { name },
            now,
            uptime: guest.uptime(now),
            disk: guest.maxdisk(),
            cpus: guest.maxcpu() as u64,
            memory: guest.maxmem(),
        }
    }

    /// A path as files are kept by it.
    pub fn path(&self, path: &str) -> String {
        if self.system == System::Windows {
            let path = path.replace('/', "\\").to_lowercase();
            return if path.len() > 3 { path.trim_end_matches('\\').to_owned() } else { path };
        }
        let absolute = if path.starts_with('/') { path.to_owned() } else { format!("/root/{path}") };
        let parts: Vec<&str> = absolute.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        format!("/{}", parts.join("/"))
    }

    /// The folder of such a path.
    pub fn parent<'a>(&self, path: &'a str) -> &'a str {
        let separator = if self.system == System::Windows { '\\' } else { '/' };
        match path.rfind(separator) {
            Some(0) => "/",
            Some(2) if separator == '\\' => &path[..3],
            Some(at) => &path[..at],
            None => "",
        }
    }

    /// A file that nobody wrote.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.path(path);
        if !path.starts_with("/proc/") && !self.system.files().contains(&path.as_str()) {
            return None;
        }
        let [id, name, version, pretty] = self.system.release();
        let host = &self.host;
        let text = match path.as_str() {
            "/etc/hostname" => format!("{host}\n"),
            "/etc/hosts" => format!("127.0.0.1\tlocalhost\n127.0.1.1\t{host}\n::1\tlocalhost ip6-localhost\n"),
            "/etc/motd" => String::new(),
            "/etc/os-release" => {
                format!("PRETTY_NAME=\"{pretty}\"\nNAME=\"{name}\"\nVERSION_ID=\"{version}\"\nID={id}\n")
            }
            "/etc/passwd" => "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/bash\n".to_owned(),
            "/var/log/cloud-init.log" => "cloud-init[612]: modules:final done\n".to_owned(),
            "/proc/uptime" => format!("{}.00 {}.00\n", self.uptime, self.uptime * self.cpus),
            "/proc/loadavg" => "0.08 0.05 0.01 1/132 812\n".to_owned(),
            "c:\\windows\\win.ini" => "; for 16-bit app support\r\n[fonts]\r\n".to_owned(),
            _ => return None,
        };
        Some(text.into_bytes())
    }
}
