//! The fenced blocks of a Markdown text.

pub struct Block {
    /// File and line.
    pub place: String,
    pub language: String,
    pub text: String,
}

impl Block {
    /// Those of one document. A fence may be indented, as in lists; every block has to say what it is.
    pub fn all(path: &str, text: &str) -> Vec<Self> {
        let mut blocks = Vec::new();
        let mut open: Option<(Self, usize)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let indent = line.len() - line.trim_start().len();
            match (&mut open, line.trim_start().strip_prefix("```")) {
                (None, Some(language)) => {
                    let place = format!("{path}:{number}");
                    assert!(!language.is_empty(), "{place}: a block without a language");
                    open = Some((Self { place, language: language.to_owned(), text: String::new() }, indent));
                }
                (Some(_), Some("")) => blocks.extend(open.take().map(|(block, _)| block)),
                (Some((block, _)), Some(_)) => panic!("{}: a block in a block", block.place),
                (Some((block, indent)), None) => {
                    block.text.push_str(line.get(*indent..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{path}: a block without an end");
        blocks
    }
}
