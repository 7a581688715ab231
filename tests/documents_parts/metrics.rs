//! The names of all figures, as the program itself declares them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use proxmox_mcp::{
    error::Kind,
    metrics::{Ended, Metrics},
    pve::Event,
};

/// As samples have them; of a histogram, its own name.
pub fn all() -> BTreeSet<String> {
    let (metrics, took) = (Arc::new(Metrics::default()), Duration::ZERO);
    // What never happened is not told.
    metrics.call_began();
    metrics.call_ended("proxmox-list-nodes", Ended::Error(Kind::Timeout), took);
    let tell = metrics.observer("default");
    tell(Event::Sent { method: &Method::GET, answer: Ok(StatusCode::OK), took });
    tell(Event::WaitBegan);
    tell(Event::WaitEnded { took });
    metrics.cluster_is("default", true);
    drop(metrics.session("sse"));
    metrics.http_began();
    metrics.http_ended(None, &Method::GET, None);
    let text = metrics.text().unwrap();
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let all: BTreeSet<String> = declared
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    assert_eq!(all.len(), 14, "{all:?}");
    all
}

/// Whatever looks like a figure in a text is one.
pub fn names(place: &str, text: &str) {
    let all = all();
    for (at, _) in text.match_indices("proxmox_mcp_") {
        let name: String = text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let plain = ["_bucket", "_count", "_sum"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
        assert!(all.contains(plain), "{place}: no figure is called {name}");
    }
}
