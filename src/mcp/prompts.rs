//! Prompts: what experienced operators ask for, as texts with arguments. The texts stand in `prompts/`, one file each;
//! this knows how they are listed and filled in.

use rmcp::{
    ErrorData,
    model::{
        GetPromptRequestParams, GetPromptResult, JsonObject, ListPromptsResult, PaginatedRequestParams, Prompt,
        PromptArgument, PromptMessage, Role,
    },
};
use serde_json::Value;

use super::{
    pages::{self, LISTED_MS, PAGE, SCOPE},
    reference,
    resource_kinds::CLUSTER,
    suggest::Source,
};
use crate::{arguments, call::App, tool_names::Names};

/// A prompt as it is written.
struct Text {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    arguments: &'static [Argument],
    text: &'static str,
}

#[derive(Clone, Copy)]
struct Argument {
    name: &'static str,
    description: &'static str,
    required: bool,
    source: Source,
}

const fn needed(name: &'static str, description: &'static str, source: Source) -> Argument {
    Argument { name, description, required: true, source }
}

const fn optional(name: &'static str, description: &'static str, source: Source) -> Argument {
    Argument { name, description, required: false, source }
}

const PROMPTS: &[Text] = &[
    Text {
        name: "provision-machine",
        title: "Provision a machine",
        description: "Make a VM or container: choose source, node and storage, show the plan, create it, check it.",
        arguments: &[
            needed("name", "Name of the new machine, a DNS name", Source::Free),
            optional("purpose", "What it is for", Source::Free),
            optional("kind", "vm or container", Source::Fixed(&["vm", "container"])),
            optional("source", "Template, ISO image or container template to make it of", Source::Images),
            optional("size", "Cores, memory and disk, as in: 2 cores, 4 GiB, 32 GiB", Source::Free),
            optional("address", "dhcp, or address/prefix and gateway", Source::Fixed(&["dhcp"])),
            optional("node", "Node it shall run on", Source::Nodes),
            optional("storage", "Storage for its disks", Source::Storages),
            optional("bridge", "Bridge for its NIC", Source::Bridges),
            optional("pool", "Pool it shall belong to", Source::Pools),
        ],
        text: include_str!("prompts/provision-machine.md"),
    },
    Text {
        name: "diagnose-guest",
        title: "Find out what is wrong with a guest",
        description: "Why a VM or container is slow, does not start or cannot be reached: evidence first, then one cause.",
        arguments: &[
            needed("guest", "VMID or name", Source::Guests),
            optional(
                "symptom",
                "What is wrong",
                Source::Fixed(&["slow", "does not start", "not reachable", "disk full", "crashed", "locked"]),
            ),
            optional("since", "Since when", Source::Free),
            optional("task", "UPID of a task that failed", Source::Tasks),
        ],
        text: include_str!("prompts/diagnose-guest.md"),
    },
    Text {
        name: "plan-node-maintenance",
        title: "Plan maintenance of a node",
        description: "Empty a node, work on it, bring it back: what moves where, what cannot, in which order.",
        arguments: &[
            needed("node", "Node to work on", Source::Nodes),
            optional("work", "What is to be done", Source::Fixed(&["updates and reboot", "hardware", "shutdown"])),
            optional("target", "Node that shall take the guests", Source::Nodes),
        ],
        text: include_str!("prompts/plan-node-maintenance.md"),
    },
    Text {
        name: "review-backups",
        title: "Review backups",
        description: "Which guests could be brought back, from when, and which not: jobs, archives, retention, room.",
        arguments: &[
            optional("guest", "Only this guest, by VMID or name", Source::Guests),
            optional("storage", "Only this storage", Source::Storages),
            optional("max_age_days", "Oldest that a newest backup may be", Source::Fixed(&["1", "2", "7"])),
        ],
        text: include_str!("prompts/review-backups.md"),
    },
    Text {
        name: "review-access",
        title: "Review who may do what",
        description: "Users, groups, tokens and roles against what they need: too much, forgotten, without an end.",
        arguments: &[
            optional("who", "Only this user, token or @group", Source::Users),
            optional("path", "Only this path, as /vms/100 or /pool/production", Source::Free),
        ],
        text: include_str!("prompts/review-access.md"),
    },
    Text {
        name: "tidy-snapshots",
        title: "Tidy up old snapshots",
        description: "Find snapshots that outlived their purpose and delete those that the person agrees to.",
        arguments: &[
            optional("guest", "Only this guest, by VMID or name", Source::Guests),
            optional("pool", "Only the guests of this pool", Source::Pools),
            optional(
                "older_than_days",
                "What counts as old; 14 where nothing is said",
                Source::Fixed(&["7", "14", "30", "90"]),
            ),
            optional("keep", "Snapshot to keep in any case", Source::Snapshots),
        ],
        text: include_str!("prompts/tidy-snapshots.md"),
    },
];

