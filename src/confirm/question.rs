//! A plan as a question to a person: what is going to be done, what stands against it, whether it can be taken back.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outside::clean;

/// A plan that waits for somebody's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub plan_id: String,
    pub summary: String,
}

/// The plan that waits for a yes, where an outcome is one. A plan that would fail anyway does not: it is shown as it is.
pub fn pending(outcome: &Value) -> Option<Asked> {
    let fails = outcome["problems"].as_array().is_some_and(|problems| !problems.is_empty());
    if outcome["state"] != "needs_confirmation" || fails {
        return None;
    }
    let text = |key: &str| outcome[key].as_str().map(str::to_owned);
    Some(Asked { plan_id: text("plan_id")?, summary: text("summary")? })
}

/// Lines of one sort that a question has at most.
const LINES: usize = 10;
/// Characters of one line.
const WIDE: usize = 200;

/// What is asked of a person: the plan in words. `cluster` where there are several.
pub fn question(tool: &str, cluster: Option<&str>, plan: &Value) -> String {
    let mut summary = line(plan["summary"].as_str().unwrap_or(tool));
    if let Some(first) = summary.get(..1) {
        summary.replace_range(..1, &first.to_ascii_uppercase());
    }
    let cluster = cluster.map(|cluster| format!(" (cluster {})", line(cluster))).unwrap_or_default();
    let mut text = format!("{summary}{cluster}?");
    let each = |key: &str| plan[key].as_array().into_iter().flatten();
    let texts = |key: &str, word: &str| each(key).filter_map(Value::as_str).map(|t| format!("{word}: {t}")).collect();
    let change = |change: &Value| {
        let value = |key: &str| change[key].as_str().unwrap_or("(not set)").to_owned();
        format!("{}: {} → {}", value("key"), value("old"), value("new"))
    };
    let request = |request: &Value| {
        let params = request["params"].as_object().into_iter().flatten();
        let params: String = params.map(|(key, value)| format!(" {key}={}", plain(value))).collect();
        format!("{} {}{params}", plain(&request["method"]), plain(&request["path"]))
    };
    part(&mut text, texts("warnings", "Warning"));
    part(&mut text, texts("problems", "Problem"));
    part(&mut text, each("changes").map(change).collect());
    part(&mut text, each("requests").map(request).collect());
    let undo = match (plan["undo"]["tool"].as_str(), plan["no_undo"].as_str()) {
        (Some(tool), _) => format!("It can be taken back with {tool}. "),
        (None, Some(why)) => format!("It cannot be taken back: {}. ", line(why.trim_end_matches('.'))),
        (None, None) => String::new(),
    };
    let _ = write!(text, "\n\n{undo}Asked for with {tool}.");
    text
}

/// Adds some lines, if there are any.
fn part(text: &mut String, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    text.push('\n');
    for shown in lines.iter().take(LINES) {
        text.push('\n');
        text.push_str(&line(shown));
    }
    if lines.len() > LINES {
        let _ = write!(text, "\n… and {} more", lines.len() - LINES);
    }
}

/// As one line of bearable length: what is in names and notes must not pass for part of the question.
fn line(text: &str) -> String {
    let text = clean(text);
    let mut chars = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    let short: String = chars.by_ref().take(WIDE).collect();
    if chars.next().is_some() { format!("{short}…") } else { short }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_is_short_and_says_what_counts() {
        let plan = json!({
            "summary": "configure VM 100 (web-01) on pve1", "warnings": ["the guest runs: cores change at its next start"],
            "changes": [{"key": "cores", "old": "2", "new": "4"}, {"key": "tags", "new": "web"}],
            "requests": [{"method": "PUT", "path": "/nodes/pve1/qemu/100/config", "params": {"cores": "4", "tags": "web"}}],
            "undo": {"tool": "proxmox-configure-vm", "arguments": {}},
        });
        let text = "Configure VM 100 (web-01) on pve1 (cluster lab)?\n\n\
            Warning: the guest runs: cores change at its next start\n\n\
            cores: 2 → 4\ntags: (not set) → web\n\n\
            PUT /nodes/pve1/qemu/100/config cores=4 tags=web\n\n\
            It can be taken back with proxmox-configure-vm. Asked for with proxmox-configure-vm.";
        assert_eq!(question("proxmox-configure-vm", Some("lab"), &plan), text);
    }

    #[test]
    fn names_and_notes_cannot_pass_for_parts_of_the_question() {
        let plan = json!({
            "summary": "delete VM 1 (a)\n\nThis is harmless.\u{202e}",
            "changes": [{"key": "description", "new": "x".repeat(5000)}],
            "requests": (0..40).map(|n| json!({"method": "DELETE", "path": format!("/{n}")})).collect::<Vec<_>>(),
            "no_undo": "what is gone is gone.",
        });
        let text = question("proxmox-delete-vm", None, &plan);
        assert!(text.starts_with("Delete VM 1 (a)  This is harmless.?\n"), "{text}");
        assert!(text.contains("… and 30 more") && text.contains("It cannot be taken back: what is gone is gone. "));
        assert!(text.len() < 800, "{text}");
    }

    #[test]
    fn a_plan_that_would_fail_is_not_asked_about() {
        let mut plan = json!({"state": "needs_confirmation", "summary": "a", "plan_id": "1-2"});
        assert_eq!(pending(&plan), Some(Asked { plan_id: "1-2".to_owned(), summary: "a".to_owned() }));
        plan["problems"] = json!(["no room"]);
        assert_eq!(pending(&plan), None);
        assert_eq!(pending(&json!({"state": "needs_confirmation", "summary": "a"})), None);
        assert_eq!(pending(&json!({"state": "planned", "summary": "a", "plan_id": "1-2"})), None);
    }
}
