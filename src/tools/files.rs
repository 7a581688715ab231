//! Files that are brought to a storage: their kinds, names and checksums, and which files of this machine may be sent.

use std::path::{Component, Path, PathBuf};

use crate::{
    checksum::{Checksum, algorithm_of},
    error::Kind,
    progress::Update,
    pve::{FilePart, encode},
    tool::*,
};

/// What a file is to a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    Iso,
    Vztmpl,
    Import,
}

impl Content {
    const ALL: [Self; 3] = [Self::Iso, Self::Vztmpl, Self::Import];

    /// Proxmox's name, which is also the folder in volume IDs.
    pub fn key(self) -> &'static str {
        match self {
            Self::Iso => "iso",
            Self::Vztmpl => "vztmpl",
            Self::Import => "import",
        }
    }

    /// The endings of names that Proxmox takes for it.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Iso => &[".iso", ".img"],
            Self::Vztmpl => &[".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tar"],
            Self::Import => &[".qcow2", ".raw", ".vmdk", ".ova"],
        }
    }

    pub fn takes(self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.endings().iter().any(|ending| name.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()))
    }

    /// By the ending of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|content| content.takes(name))
    }

    /// The name that Proxmox gives to a file of that name.
    ///
    /// # Errors
    /// `BadArgument` where its ending is not one for this content.
    pub fn name(self, field: &str, given: &str) -> Result<String> {
        let name = normalized(given);
        if !self.takes(&name) {
            let endings = self.endings().join(", ");
            return Err(Error::bad_argument(format!(
                "{field}: expected a name that ends with {endings}, got '{given}'"
            )));
        }
        Ok(name)
    }
}

/// Without folders, and with `_` for everything but ASCII letters, digits and `_.-`: as Proxmox does it.
pub fn normalized(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' }).collect()
}

/// A checksum as it was given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Given {
    checksum: Option<String>,
    checksum_algorithm: Option<String>,
}

impl Given {
    /// The algorithm, and the checksum in lower case.
    ///
    /// # Errors
    /// `BadArgument` for what can be no checksum.
    pub fn read(&self) -> Result<Option<(&'static str, String)>> {
        let Some(sum) = self.checksum.as_deref().map(str::trim) else {
            return match &self.checksum_algorithm {
                None => Ok(None),
                Some(_) => Err(Error::bad_argument("checksum: missing; it goes with checksum_algorithm")),
            };
        };
        let hex = sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let algorithm = algorithm_of(sum.len()).filter(|_| hex).ok_or_else(|| {
            Error::bad_argument(format!(
                "checksum: expected the hexadecimal digits of an MD5, SHA-1 or SHA-2, got '{sum}'"
            ))
        })?;
        match &self.checksum_algorithm {
            Some(other) if other.to_ascii_lowercase().replace('-', "") != algorithm => {
                Err(Error::bad_argument(format!(
                    "checksum_algorithm: expected {algorithm}, which checksums of {} digits are, got '{other}'",
                    sum.len()
                )))
            }
            _ => Ok(Some((algorithm, sum.to_ascii_lowercase()))),
        }
    }
}

/// Whether the volume is there; `None` where that cannot be seen.
pub async fn exists(pve: &Reader<'_>, node: &str, content: Content, volid: &str) -> Result<Option<bool>> {
    #[derive(Deserialize)]
    struct Row {
        volid: String,
    }
    let storage = volid.split(':').next().unwrap_or_default();
    let path = format!("/nodes/{}/storage/{}/content", encode(node), encode(storage));
    match pve.request::<Vec<Row>>(&Request::get(path).param("content", content.key())).await {
        Ok(rows) => Ok(Some(rows.iter().any(|row| row.volid == volid))),
        Err(e) if e.kind() == Kind::Permission => Ok(None),
        Err(e) => Err(e),
    }
}

/// A file of this machine, where it lies in the directory that is set for that.
///
/// # Errors
/// `Denied` for any other file, whether it exists or not; `NotFound`; `BadArgument` for one of another kind.
pub async fn local(pve: &Reader<'_>, given: &str, content: Content) -> Result<FilePart> {
    let Some(folder) = pve.upload_dir().map(Path::to_owned) else {
        return Err(Error::new(Kind::Denied, "file_path: no file of this machine may be uploaded")
            .hint("set PROXMOX_UPLOAD_DIR to a directory, and put what shall be uploaded into it"));
    };
    let name = content.name("file_path", given)?;
    let given = given.to_owned();
    // The directory may be a network's.
    let opened = tokio::task::spawn_blocking(move || open(&folder, &given, &name, content)).await;
    opened.map_err(|e| Error::internal(format!("the file could not be looked at: {e}")))?
}

