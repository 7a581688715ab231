//! The cloud image that machines are made of: downloaded once for each storage that needs it, before anything else, and only
//! where it is not there yet.

use crate::{
    lanes::{Lane, Step},
    pve::encode,
    tool::*,
    tools::disks::import::Download,
};

/// An image on a storage, or on its way there.
pub struct Image {
    pub volume: String,
    /// Brings it there; nothing where it is there already.
    pub lane: Option<Lane>,
    /// All nodes have it then.
    pub shared: bool,
}

/// What to say of a download that nobody can verify.
pub const UNVERIFIED: &str = "no checksum: nobody verifies that the image is what its maker published";

/// `sha256:…` is as good as the bare digits.
fn digits(checksum: &str) -> &str {
    checksum.rsplit_once(':').map_or(checksum, |(_, digits)| digits).trim()
}

/// Where the image is, or comes to, for machines on this node.
///
/// # Errors
/// As [`Download::plan`].
pub async fn on(pve: &Reader<'_>, node: &str, url: &str, checksum: Option<&str>) -> Result<Image> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    // What Ubuntu and others call .img is qcow2, and Proxmox goes by the name.
    let filename = name.strip_suffix(".img").map(|stem| format!("{stem}.qcow2"));
    let download = Download { url, storage: Some("*"), filename: filename.as_deref(), checksum: checksum.map(digits) };
    let (request, volume) = download.plan(pve, node).await?;
    let lane = request.map(|request| {
        let storage = request.path.trim_end_matches("/download-url").to_owned();
        let gone = Request::delete(format!("{storage}/content/{}", encode(&volume)));
        let name = volume.rsplit('/').next().unwrap_or_default();
        let step = Step::new(format!("downloading {name}"), request).back(gone);
        Lane::new(&volume).about("node", node).step(step)
    });
    let storage = volume.split(':').next().unwrap_or_default();
    let shared = pve.storages(node, "import").await?.iter().any(|s| s.storage == storage && s.shared);
    Ok(Image { volume, lane, shared })
}