/// Where several clusters are configured, every prompt takes one.
const OF_CLUSTER: Argument = optional(CLUSTER, "Which cluster; the first where nothing is said", Source::Clusters);

impl Text {
    fn arguments(&self, app: &App) -> impl Iterator<Item = Argument> {
        let cluster = (app.names().len() > 1).then_some(OF_CLUSTER);
        self.arguments.iter().copied().chain(cluster)
    }

    fn listed(&self, app: &App) -> Prompt {
        let argument = |argument: Argument| {
            PromptArgument::new(argument.name).with_description(argument.description).with_required(argument.required)
        };
        let arguments = self.arguments(app).map(argument).collect();
        Prompt::new(self.name, Some(self.description), Some(arguments)).with_title(self.title)
    }
}

/// One page of the prompts.
///
/// # Errors
/// Invalid parameters, for a bad cursor.
pub fn list(app: &App, request: Option<PaginatedRequestParams>) -> Result<ListPromptsResult, ErrorData> {
    let all: Vec<Prompt> = prompts(app).iter().map(|prompt| prompt.listed(app)).collect();
    let (prompts, next_cursor) = pages::page(&all, PAGE, request, |prompt| prompt.name.clone())?;
    let mut result = ListPromptsResult::with_all_items(prompts).with_ttl_ms(LISTED_MS).with_cache_scope(SCOPE);
    result.next_cursor = next_cursor;
    Ok(result)
}

/// Answers `prompts/get`. Contacts nobody.
///
/// # Errors
/// Invalid parameters that name what is wrong: the prompt, an argument that is missing, unknown or no text.
pub fn get(app: &App, request: GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    let refused = |words: String| ErrorData::invalid_params(words, None);
    let prompt = find(app, &request.name).map_err(refused)?;
    let given = given(app, prompt, request.arguments.unwrap_or_default()).map_err(refused)?;
    let mut text =
        fill(prompt.text, &|name| given.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str()));
    if let Some((_, cluster)) = given.iter().find(|(key, _)| *key == CLUSTER) {
        text.push_str(&format!("\nThis is about the cluster {cluster}: give cluster={cluster} with every call.\n"));
    }
    text.push_str(&switched_off(app, &text));
    let message = PromptMessage::new_text(Role::User, text.trim());
    Ok(GetPromptResult::new(vec![message]).with_description(prompt.description))
}

/// Where the values of a prompt's argument come from.
///
/// # Errors
/// What is wrong, in words.
pub fn argument(app: &App, prompt: &str, argument: &str) -> Result<Source, String> {
    let prompt = find(app, prompt)?;
    let found = prompt.arguments(app).find(|known| known.name == argument);
    found.map(|known| known.source).ok_or_else(|| unknown_argument(app, prompt, argument))
}

/// None where the tools have other names than those that the texts go by.
fn prompts(app: &App) -> &'static [Text] {
    if app.tool_names() == Names::Native { PROMPTS } else { &[] }
}

