//! Disks and network devices in configurations: property strings in the order PVE writes them, and the allocation of
//! the volumes that new disks ask for.

use std::collections::BTreeMap;

use super::{
    config::{format_size, parse_size},
    guest::Kind,
    state::State,
    storage::{Storage, Volume, disk_volid},
    wire::Refusal,
};

/// Bytes that an empty qcow2 image takes.
const EMPTY_QCOW2: u64 = 331_776;
/// Neither an image file on ext4 nor a thin volume can be larger.
pub const LARGEST: u64 = 16 << 40;
/// Guests whose disks hold less than this have no operating system to answer them.
pub const SYSTEM: u64 = 16 << 20;

/// A drive or mount point: the volume, and everything else by key.
#[derive(Debug, Clone, PartialEq)]
pub struct Drive {
    pub volume: String,
    pub options: BTreeMap<String, String>,
}

/// What the volume of a drive is.
#[derive(Debug, PartialEq)]
pub enum Wanted<'a> {
    /// `none`, or the node's own CD drive, or a device path.
    Nothing,
    /// `storage:8`: a new disk of so many bytes.
    New { storage: &'a str, size: u64 },
    /// `storage:cloudinit`.
    CloudInit { storage: &'a str },
    /// One that is there.
    Existing { storage: &'a str },
}

impl Drive {
    pub fn parse(text: &str) -> Self {
        let mut drive = Self { volume: String::new(), options: BTreeMap::new() };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None | Some(("file" | "volume", _)) => {
                    drive.volume = part.split_once('=').map_or(part, |(_, volume)| volume).to_owned();
                }
                Some((key, value)) => drop(drive.options.insert(key.to_owned(), value.to_owned())),
            }
        }
        drive
    }
    pub fn is_cdrom(&self) -> bool {
        self.options.get("media").is_some_and(|media| media == "cdrom")
    }
    pub fn is_cloud_init(&self) -> bool {
        self.volume.contains("cloudinit")
    }
    /// In bytes, as configured.
    pub fn size(&self) -> u64 {
        self.options.get("size").and_then(|size| parse_size(size)).unwrap_or(0)
    }
    pub fn storage(&self) -> &str {
        self.volume.split_once(':').map_or("", |(storage, _)| storage)
    }
    pub fn wanted(&self) -> Wanted<'_> {
        let Some((storage, rest)) = self.volume.split_once(':').filter(|_| !self.volume.starts_with('/')) else {
            return Wanted::Nothing;
        };
        if rest == "cloudinit" {
            return Wanted::CloudInit { storage };
        }
        match rest.parse::<f64>() {
            Ok(gigabytes) if gigabytes >= 0.0 => {
                let size = ((gigabytes * f64::from(1 << 20)) as u64).saturating_mul(1024);
                Wanted::New { storage, size }
            }
            _ => Wanted::Existing { storage },
        }
    }
}

/// The volume first, then the keys in alphabetical order.
impl std::fmt::Display for Drive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.volume)?;
        self.options.iter().try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

/// A network device as PVE writes it: the model with its address (or the name) first, then the keys in alphabetical
/// order; an address is made where there is none.
pub fn network_device(state: &mut State, kind: Kind, text: &str) -> String {
    let mut keys: BTreeMap<&str, String> = BTreeMap::new();
    let mut model = None;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            None => model = Some(part.to_owned()),
            Some(("model", value)) => model = Some(value.to_owned()),
            Some((key, value)) if kind == Kind::Qemu && is_model(key) => {
                model = Some(key.to_owned());
                keys.insert("macaddr", value.to_owned());
            }
            Some((key, value)) => drop(keys.insert(key, value.to_owned())),
        }
    }
    let rest = |keys: &BTreeMap<&str, String>| keys.iter().map(|(k, v)| format!(",{k}={v}")).collect::<String>();
    if kind == Kind::Lxc {
        let name = keys.remove("name").unwrap_or_else(|| "eth0".to_owned());
        keys.entry("hwaddr").or_insert_with(|| state.random_mac());
        keys.entry("type").or_insert_with(|| "veth".to_owned());
        return format!("name={name}{}", rest(&keys));
    }
    let mac = keys.remove("macaddr").unwrap_or_else(|| state.random_mac());
    let model = model.unwrap_or_else(|| "virtio".to_owned());
    format!("{model}={mac}{}", rest(&keys))
}

fn is_model(key: &str) -> bool {
    key.starts_with("e1000")
        || key.starts_with("i825")
        || matches!(key, "virtio" | "vmxnet3" | "rtl8139" | "ne2k_pci" | "ne2k_isa" | "pcnet")
}

/// The bridge of a network device.
pub fn bridge(text: &str) -> Option<&str> {
    super::config::property(text, "bridge")
}

