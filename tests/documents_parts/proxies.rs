//! The configurations of proxies: that they are whole, and lead to what this program serves. `.ci/proxies` starts the real
//! ones with them.

use super::blocks::Block;

pub fn load(block: &Block) {
    let mut depth = 0_i32;
    for line in block.text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        for c in line.chars() {
            depth += i32::from(c == '{') - i32::from(c == '}');
        }
        assert!(depth >= 0, "{}: a brace too many", block.place);
        let line = line.trim();
        let whole = line.is_empty() || line.ends_with([';', '{', '}']) || block.language == "caddyfile";
        assert!(whole, "{}: '{line}' has no end", block.place);
    }
    assert_eq!(depth, 0, "{}: a brace too few", block.place);
    assert!(block.text.contains("127.0.0.1:8812"), "{}: leads nowhere", block.place);
}
