//! Files of keys: a name, a key, and what it may do.

use proxmox_mcp::{policy::Mode, tools, toolsets::Chosen};

use super::blocks::Block;

pub fn load(block: &Block) {
    let place = &block.place;
    for line in block.text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (_, key) = words.next().and_then(|word| word.split_once(':')).unwrap_or_else(|| panic!("{place}: {line}"));
        assert!(key.len() >= 16, "{place}: {line}");
        for word in words {
            let (option, value) = word.split_once('=').unwrap_or_else(|| panic!("{place}: {word}"));
            let names: Vec<&str> = value.split(',').collect();
            let good = match option {
                "mode" => Mode::parse(value).is_some(),
                "toolsets" => Chosen::new(&names, &[], &[]).is_ok(),
                "tools" | "exclude" => tools::all().count() > 0 && Chosen::new(&[], &names, &[]).is_ok(),
                _ => false,
            };
            assert!(good, "{place}: {word}");
        }
    }
}
