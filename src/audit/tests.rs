use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::*;
use crate::{
    call::{App, Cluster, Context, Cx, guarded},
    config::Safety,
    policy::{Effect, Settings},
    pve::{Client, Reader, Request},
    sandbox::{Options, Sandbox},
    tool::{Action, Control, Deserialize, Done, JsonSchema, Tool},
};

/// Starts a VM, and blows up over what came of it.
#[derive(Deserialize, JsonSchema)]
struct Bomb {}

impl Tool for Bomb {
    const NAME: &str = "proxmox-bomb";
    const TITLE: &str = "Bomb";
    const API: &[&str] = &["POST /nodes/{node}/qemu/{vmid}/status/start"];
    const EXAMPLE: (&str, &str) = ("Blow up", "{}");
}

impl Action for Bomb {
    const EFFECT: Effect = Effect::Write;
    const CONTROL: Control = Control::new(60).waiting();
    async fn plan(&self, _: &Reader<'_>) -> Result<Plan> {
        Ok(Plan::new("blow up").step(Request::post("/nodes/pve2/qemu/107/status/start")))
    }
    #[expect(clippy::panic, reason = "that is the subject")]
    async fn result(&self, _: &Reader<'_>, _: &Plan, _: Done<'_>) -> Result<Option<Value>> {
        panic!("boom")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_end_of_its_entry() -> std::result::Result<(), Box<dyn std::error::Error>> {
    static BOMB: Entry = Entry::action::<Bomb>();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.jsonl");
    let sandbox = Sandbox::new(Options::default());
    let client = Client::with_transport(&crate::embedded::cluster_config(&sandbox), Arc::new(sandbox));
    let safety = Safety { policy: Settings::everything()?, audit_file: Some(file.clone()), ..Safety::default() };
    let app = App::with_clusters(vec![Cluster { name: "lab".to_owned(), client: client.clone() }], &safety)?;
    let context = Context::default();
    let answer = guarded(Cx::new(&BOMB, &app, &client, &context), Map::new()).await;
    assert!(answer.is_err());
    let entry = read(&file, 1)?.pop().ok_or("no entry")?;
    let end = entry.ended.ok_or("no end")?;
    assert_eq!(end.error.map(|error| error.kind), Some("internal".to_owned()));
    assert_eq!(json!(end.sent)[0]["request"], "POST /nodes/pve2/qemu/107/status/start");
    assert!(verify(&[Log::new(file, None)]).is_ok_and(|report| (report.calls, report.open) == (1, 0)));
    Ok(())
}

#[test]
fn ids_are_short_unique_and_sort_by_time() -> Result<()> {
    let first = new_id()?;
    std::thread::sleep(std::time::Duration::from_millis(2));
    let mut later = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let id = new_id()?;
        assert!(id.len() == 13 && id > first, "{first} {id}");
        later.insert(id);
    }
    assert_eq!(later.len(), 100);
    Ok(())
}
