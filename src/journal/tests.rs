//! Records: written, left behind, read again; with a torn line, another key, and while somebody is at work on them.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    lanes::{At, Step},
    pve::{GuestKind, Request},
};

fn lanes() -> Lanes {
    let at = |vmid| At { vmid, kind: GuestKind::Qemu, node: "pve1".to_owned() };
    let lane = |vmid: u32| {
        let create = Request::post("/nodes/pve1/qemu").param("vmid", vmid).secret("cipassword", "s3cret-w0rd");
        Lane::of(format!("m{vmid}"), &at(vmid))
            .step(Step::new("creating", create).back(Request::delete(at(vmid).path(""))))
            .step(Step::new("starting", Request::post(at(vmid).path("status/start"))))
    };
    Lanes::new("machines", vec![lane(700), lane(701)])
}

fn key(text: &str) -> Key {
    Key::new(&text.into())
}

fn journal(name: &str) -> Journal {
    let directory = std::env::temp_dir().join(format!("proxmox-mcp-journal-{}-{name}", std::process::id()));
    drop(fs::remove_dir_all(&directory));
    Journal::new(directory)
}

async fn begun(journal: &Journal) -> Record {
    let about =
        About { tool: "proxmox-x", cluster: "lab", who: "root@pam!t".to_owned(), summary: "make two", audit: None };
    journal.begin(about, &lanes(), key("token")).await.unwrap()
}

#[tokio::test]
async fn what_a_dead_process_left_is_read_with_the_same_credentials_only() {
    let journal = journal("left");
    let record = begun(&journal).await;
    record.note(0, 0, Note::Sending).await.unwrap();
    let upid = "UPID:pve1:00000007:0006D198:6B010091:qmcreate:700:root@pam!t:";
    record.note(0, 0, Note::Begun { upid: upid.to_owned() }).await.unwrap();
    record.note(0, 0, Note::Done).await.unwrap();
    record.note(0, 1, Note::Sending).await.unwrap();
    record.renumbered(1, &Lane { vmid: Some(900), ..lanes().lanes[1].clone() }).await.unwrap();
    let file = journal.directory().join(format!("{}.jsonl", record.id()));
    assert!(journal.left().unwrap().0.is_empty(), "somebody is at work on it");
    drop(record);
    let mut text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("s3cret"), "a secret on disk: {text}");
    // The process ended in the middle of a line.
    text.push_str("{\"lane\":1,\"step\":0,\"no");
    fs::write(&file, text).unwrap();
    let (mut left, bad) = journal.left().unwrap();
    assert_eq!((left.len(), bad.len()), (1, 0));
    let left = left.remove(0);
    assert_eq!(left.got[0].did, [Did::Done, Did::Sent]);
    assert_eq!(left.got[1].did, []);
    assert_eq!(left.head.lanes[1].vmid, Some(900));
    assert!(left.lanes(&key("another")).is_err_and(|e| e.kind() == Kind::Unauthorized));
    let read = left.lanes(&key("token")).unwrap();
    assert_eq!(read.lanes[1].vmid, Some(900));
    assert_eq!(read.lanes[0].steps[0].request, lanes().lanes[0].steps[0].request);
    // Taken up, and cut off again: what is added after the torn line counts.
    let (.., record) = left.record(key("token")).unwrap();
    record.note(1, 0, Note::Refused).await.unwrap();
    record.note(1, 0, Note::Sending).await.unwrap();
    drop(record);
    assert_eq!(journal.left().unwrap().0[0].got[1].did, [Did::Sent]);
    fs::remove_dir_all(journal.directory()).unwrap();
}

#[tokio::test]
async fn a_call_that_ended_leaves_no_record_and_no_record_is_no_trouble() {
    let journal = journal("ended");
    assert!(journal.left().unwrap().0.is_empty(), "the directory is not there yet");
    let record = begun(&journal).await;
    record.close().await.unwrap();
    assert_eq!(fs::read_dir(journal.directory()).unwrap().count(), 0);
    fs::write(journal.directory().join("x.jsonl"), "no record\n").unwrap();
    let (left, bad) = journal.left().unwrap();
    assert_eq!((left.len(), bad.len()), (0, 1), "{bad:?}");
    fs::remove_dir_all(journal.directory()).unwrap();
}
