//! Files of keys, by the program's own parser.

use super::blocks::Block;

pub fn load(block: &Block) {
    if let Err(e) = proxmox_mcp::web::keys::parse(&block.text, &block.place) {
        panic!("{e}");
    }
}