fn open(folder: &Path, given: &str, name: &str, content: Content) -> Result<FilePart> {
    let real = folder.canonicalize().ok().filter(|path| path.is_dir()).ok_or_else(|| {
        Error::bad_setting(format!("PROXMOX_UPLOAD_DIR: expected a directory, got {}", folder.display()))
    })?;
    let outside = || {
        Error::new(Kind::Denied, format!("file_path: {given} does not lie in {}", folder.display()))
            .hint("only files in PROXMOX_UPLOAD_DIR may be uploaded; relative paths are relative to it")
    };
    // Before anything is looked at, so that nothing is told of what lies elsewhere.
    let path = Path::new(given);
    let below = |folder: &Path| path.strip_prefix(folder).ok().map(PathBuf::from);
    let inner = if path.is_absolute() { below(folder).or_else(|| below(&real)) } else { Some(path.to_owned()) };
    let inner = inner.ok_or_else(outside)?;
    if !inner.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let found = real.join(&inner).canonicalize().map_err(|e| missing(&real, given, content, &e))?;
    if !found.starts_with(&real) {
        return Err(outside());
    }
    let file = FilePart::open(&found, name)
        .map_err(|e| Error::bad_argument(format!("file_path: {} cannot be read: {e}", found.display())))?;
    if file.size == 0 {
        return Err(Error::bad_argument(format!("file_path: {} is empty", found.display())));
    }
    Ok(file)
}

fn missing(folder: &Path, given: &str, content: Content, why: &std::io::Error) -> Error {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut there: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    there.retain(|name| content.takes(name));
    there.sort();
    there.truncate(20);
    let there = if there.is_empty() { "none of that kind".to_owned() } else { there.join(", ") };
    Error::not_found(format!("file_path: {given}: {why}")).hint(format!("in {}: {there}", folder.display()))
}

/// The checksum of a file, read piece by piece.
///
/// # Errors
/// What cannot be read; `Cancelled`.
pub async fn checksum(pve: &Reader<'_>, file: &FilePart, algorithm: &str) -> Result<String> {
    let mut sum = Checksum::new(algorithm).ok_or_else(|| Error::internal(format!("no algorithm {algorithm}")))?;
    let (mut offset, mut told) = (0, 0);
    while offset < file.size {
        if pve.scope().cancel.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, "the call was cancelled"));
        }
        let chunk = file.chunk(offset).await;
        let chunk = chunk
            .map_err(|e| Error::bad_argument(format!("file_path: {} cannot be read: {e}", file.path.display())))?;
        sum.update(&chunk);
        offset += chunk.len() as u64;
        let percent = offset * 100 / file.size;
        if percent >= told + 10 {
            told = percent;
            let message = format!("checksum of {}: {percent} %", file.name);
            pve.scope().progress.report(Update::new(None, message));
        }
    }
    Ok(sum.hex())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn given(checksum: &str, algorithm: Option<&str>) -> Given {
        Given { checksum: Some(checksum.to_owned()), checksum_algorithm: algorithm.map(str::to_owned) }
    }

    #[test]
    fn a_checksum_s_algorithm_is_told_by_its_length() {
        let sha256 = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        let read = given(sha256, Some("SHA-256")).read().unwrap();
        assert_eq!(read, Some(("sha256", sha256.to_lowercase())));
        assert_eq!(given(&sha256[..32], None).read().unwrap().unwrap().0, "md5");
        assert!(given(sha256, Some("sha512")).read().is_err());
        assert!(given("abc", None).read().is_err());
        assert!(given(&"z".repeat(64), None).read().is_err());
        assert_eq!(Given::default().read().unwrap(), None);
    }

    #[test]
    fn names_become_what_proxmox_makes_of_them() {
        assert_eq!(normalized("a b/Ünï (1).iso"), "_n___1_.iso");
        assert_eq!(normalized(r"C:\isos\x.iso"), "x.iso");
        assert!(Content::Iso.takes("A.ISO") && !Content::Iso.takes(".iso") && !Content::Iso.takes("a.iso.gz"));
        assert_eq!(Content::of("debian-13.qcow2"), Some(Content::Import));
        assert_eq!(Content::of("debian.tar.zst"), Some(Content::Vztmpl));
        assert_eq!(Content::of("readme.txt"), None);
    }

    #[test]
    #[cfg(unix)]
    fn only_what_lies_in_the_directory_is_opened() {
        let root = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (root.path().join("isos"), root.path().join("isos-secret"));
        for dir in [&folder, &elsewhere] {
            std::fs::create_dir_all(dir.join("sub")).unwrap();
            std::fs::write(dir.join("a.iso"), "abc").unwrap();
        }
        std::fs::write(folder.join("empty.iso"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.join("a.iso"), folder.join("out.iso")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.join("way")).unwrap();
        std::os::unix::fs::symlink(folder.join("a.iso"), folder.join("in.iso")).unwrap();
        let by = |given: &str| open(&folder, given, "a.iso", Content::Iso).map(|file| file.size).map_err(|e| e.kind());
        let absolute = |dir: &Path| dir.join("a.iso").to_string_lossy().into_owned();
        for good in ["a.iso", "./a.iso", "in.iso", &absolute(&folder)] {
            assert_eq!(by(good), Ok(3), "{good}");
        }
        let up = format!("../{}/a.iso", elsewhere.file_name().unwrap().to_string_lossy());
        let not_there = elsewhere.join("no.iso").to_string_lossy().into_owned();
        for bad in ["out.iso", "way/a.iso", "sub/../a.iso", &up, &absolute(&elsewhere), &not_there] {
            assert_eq!(by(bad), Err(Kind::Denied), "{bad}");
        }
        assert_eq!(by("no.iso"), Err(Kind::NotFound));
        assert_eq!(by("empty.iso"), Err(Kind::BadArgument));
        assert_eq!(by("sub"), Err(Kind::BadArgument));
    }
}