/// Whether a storage may hold this guest's disks: there, enabled, and of the right content.
///
/// # Errors
/// PVE's 500 for a storage that is not there, its 400 for one that does not hold disks.
pub fn check_storage<'a>(state: &'a State, id: &str, node: &str, kind: Kind) -> Result<&'a Storage, Refusal> {
    let storage = state.storage(id, node)?;
    let (content, words) = match kind {
        Kind::Qemu => ("images", "vm images"),
        Kind::Lxc => ("rootdir", "container directories"),
    };
    if storage.holds(content) {
        return Ok(storage);
    }
    Err(Refusal::param("storage", format!("storage '{id}' does not support {words}")))
}

/// Makes the volume a drive asks for, or checks that the one it names is there; `log` gets what the tools say. The drive
/// as it is to stand in the configuration comes back.
///
/// # Errors
/// PVE's text, without what was to be created.
pub fn allocate(
    state: &mut State,
    place: (&str, Kind, u32),
    text: &str,
    now: u64,
    log: &mut Vec<String>,
) -> Result<Drive, String> {
    let (node, kind, vmid) = place;
    let mut drive = Drive::parse(text);
    let import = drive.options.remove("import-from");
    let (storage, size, cloud_init) = match drive.wanted() {
        Wanted::Nothing => return Ok(drive),
        Wanted::Existing { .. } => {
            check_volume(state, node, &mut drive)?;
            return Ok(drive);
        }
        Wanted::CloudInit { storage } => (storage.to_owned(), 4 << 20, true),
        Wanted::New { storage, size } => (storage.to_owned(), size, false),
    };
    let storage = state.storage(&storage, node).map_err(|e| e.message)?.clone();
    let source = match &import {
        Some(volid) => Some(source(state, node, volid)?),
        None => None,
    };
    let size = source.as_ref().map_or(size, |(size, _)| *size);
    let format = drive.options.remove("format");
    let format = match &format {
        Some(format) if storage.is_files() => format.as_str(),
        None if cloud_init && storage.is_files() => "qcow2",
        _ => "raw",
    };
    let volid = if cloud_init {
        disk_volid(&storage, vmid, &format!("vm-{vmid}-cloudinit"), format)
    } else {
        state.volumes.next_disk(&storage, node, vmid, "vm", format)
    };
    if size > LARGEST {
        let path = image_path(&storage, &volid);
        if !storage.is_files() {
            return Err(format!("lvcreate '{path}' error: Volume too large for the extent size."));
        }
        log.push(formatting(&storage, &volid, format, size));
        return Err(format!(
            "unable to create image: qemu-img: {path}: The image size is too large for file format '{format}'"
        ));
    }
    log.push(formatting(&storage, &volid, format, size));
    let content = if kind == Kind::Qemu { "images" } else { "rootdir" };
    let mut volume = Volume::new(volid.as_str(), content, format, size).of(vmid).at(now);
    volume.used = source.map_or(if format == "qcow2" { EMPTY_QCOW2 } else { 0 }, |(_, used)| used);
    state.volumes.put(&storage, node, volume);
    drive.volume = volid;
    if cloud_init {
        drive.options.insert("media".to_owned(), "cdrom".to_owned());
    } else {
        drive.options.insert("size".to_owned(), format_size(size));
    }
    Ok(drive)
}

/// Size and content of what is imported.
fn source(state: &State, node: &str, volid: &str) -> Result<(u64, u64), String> {
    let storage = state.storage(volid.split(':').next().unwrap_or_default(), node).map_err(|e| e.message)?;
    let volume = state.volumes.get(storage, node, volid).ok_or_else(|| format!("could not get size of {volid}"))?;
    Ok((volume.size, volume.used))
}

fn check_volume(state: &State, node: &str, drive: &mut Drive) -> Result<(), String> {
    let storage = state.storage(drive.storage(), node).map_err(|e| e.message)?;
    let Some(volume) = state.volumes.get(storage, node, &drive.volume) else { return Err(missing(&drive.volume)) };
    let size = volume.size;
    drive.options.insert("size".to_owned(), format_size(size));
    Ok(())
}

pub fn missing(volid: &str) -> String {
    format!("volume '{volid}' does not exist")
}

/// Where a file storage keeps an image.
pub fn image_path(storage: &Storage, volid: &str) -> String {
    let name = volid.split_once(':').map_or(volid, |(_, name)| name);
    if storage.is_files() { format!("{}/images/{name}", storage.path()) } else { format!("/dev/{}/{name}", storage.id) }
}

/// What the tool that makes an image prints.
pub fn formatting(storage: &Storage, volid: &str, format: &str, size: u64) -> String {
    let path = image_path(storage, volid);
    match (storage.is_files(), format) {
        (true, "qcow2") => format!(
            "Formatting '{path}', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata \
             compression_type=zlib size={size} lazy_refcounts=off refcount_bits=16"
        ),
        (true, format) => format!("Formatting '{path}', fmt={format} size={size} preallocation=off"),
        (false, _) => {
            let name = volid.split_once(':').map_or(volid, |(_, name)| name);
            format!("  Logical volume \"{name}\" created.")
        }
    }
}
