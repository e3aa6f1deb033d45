//! What the tests of this module share.

use super::{Directive, Files, Node, Tree};

/// Files by name. A pattern that ends in `*` matches every name that begins so; a name that is not
/// there cannot be read.
pub(super) struct Included<'a>(pub(super) &'a [(&'a str, &'a str)]);

impl Files for Included<'_> {
    fn read(&mut self, pattern: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let file = |&(name, text): &(&str, &str)| (name.into(), text.into());
        match pattern.strip_suffix(b"*") {
            Some(start) => {
                let matching = |(name, _): &&(&str, &str)| name.as_bytes().starts_with(start);
                Some(self.0.iter().filter(matching).map(file).collect())
            }
            None => {
                let found = self.0.iter().find(|(name, _)| name.as_bytes() == pattern)?;
                Some(vec![file(found)])
            }
        }
    }
}

pub(super) fn parse(text: &str) -> Tree {
    parse_with(text, &[])
}

pub(super) fn parse_with(text: &str, files: &[(&str, &str)]) -> Tree {
    Tree::parse(b"main", text.into(), &mut Included(files))
}

/// The innermost of the blocks that begin with these words, each in the one before.
pub(super) fn find<'a>(tree: &'a Tree, path: &[&str]) -> Node<'a> {
    path.iter().fold(tree.root(), |node, start| {
        let begins =
            |node: &Node<'_>| (words(node.directive()) + " ").starts_with(&format!("{start} "));
        node.blocks().find(begins).unwrap_or_else(|| panic!("{path:?} in {tree:?}"))
    })
}

pub(super) fn words(directive: Directive<'_>) -> String {
    let words = std::iter::once(directive.name()).chain(directive.args());
    words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}
