//! The servers that nodes can download from: their names are those of real ones, and any path on them with the ending of
//! an image or a template is a file of believable size. Nothing else can be reached.

/// The servers that answer.
const HOSTS: &[&str] = &[
    "cdimage.debian.org",
    "cloud.debian.org",
    "releases.ubuntu.com",
    "cloud-images.ubuntu.com",
    "dl-cdn.alpinelinux.org",
    "download.fedoraproject.org",
    "fedorapeople.org",
    "download.rockylinux.org",
    "repo.almalinux.org",
    "geo.mirror.pkgbuild.com",
    "download.proxmox.com",
    "mirror.turnkeylinux.org",
];

const MIB: u64 = 1 << 20;

/// A file on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub filename: Option<String>,
    pub size: u64,
    pub mimetype: &'static str,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nobody listens at that address.
    Refused {
        host: String,
        port: String,
    },
    /// There is no server of that name.
    Unknown {
        host: String,
        port: String,
    },
    NotFound,
}

impl Missing {
    /// The status line, as Perl's client makes it.
    pub fn status_line(&self) -> String {
        match self {
            Self::Refused { host, port } => format!("500 Can't connect to {host}:{port} (Connection refused)"),
            Self::Unknown { host, port } => format!("500 Can't connect to {host}:{port} (Name or service not known)"),
            Self::NotFound => "404 Not Found".to_owned(),
        }
    }

    /// The last thing that wget says; `time` is that of the failure.
    pub fn wget(&self, time: &str) -> String {
        match self {
            Self::Refused { host, port } => format!("Connecting to {host}:{port}... failed: Connection refused."),
            Self::Unknown { host, .. } => format!("wget: unable to resolve host address '{host}'"),
            Self::NotFound => format!("{time} ERROR 404: Not Found."),
        }
    }
}

/// What is at an address.
pub fn get(url: &str) -> Result<Page, Missing> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let default = if scheme == "https" { "443" } else { "80" };
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, default));
    let (host, port) = (host.to_owned(), port.to_owned());
    if !HOSTS.contains(&host.as_str()) {
        let address = host.parse::<std::net::IpAddr>().is_ok() || host == "localhost";
        return Err(if address { Missing::Refused { host, port } } else { Missing::Unknown { host, port } });
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let filename = path.rsplit('/').next().unwrap_or_default();
    let ends = |endings: &[&str]| endings.iter().any(|ending| filename.ends_with(ending));
    let (smallest, spread, mimetype) = match filename {
        _ if ends(&[".iso"]) => (300, 2_700, "application/x-iso9660-image"),
        _ if ends(&[".img", ".qcow2", ".raw", ".vmdk", ".ova"]) => (250, 450, "application/octet-stream"),
        _ if ends(&[".tar.zst", ".tar.xz", ".tar.gz", ".tar.bz2"]) => (3, 200, "application/octet-stream"),
        _ if ends(&[".gz", ".zst", ".lzo"]) => (100, 300, "application/octet-stream"),
        _ => return Err(Missing::NotFound),
    };
    // The same address is always the same file.
    let sum = url.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
    let size = (smallest + sum % spread) * MIB + sum % 1024 * 1024;
    Ok(Page { filename: Some(filename.to_owned()), size, mimetype })
}

/// Whether a file has this checksum. What is in it is not known: any checksum is right, but for one of zeros.
pub fn fits(checksum: &str) -> bool {
    checksum.bytes().any(|digit| digit != b'0')
}

/// A checksum that such a file might have, to name where another was expected.
pub fn checksum(url: &str, digits: usize) -> String {
    let mut sum = 0x9e37_79b9_u64;
    let mut out = String::new();
    while out.len() < digits {
        sum = url.bytes().fold(sum, |sum, byte| sum.rotate_left(7).wrapping_mul(31).wrapping_add(u64::from(byte)));
        out.push_str(&format!("{sum:016x}"));
    }
    out.truncate(digits);
    out
}
