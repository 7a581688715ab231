//! Finding tools by words, as somebody writes who does not know their names: parts of words, other forms of them, other
//! words for the same, slips of the pen. What stands in a name counts most, and a word that few tools have more than one
//! that many have.

use serde_json::{Map, Value, json};

use crate::{
    app::App,
    arguments::nearest,
    tool::Entry,
    tools::FAMILIES,
    toolsets::{self, GROUPS},
};

/// What people say, and what it is called here.
const SAME: &[(&str, &str)] = &[
    ("machine", "vm"),
    ("qemu", "vm"),
    ("kvm", "vm"),
    ("instance", "guest"),
    ("container", "lxc"),
    ("ct", "lxc"),
    ("destroy", "delete"),
    ("erase", "delete"),
    ("drop", "delete"),
    ("remove", "delete"),
    ("delete", "remove"),
    ("make", "create"),
    ("new", "create"),
    ("add", "create"),
    ("provision", "create"),
    ("duplicate", "clone"),
    ("copy", "clone"),
    ("restart", "reboot"),
    ("boot", "start"),
    ("launch", "start"),
    ("halt", "stop"),
    ("kill", "stop"),
    ("abort", "stop"),
    ("cancel", "stop"),
    ("off", "shutdown"),
    ("show", "list"),
    ("get", "list"),
    ("detail", "info"),
    ("edit", "configure"),
    ("modify", "configure"),
    ("change", "configure"),
    ("update", "configure"),
    ("set", "configure"),
    ("setting", "configure"),
    ("config", "configure"),
    ("memory", "configure"),
    ("ram", "configure"),
    ("cpu", "configure"),
    ("core", "configure"),
    ("volume", "disk"),
    ("drive", "disk"),
    ("hdd", "disk"),
    ("grow", "resize"),
    ("enlarge", "resize"),
    ("extend", "resize"),
    ("move", "migrate"),
    ("interface", "nic"),
    ("ip", "network"),
    ("bridge", "network"),
    ("vlan", "network"),
    ("host", "node"),
    ("server", "node"),
    ("revert", "rollback"),
    ("undo", "rollback"),
    ("job", "task"),
    ("log", "journal"),
    ("usage", "metrics"),
    ("graph", "metrics"),
    ("stat", "metrics"),
    ("command", "exec"),
    ("run", "exec"),
    ("execute", "exec"),
    ("shell", "exec"),
    ("ssh", "exec"),
    ("account", "user"),
    ("right", "permission"),
    ("acl", "permission"),
    ("comment", "notes"),
    ("description", "notes"),
    ("cdrom", "iso"),
    ("image", "iso"),
    ("vzdump", "backup"),
    ("label", "tag"),
];

/// Words that tell nothing.
const EMPTY: &[&str] = &[
    "a", "all", "an", "and", "any", "at", "by", "can", "do", "for", "from", "how", "i", "in", "into", "is", "it", "me",
    "my", "of", "on", "or", "our", "please", "proxmox", "pve", "that", "the", "this", "to", "tool", "tools", "want",
    "what", "which", "with",
];

/// How much a word counts by where it stands.
const IN_NAME: f64 = 10.0;
const IN_TITLE: f64 = 6.0;
const IN_FAMILY: f64 = 5.0;
const IN_WORDS: f64 = 3.0;
const IN_ARGUMENTS: f64 = 2.0;
/// A part of a word, and another word for the same, count less.
const PART: f64 = 0.6;
const MEANT: f64 = 0.7;

/// A tool as it is searched.
struct Page {
    entry: &'static Entry,
    family: &'static str,
    fields: [(f64, Vec<String>); 5],
}

