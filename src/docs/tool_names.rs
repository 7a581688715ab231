//! The part of `tools.md` about the names of older servers.

use std::fmt::Write;

use crate::{
    tool::Entry,
    tool_names::{
        Alias, Names,
        alias::{Argument, To},
    },
};

const HEAD: &str = "
## Names of older servers

With `PROXMOX_TOOL_NAMES` callers know the tools by the names of an older server, and by no others: our own names are then
unknown, and so are our prompts. Toolsets, modes, the operator's rules, confirmation, the audit log and undo hold for the tool
behind a name; a name is not listed where its tool cannot be called. `PROXMOX_TOOLS`, `PROXMOX_EXCLUDE_TOOLS` and `PROXMOX_CONFIRM_TOOLS` take
older names, too, and mean the tools behind them.

Arguments have their older names and defaults; those in **bold** are needed. All that change something also take `dry_run`, `confirm`,
`wait`, `timeout` (seconds to wait), `poll_interval` and `cancel_task_on_abort`. Answers are those of the tools behind.

What the older servers do at once and loses nothing (create, clone, configure, start, stop, take a snapshot, back up, restore as a new
guest …) is done at once, though our own tool would ask. What deletes, overwrites or rolls back wants
`confirm: true`, which the older servers did not: nothing is lost unasked. `PROXMOX_CONFIRM=plan` and `human`, and
`PROXMOX_CONFIRM_TOOLS`, go before that.

A call that is several of our own (three containers by one selector; cores and a bigger disk at once) makes one after the other and stops at
the first that fails; each is a plan of its own. Where each plan wants a yes of its own (`PROXMOX_CONFIRM=plan` or `human`), such a call
is refused.
";

/// The whole part.
pub fn part(out: &mut String) {
    out.push_str(HEAD);
    for names in Names::OLDER {
        let _ = writeln!(out, "\n### PROXMOX_TOOL_NAMES={}\n\n{}\n", names.name(), names.about());
        alias_table(out, names.aliases());
        for (name, why) in names.missing() {
            let _ = writeln!(out, "\n`{name}` is not there: {why}.");
        }
    }
}

/// Older names as a table: what it does and an example, arguments, the tools behind.
pub fn alias_table<'a>(out: &mut String, aliases: impl Iterator<Item = &'a Alias>) {
    out.push_str("| tool | what | arguments | calls |\n| --- | --- | --- | --- |\n");
    for alias in aliases {
        let arguments: Vec<String> = alias.arguments.iter().map(argument).collect();
        let tools: Vec<String> = alias.entries().map(tool).collect();
        let (question, example) = alias.example;
        let (arguments, tools) = (arguments.join(", "), tools.join(", "));
        let name = alias.name;
        let _ =
            writeln!(out, "| `{name}` | {} “{question}” → `{example}` | {arguments} | {tools} |", alias.description);
    }
}

fn argument(argument: &Argument) -> String {
    let name = if argument.needed { format!("**`{}`**", argument.name) } else { format!("`{}`", argument.name) };
    let default = argument.default.map(|json| format!(" = `{json}`")).unwrap_or_default();
    match argument.to {
        To::Nothing => format!("{name} (no effect)"),
        _ => format!("{name}{default}"),
    }
}

fn tool(entry: &Entry) -> String {
    format!("[`{0}`](#{0})", entry.name)
}
