//! Every tool, one file per family. To add a tool, write it in its family's file and name it in that file's `TOOLS`;
//! a new family is one line here. MCP, the CLI, `tools.md` and the tests all walk this table.

use crate::tool::Entry;

mod clone;
mod delete;
mod guests;
mod list;
mod network;
mod nodes;
mod power;
mod storage;
mod tasks;

/// Family name → its tools, in the order in which documents show them.
pub const FAMILIES: &[(&str, &[Entry])] = &[
    ("nodes", nodes::TOOLS),
    ("guests", guests::TOOLS),
    ("power", power::TOOLS),
    ("clone", clone::TOOLS),
    ("delete", delete::TOOLS),
    ("storage", storage::TOOLS),
    ("network", network::TOOLS),
    ("tasks", tasks::TOOLS),
];

/// Every tool, in order.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.iter().flat_map(|(_, tools)| tools.iter())
}