/// The tools that fit best, with all that a call of them needs. Only those that may be called here are found.
pub fn find(app: &App, query: &str, limit: usize) -> Value {
    let pages = pages(app);
    let wanted = words(query);
    if wanted.is_empty() {
        return json!({"total": pages.len(), "tools": [], "toolsets": toolsets(&pages)});
    }
    let mut found: Vec<(f64, &Page)> =
        rate(&pages, &wanted).into_iter().zip(&pages).filter(|(score, _)| *score > 0.0).collect();
    // The order of the registry where they are equally good.
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    if found.is_empty() {
        let next = "no tool fits these words; any of these toolsets' names is a query, too";
        return json!({"total": 0, "tools": [], "toolsets": toolsets(&pages), "next": next});
    }
    let total = found.len();
    let tools: Vec<Value> = found.iter().take(limit).map(|(_, page)| shown(app, page.entry)).collect();
    json!({"total": total, "tools": tools})
}

fn shown(app: &App, entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "description": entry.description(),
        "effect": entry.effect,
        "inputSchema": app.listed(entry),
        "example": {"request": entry.example.0, "arguments": example(entry)},
    })
}

fn example(entry: &Entry) -> Value {
    serde_json::from_str(entry.example.1).unwrap_or_default()
}

/// The toolsets that have any of these tools, and how many.
fn toolsets(pages: &[Page]) -> Vec<Value> {
    let groups = GROUPS.iter().map(|group| (group.name, group.help));
    let families = FAMILIES.iter().map(|(family, _)| (*family, ""));
    let count = |name: &str| {
        let members = toolsets::toolset(name).unwrap_or_default();
        members.iter().filter(|member| pages.iter().any(|page| page.entry.name == member.name)).count()
    };
    let sets = groups.chain(families).map(|(name, help)| (name, help, count(name)));
    sets.filter(|(_, _, count)| *count > 0)
        .map(|(name, help, count)| match help {
            "" => json!({"name": name, "tools": count}),
            help => json!({"name": name, "tools": count, "help": help}),
        })
        .collect()
}

fn pages(app: &App) -> Vec<Page> {
    let callable = FAMILIES.iter().flat_map(|(family, entries)| entries.iter().map(move |entry| (*family, entry)));
    let callable = callable.enumerate().filter(|(_, (_, entry))| app.can_call(entry));
    callable.map(|(index, (family, entry))| page(family, entry, app.schema(index, entry))).collect()
}

fn page(family: &'static str, entry: &'static Entry, schema: &Map<String, Value>) -> Page {
    let properties = schema.get("properties").and_then(Value::as_object);
    let arguments = properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(" ");
    let fields = [
        (IN_NAME, words(entry.name)),
        (IN_TITLE, words(entry.title)),
        (IN_FAMILY, words(family)),
        (IN_WORDS, words(&format!("{} {}", entry.description(), entry.example.0))),
        (IN_ARGUMENTS, words(&arguments)),
    ];
    Page { entry, family, fields }
}

/// Of each tool how well it fits.
fn rate(pages: &[Page], wanted: &[String]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0usize); pages.len()];
    for word in wanted {
        let meant = meant(word);
        let mut scores: Vec<f64> = pages.iter().map(|page| best(page, &meant)).collect();
        if scores.iter().all(|score| *score == 0.0) {
            let names = pages.iter().flat_map(|page| &page.fields[0].1).map(String::as_str);
            // A slip of the pen; a short word is more likely another word.
            if let Some(near) = nearest(word, names.filter(|name| name.len() > 3)) {
                scores = pages.iter().map(|page| PART * direct(page, near)).collect();
            }
        }
        let hits = scores.iter().filter(|score| **score > 0.0).count();
        let rare = (1.0 + pages.len() as f64 / hits.max(1) as f64).ln();
        for (sum, score) in sums.iter_mut().zip(scores) {
            sum.0 += score * rare;
            sum.1 += usize::from(score > 0.0);
        }
    }
    let whole = wanted.join(" ");
    let rate = |(page, (sum, hits)): (&Page, (f64, usize))| {
        let name = page.fields[0].1.join(" ");
        // The name itself, and a whole family, are what was asked for; else one that has all the words goes before one that
        // has some of them, and a name without other words before one with.
        let exact = if name == whole || words(page.family).join(" ") == whole { 100.0 } else { 0.0 };
        let share = hits as f64 / wanted.len() as f64;
        let own = 1.0 / (1.0 + 0.05 * page.fields[0].1.len() as f64);
        if hits == 0 { 0.0 } else { (sum + exact) * share * share * own }
    };
    pages.iter().zip(sums).map(rate).collect()
}

