//! Files that come to a storage: uploads, downloads from an address, and the index of container templates.

use std::time::Duration;

use serde_json::{Map, json};

use crate::sandbox::{
    appliances::{self, Appliance},
    call::Call,
    router::Route,
    storage::{Storage, Volume},
    web,
    wire::{Answered, Refusal, civil},
    worker::Worker,
};

pub const ROUTES: &[Route] = &[
    Route::post("/nodes/{node}/storage/{storage}/upload", upload),
    Route::post("/nodes/{node}/storage/{storage}/download-url", download_url),
    Route::get("/nodes/{node}/query-url-metadata", metadata),
    Route::get("/nodes/{node}/aplinfo", index),
    Route::post("/nodes/{node}/aplinfo", download_appliance),
];

/// Bytes a second: of a copy on the node, and of the way to it.
const COPY_RATE: u64 = 400 << 20;
const WAY_RATE: u64 = 100 << 20;

/// A file that is to be on a storage.
#[derive(Debug, Clone)]
struct Target {
    storage: Storage,
    node: String,
    content: String,
    filename: String,
}

impl Target {
    /// Where the file of a call shall be: its name as PVE makes it, of an ending that belongs to its content.
    fn of(call: &Call, no_path: &str, no_content: &str) -> Result<Self, Refusal> {
        let state = call.sandbox.state();
        let storage = state.storage(call.text("storage"), call.node())?.clone();
        if !storage.is_files() {
            return Err(Refusal::failed(no_path.replace("{type}", &storage.plugin)));
        }
        let content = call.text("content").to_owned();
        let filename = normalized(call.text("filename"));
        let lower = filename.to_ascii_lowercase();
        let ends = |endings: &[&str]| {
            endings.iter().any(|ending| lower.strip_suffix(ending).is_some_and(|stem| !stem.is_empty()))
        };
        match content.as_str() {
            "iso" if !ends(&[".iso", ".img"]) => return Err(Refusal::param("filename", "wrong file extension")),
            "vztmpl" if !ends(&[".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tar"]) => {
                return Err(Refusal::param("filename", "wrong file extension"));
            }
            "import" if !ends(&[".ova", ".qcow2", ".raw", ".vmdk"]) => {
                return Err(Refusal::param("filename", "invalid filename or wrong extension"));
            }
            _ => {}
        }
        if !storage.holds(&content) {
            let text = no_content.replace("{storage}", &storage.id).replace("{content}", &content);
            return Err(Refusal::failed(text));
        }
        Ok(Self { storage, node: call.node().to_owned(), content, filename })
    }

    fn path(&self) -> String {
        let folder = match self.content.as_str() {
            "iso" => "template/iso",
            "vztmpl" => "template/cache",
            _ => "import",
        };
        format!("{}/{folder}/{}", self.storage.path(), self.filename)
    }

    fn volid(&self) -> String {
        format!("{}:{}/{}", self.storage.id, self.content, self.filename)
    }

    fn exists(&self, worker: &Worker) -> bool {
        worker.sandbox.state().volumes.get(&self.storage, &self.node, &self.volid()).is_some()
    }

    /// Whether there is room for it, beside everything else.
    fn has_room(&self, worker: &Worker, size: u64) -> bool {
        let state = worker.sandbox.state();
        state.volumes.used(&self.storage, &self.node).saturating_add(size) <= self.storage.total
    }

    fn put(&self, worker: &Worker, size: u64) {
        let now = worker.sandbox.clock().now();
        let extension = self.filename.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let format = match self.content.as_str() {
            "iso" => "iso".to_owned(),
            "vztmpl" if extension != "tar" => format!("t{extension}"),
            _ => extension,
        };
        let volume = Volume::new(self.volid(), &self.content, &format, size).at(now);
        worker.sandbox.state().volumes.put(&self.storage, &self.node, volume);
    }
}

/// The name without folders, and with `_` for everything but ASCII letters, digits and `_.-`.
fn normalized(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' }).collect()
}

fn upload(call: &Call) -> Answered {
    let name = call.get("tmpfilename").ok_or_else(|| Refusal::failed("missing temporary file name"))?.to_owned();
    let received = call.sandbox.uploads().take(&name);
    let no_content = "storage '{storage}' does not support '{content}' content";
    let target = Target::of(call, "can't upload to storage type '{type}'", no_content)?;
    let received = received.ok_or_else(|| Refusal::failed(format!("temporary file '{name}' does not exist")))?;
    let expected = call.get("checksum").map(str::to_ascii_lowercase);
    call.fork(&target.node.clone(), "imgcopy", "", async move |worker| {
        worker.log(format!("starting file import from: {name}"));
        if let (Some(expected), Some(got)) = (expected, received.checksum) {
            worker.work(transfer_time(received.size, COPY_RATE)).await;
            if got != expected {
                worker.log("calculating checksum...");
                return Err(format!("checksum mismatch: got '{got}' != expect '{expected}'"));
            }
            worker.log("calculating checksum...OK, checksum verified");
        }
        let path = target.path();
        worker.log(format!("target node: {}", target.node));
        worker.log(format!("target file: {path}"));
        worker.log(format!("file size is: {}", received.size));
        worker.log(format!("command: cp -- {name} {path}"));
        worker.work(transfer_time(received.size, COPY_RATE)).await;
        if !target.has_room(&worker, received.size) {
            return Err(format!("import failed: cp: error writing '{path}': No space left on device"));
        }
        target.put(&worker, received.size);
        worker.log("finished file import successfully");
        Ok(())
    })
}