fn find(app: &App, name: &str) -> Result<&'static Text, String> {
    prompts(app).iter().find(|prompt| prompt.name == name).ok_or_else(|| {
        let near = arguments::nearest(name, prompts(app).iter().map(|prompt| prompt.name));
        let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
        format!("unknown prompt '{}'{near}", name.chars().take(80).collect::<String>())
    })
}

fn unknown_argument(app: &App, prompt: &Text, argument: &str) -> String {
    let known: Vec<&str> = prompt.arguments(app).map(|known| known.name).collect();
    let shown: String = argument.chars().take(80).collect();
    format!("unknown argument '{shown}': {} takes {}", prompt.name, known.join(", "))
}

/// The arguments that say something. Forms send an empty text for what was left out.
fn given(app: &App, prompt: &Text, arguments: JsonObject) -> Result<Vec<(&'static str, String)>, String> {
    let mut given = Vec::new();
    for (name, value) in arguments {
        let Some(known) = prompt.arguments(app).find(|known| known.name == name) else {
            return Err(unknown_argument(app, prompt, &name));
        };
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null => continue,
            _ => return Err(format!("{name}: expected a text")),
        };
        if known.name == CLUSTER && !text.is_empty() && !app.names().contains(&text.as_str()) {
            return Err(format!("cluster: expected one of {}, got '{text}'", app.names().join(", ")));
        }
        if !text.is_empty() {
            given.push((known.name, text));
        }
    }
    match prompt.arguments(app).find(|known| known.required && given.iter().all(|(name, _)| *name != known.name)) {
        Some(missing) => Err(format!("{}: missing; expected {}", missing.name, missing.description)),
        None => Ok(given),
    }
}

/// A text with its arguments filled in: `{{name}}` is the value. A line that begins with `[name]` is there only where the
/// argument is given, one with `[!name]` only where it is not.
fn fill<'a>(text: &str, value: &impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let (condition, line) = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((condition, line)) => (Some(condition), line),
            None => (None, line),
        };
        let there = condition.is_none_or(|condition| match condition.strip_prefix('!') {
            Some(name) => value(name).is_none(),
            None => value(condition).is_some(),
        });
        if !there {
            continue;
        }
        // What a value contains is not looked at again.
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else { break };
            out.push_str(before);
            out.push_str(value(name).unwrap_or_default());
            rest = after;
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

/// What is said about the tools of a text that may not be used on this server.
fn switched_off(app: &App, text: &str) -> String {
    let mut off: Vec<&str> = Vec::new();
    for name in text.split('`').filter(|word| word.starts_with("proxmox-")) {
        if reference::allowed(app).all(|entry| entry.name != name) && !off.contains(&name) {
            off.push(name);
        }
    }
    if off.is_empty() {
        return String::new();
    }
    format!(
        "\nNot available on this server: {}. Do not try them: where a step needs one, say so and what the person has to do instead.\n",
        off.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_depend_on_arguments_and_values_are_taken_as_they_are() {
        let text = "For {{name}}, {{name}}.\n[node] On {{node}}.\n[!node] Choose a node.\n[size] Of {{size}}.";
        let value = |name: &str| match name {
            "name" => Some("{{node}}"),
            "size" => Some("[!x] 2"),
            _ => None,
        };
        assert_eq!(fill(text, &value), "For {{node}}, {{node}}.\nChoose a node.\nOf [!x] 2.\n");
    }

    #[test]
    fn texts_use_the_arguments_that_they_take() {
        for prompt in PROMPTS {
            for argument in prompt.arguments {
                assert!(
                    prompt.text.contains(&format!("{{{{{}}}}}", argument.name)),
                    "{}: {}",
                    prompt.name,
                    argument.name
                );
            }
            let asked = std::cell::RefCell::new(Vec::new());
            let value = |name: &str| {
                asked.borrow_mut().push(name.to_owned());
                Some("x")
            };
            fill(prompt.text, &value);
            for name in asked.take() {
                assert!(prompt.arguments.iter().any(|argument| argument.name == name), "{}: {name}", prompt.name);
            }
        }
    }
}