/// A word, and the words for the same, with what they are worth.
fn meant(word: &str) -> Vec<(f64, String)> {
    let same = SAME.iter().filter(|(said, _)| stem(said) == word).map(|(_, name)| (MEANT, stem(name)));
    std::iter::once((1.0, word.to_owned())).chain(same).collect()
}

/// How well a tool fits the best of these words.
fn best(page: &Page, words: &[(f64, String)]) -> f64 {
    words.iter().map(|(worth, word)| worth * direct(page, word)).fold(0.0, f64::max)
}

fn direct(page: &Page, word: &str) -> f64 {
    let of = |field: &(f64, Vec<String>)| {
        let (weight, words) = field;
        let fits = |has: &String| match () {
            () if has == word => 1.0,
            () if word.len() > 2 && (has.starts_with(word) || (has.len() > 3 && word.starts_with(has.as_str()))) => {
                PART
            }
            () if word.len() > 3 && has.contains(word) => PART * PART,
            () => 0.0,
        };
        weight * words.iter().map(fits).fold(0.0, f64::max)
    };
    // Where it stands several times, it counts a little more.
    let all: Vec<f64> = page.fields.iter().map(of).collect();
    all.iter().copied().fold(0.0, f64::max) + 0.1 * all.iter().sum::<f64>()
}

/// The words of a text that tell something, in their shortest form.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
        if word.is_empty() || EMPTY.contains(&word) {
            continue;
        }
        let stem = stem(word);
        if !words.contains(&stem) {
            words.push(stem);
        }
    }
    words
}

/// Without the endings that English words take.
fn stem(word: &str) -> String {
    let bare = match word {
        "vms" | "cts" | "ips" => &word[..word.len() - 1],
        _ if word.len() <= 3 || word.ends_with("ss") || word.ends_with("us") => word,
        _ => word.strip_suffix('s').unwrap_or(word),
    };
    let bare = match bare.strip_suffix("ing").or_else(|| bare.strip_suffix("ed")) {
        Some(stem) if stem.len() > 3 => {
            let mut ends = stem.chars().rev();
            match (ends.next(), ends.next()) {
                // "stopping", "shutting"
                (Some(a), Some(b)) if a == b && a.is_ascii() && a != 'l' && a != 's' => &stem[..stem.len() - 1],
                _ => stem,
            }
        }
        _ => bare,
    };
    match bare.strip_suffix('e') {
        // "delete" and "deleting", "policies" and "policy"
        Some(stem) if stem.len() > 3 => {
            stem.strip_suffix('i').map_or_else(|| stem.to_owned(), |stem| format!("{stem}y"))
        }
        _ => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_are_one_word() {
        for (forms, stem) in [
            (&["vm", "vms"][..], "vm"),
            (&["snapshot", "snapshots", "snapshotted", "snapshotting"], "snapshot"),
            (&["delete", "deletes", "deleted", "deleting"], "delet"),
            (&["policy", "policies"], "policy"),
            (&["stop", "stops", "stopped", "stopping"], "stop"),
            (&["status"], "status"),
            (&["access"], "access"),
            (&["migrate", "migrating", "migrates"], "migrat"),
        ] {
            for form in forms {
                assert_eq!(words(form), [stem], "{form}");
            }
        }
        assert_eq!(words("How do I list all of my VMs?"), ["list", "vm"]);
        assert_eq!(words("proxmox-delete-vm"), ["delet", "vm"]);
    }
}