fn transfer_time(bytes: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(0.05 + bytes as f64 / rate as f64)
}

fn metadata(call: &Call) -> Answered {
    let page = web::get(call.text("url"));
    let page = page.map_err(|e| Refusal::failed(format!("invalid server response: '{}'", e.status_line())))?;
    let mut out = Map::new();
    if let Some(filename) = page.filename {
        out.insert("filename".to_owned(), filename.into());
    }
    out.insert("size".to_owned(), page.size.into());
    out.insert("mimetype".to_owned(), page.mimetype.into());
    Ok(out.into())
}

fn download_url(call: &Call) -> Answered {
    let no_path = "can't upload to storage type '{type}', not a file based storage!";
    let no_content = "storage '{storage}' is not configured for content-type '{content}'";
    let target = Target::of(call, no_path, no_content)?;
    let url = call.text("url").to_owned();
    let checksum = call.get("checksum").map(str::to_ascii_lowercase);
    let compressed = call.get("compression").is_some();
    call.fork(&target.node.clone(), "download", target.filename.clone(), async move |worker| {
        if compressed && target.content != "iso" {
            return Err(format!("decompression not supported for {}", target.content));
        }
        fetch(&worker, &target, &url, checksum).await
    })
}

/// What the node's own downloader does and says.
async fn fetch(worker: &Worker, target: &Target, url: &str, checksum: Option<String>) -> Result<(), String> {
    let path = target.path();
    worker.log(format!("downloading {url} to {path}"));
    let mismatch = |expected: &str| {
        format!("checksum mismatch: got '{}' != expect '{expected}'", web::checksum(url, expected.len()))
    };
    if target.exists(worker) {
        match &checksum {
            None => return Err(format!("refusing to override existing file '{path}'")),
            Some(sum) if web::fits(sum) => {
                worker.log("calculating checksum of existing file...OK, got correct file already, no need to download");
                return Ok(());
            }
            Some(sum) => {
                worker.log("calculating checksum of existing file...");
                return Err(format!("{}, aborting", mismatch(sum)));
            }
        }
    }
    let time = || {
        let (year, month, day, hour, minute, second, _) = civil(worker.sandbox.clock().now());
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    };
    worker.log(format!("--{}--  {url}", time()));
    let page = match web::get(url) {
        Ok(page) => page,
        Err(missing) => {
            worker.work(Duration::from_millis(100)).await;
            let said = missing.wget(&time());
            worker.log(said.as_str());
            return Err(format!("download failed: {said}"));
        }
    };
    worker.log("HTTP request sent, awaiting response... 200 OK");
    worker.log(format!("Length: {} ({}M) [{}]", page.size, page.size >> 20, page.mimetype));
    worker.log(format!("Saving to: '{path}.tmp.dwnl'"));
    let steps = (page.size / (32 << 20)).clamp(1, 100);
    for step in 1..=steps {
        worker.work(Duration::from_secs_f64(page.size as f64 / WAY_RATE as f64 / steps as f64)).await;
        let done = (page.size >> 10) * step / steps;
        let percent = 100 * step / steps;
        worker.log(format!("{done:>6}K ........ ........ ........ ........ {percent:>2}% {}M", WAY_RATE >> 20));
    }
    if !target.has_room(worker, page.size) {
        let said = format!("Cannot write to '{path}.tmp.dwnl' (No space left on device).");
        worker.log(said.as_str());
        return Err(format!("download failed: {said}"));
    }
    if let Some(sum) = &checksum {
        if !web::fits(sum) {
            worker.log("calculating checksum...");
            return Err(mismatch(sum));
        }
        worker.log("calculating checksum...OK, checksum verified");
    }
    target.put(worker, page.size);
    worker.log(format!("download of '{url}' to '{path}' finished"));
    Ok(())
}

fn index(_: &Call) -> Answered {
    let row = |appliance: &Appliance| {
        json!({
            "architecture": "amd64",
            "description": appliance.description(),
            "headline": appliance.headline,
            "infopage": "https://pve.proxmox.com/wiki/Linux_Container",
            "location": appliance.location(),
            "maintainer": "Proxmox Support Team <support@proxmox.com>",
            "os": appliance.os,
            "package": appliance.package,
            "section": appliance.section,
            "sha512sum": web::checksum(appliance.template, 128),
            "source": appliance.source(),
            "template": appliance.template,
            "type": "lxc",
            "version": appliance.version,
        })
    };
    Ok(appliances::ALL.iter().map(row).collect::<Vec<_>>().into())
}

fn download_appliance(call: &Call) -> Answered {
    let wanted = call.text("template");
    let appliance = appliances::ALL.iter().find(|appliance| appliance.template == wanted);
    let appliance = appliance.ok_or_else(|| Refusal::param("template", "no such template"))?;
    let storage = call.sandbox.state().storage(call.text("storage"), call.node())?.clone();
    if !storage.holds("vztmpl") {
        return Err(Refusal::failed(format!("storage '{}' does not support templates", storage.id)));
    }
    let (node, filename) = (call.node().to_owned(), appliance.template.to_owned());
    let target = Target { storage, node, content: "vztmpl".to_owned(), filename };
    let (url, sum) = (appliance.location(), web::checksum(appliance.template, 128));
    call.fork(&target.node.clone(), "download", wanted, async move |worker| {
        fetch(&worker, &target, &url, Some(sum)).await
    })
}
