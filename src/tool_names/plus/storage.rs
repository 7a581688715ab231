//! Storages and images.

use serde_json::Value;

use super::{ALL_ROWS, APPROVAL, NODE};
use crate::{
    error::Result,
    tool_names::alias::{Alias, Argument, Call, Given, Target::Tool},
};

const IMAGES: &[Argument] = &[
    Argument::same("node").words("Only what this node can reach."),
    Argument::same("storage").default(r#""*""#).words("Only those on this storage; * for all."),
];

pub const ALIASES: &[Alias] = &[
    Alias::new("get_storage", "List storages", "List storages with content kinds, nodes and room.")
        .to(&[Tool("proxmox-list-storage")])
        .example("How full are the storages?", "{}"),
    Alias::new("list_isos", "List ISO images", "List ISO images.")
        .to(&[Tool("proxmox-storage-content")])
        .takes(IMAGES)
        .fixed(&[("content", r#""iso""#), ALL_ROWS])
        .example("Which ISO images are there?", "{}"),
    Alias::new("list_templates", "List container templates", "List container templates on the storages.")
        .to(&[Tool("proxmox-storage-content")])
        .takes(IMAGES)
        .fixed(&[("content", r#""vztmpl""#), ALL_ROWS])
        .example("Which container templates has pve1?", r#"{"node": "pve1"}"#),
    Alias::new("download_iso", "Download an ISO image", "Let a node download an ISO image from a URL.")
        .to(&[Tool("proxmox-download-url")])
        .takes(&[
            NODE.words("Which node."),
            Argument::same("storage").needed().words("Where to."),
            Argument::same("url").needed(),
            Argument::same("filename").needed(),
            Argument::same("checksum"),
            Argument::same("checksum_algorithm").default(r#""sha256""#),
        ])
        .fixed(&[("content", r#""iso""#)])
        .work(download)
        .example(
            "Get the Debian 13 installer onto the NAS",
            r#"{"node": "pve1", "storage": "nas", "url": "https://cdimage.debian.org/debian-cd/current/amd64/iso-cd/debian-13.1.0-amd64-netinst.iso", "filename": "debian-13.iso"}"#,
        ),
    Alias::new("delete_iso", "Delete an image", "Delete an ISO image or a container template.")
        .to(&[Tool("proxmox-delete-volume")])
        .takes(&[
            NODE.words("Which node."),
            Argument::work("storage", "string").needed().words("Its storage."),
            Argument::work("filename", "string").needed(),
            APPROVAL,
        ])
        .work(delete)
        .example(
            "Delete the old VirtIO ISO on pve1",
            r#"{"node": "pve1", "storage": "local", "filename": "virtio-win-0.1.262.iso", "confirm": true}"#,
        ),
];

fn download(mut given: Given) -> Result<Vec<Call>> {
    if !given.args.contains_key("checksum") {
        given.args.remove("checksum_algorithm");
    }
    Ok(vec![given.call(0)])
}

/// A file's name says what it is: templates are archives.
fn delete(mut given: Given) -> Result<Vec<Call>> {
    let storage = given.take_text("storage").unwrap_or_default();
    let file = given.take_text("filename").unwrap_or_default();
    let folder = if file.contains(".tar.") || file.ends_with(".tar") { "vztmpl" } else { "iso" };
    let volid = match file.split_once(':') {
        Some(_) => file,
        None => format!("{storage}:{folder}/{file}"),
    };
    given.args.insert("volid".to_owned(), Value::from(volid));
    Ok(vec![given.call(0)])
}
