//! The names of all figures, as the program itself declares them.

use std::collections::BTreeSet;

use proxmox_mcp::metrics::Metrics;

/// As samples have them; of a histogram, its own name.
pub fn all() -> BTreeSet<String> {
    let text = Metrics::default().text().unwrap();
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    declared
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect()
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
