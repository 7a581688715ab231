//! Figures over time: summaries, points, and what was not recorded.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{options, start};

/// The row of a series.
fn series<'a>(figures: &'a Value, name: &str) -> &'a Value {
    figures["series"].as_array().unwrap().iter().find(|row| row["series"] == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_guest_s_hour_is_a_summary_of_each_series() {
    let test = start(options()).await;
    let figures = test.call("proxmox-vm-metrics", json!({"name": "web-01"})).await;
    assert_eq!((&figures["timeframe"], &figures["cf"]), (&json!("hour"), &json!("AVERAGE")));
    assert_eq!((&figures["recorded"], &figures["step_s"], figures.get("points")), (&json!(60), &json!(60), None));
    let cpu = series(&figures, "cpu");
    let of = |key: &str| cpu[key].as_f64().unwrap();
    assert_eq!(cpu["unit"], "%");
    assert!(of("min") <= of("mean") && of("mean") <= of("p95") && of("p95") <= of("max"), "{cpu}");
    assert!(of("max") > 1.0 && of("max") <= 100.0, "{cpu}");
    let still = json!({"series": "maxmem", "unit": "GiB", "last": 4, "min": 4, "mean": 4, "p95": 4, "max": 4});
    assert_eq!(series(&figures, "maxmem"), &still);
    assert_eq!(test.sent.matching(|_, path| path.ends_with("rrddata")).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn containers_and_nodes_have_figures_too() {
    let test = start(options()).await;
    let figures = test.call("proxmox-vm-metrics", json!({"name": "pihole", "timeframe": "week", "cf": "MAX"})).await;
    assert!(figures["recorded"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!((&figures["vmid"], &figures["cf"]), (&json!(108), &json!("MAX")));
    for timeframe in ["hour", "day", "week", "month", "year", "decade"] {
        let figures = test.call("proxmox-node-metrics", json!({"node": "pve1", "timeframe": timeframe})).await;
        assert_eq!(series(&figures, "loadavg").get("unit"), None, "{timeframe}");
        assert_eq!(series(&figures, "memused")["unit"], "GiB", "{timeframe}");
    }
}

#[tokio::test(start_paused = true)]
async fn points_come_on_request_and_no_more_than_asked_for() {
    let test = start(options()).await;
    let arguments = json!({"node": "pve1", "timeframe": "day", "series": ["cpu", "net"], "points": 24});
    let figures = test.call("proxmox-node-metrics", arguments).await;
    let names: Vec<&str> =
        figures["series"].as_array().unwrap().iter().map(|row| row["series"].as_str().unwrap()).collect();
    assert_eq!(names, ["cpu", "netin", "netout"]);
    let points = figures["points"].as_array().unwrap();
    assert_eq!(points.len(), 24);
    assert!(points.iter().all(|point| point.as_object().unwrap().len() == 4), "{figures}");
    assert_eq!(points[23]["time"], figures["to"]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_recorded_a_note_says_so() {
    let test = start(options()).await;
    let figures = test.call("proxmox-vm-metrics", json!({"vmid": 107})).await;
    assert_eq!((&figures["recorded"], &figures["series"]), (&json!(0), &json!([])));
    assert!(figures["note"].as_str().unwrap().contains("nothing was recorded"), "{figures}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_answered_with_what_is() {
    let test = start(options()).await;
    let words = test.fails("proxmox-vm-metrics", json!({"vmid": 100, "series": ["temperature"]})).await;
    assert!(words.contains("'temperature'") && words.contains("diskread"), "{words}");
    let words = test.fails("proxmox-vm-metrics", json!({"vmid": 100, "timeframe": "decade"})).await;
    assert!(words.contains("timeframe"), "{words}");
    let words = test.fails("proxmox-node-metrics", json!({})).await;
    assert!(words.contains("node: missing"), "{words}");
}
