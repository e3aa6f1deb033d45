//! The block that nginx is in while it parses.

use super::kind::BlockKind;
use super::node::Node;
use super::tree::Tree;

/// The blocks for which nginx creates the configuration of a location, in its order: `http`,
/// `server`, `upstream`, `location`, `if` and `limit_except`, a block before those in it.
///
/// nginx does not say more of a block than the file and the line of its `{`, and a file that is
/// included twice has two blocks there. So they are asked for one after the other.
pub struct Blocks<'a> {
    tree: &'a Tree,
    /// The next block to compare.
    at: u32,
    /// All blocks by place and order, once one was not where it was expected.
    sorted: Vec<u32>,
}

impl Tree {
    /// Its blocks, to be found one after the other while nginx parses them.
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks { tree: self, at: 0, sorted: Vec::new() }
    }
}

impl<'a> Blocks<'a> {
    /// The block whose `{` stands there, for which nginx creates a configuration now. `None` if the
    /// tree has none: then it was in what could not be read.
    pub fn next(&mut self, file: &[u8], line: u32) -> Option<Node<'a>> {
        let first = (self.at..self.tree.blocks.len() as u32)
            .map(|block| self.node(block))
            .find(|node| has_configuration(*node))?;
        let node = if is_at(first, file, line) { first } else { self.find(file, line)? };
        self.at = node.block + 1;
        Some(node)
    }

    /// The first one there that was not passed yet.
    fn find(&mut self, file: &[u8], line: u32) -> Option<Node<'a>> {
        if self.sorted.is_empty() {
            self.sorted = (0..self.tree.blocks.len() as u32)
                .filter(|&block| has_configuration(self.node(block)))
                .collect();
            let tree = self.tree;
            self.sorted.sort_unstable_by_key(|&block| key(Node { tree, block }));
        }
        let from =
            self.sorted.partition_point(|&block| key(self.node(block)) < (line, file, self.at));
        let node = self.node(*self.sorted.get(from)?);
        is_at(node, file, line).then_some(node)
    }

    fn node(&self, block: u32) -> Node<'a> {
        Node { tree: self.tree, block }
    }
}

fn key(node: Node<'_>) -> (u32, &[u8], u32) {
    let place = node.place();
    (place.line, place.file, node.block)
}

fn is_at(node: Node<'_>, file: &[u8], line: u32) -> bool {
    let place = node.place();
    place.line == line && place.file == file
}

fn has_configuration(node: Node<'_>) -> bool {
    matches!(
        node.kind(),
        BlockKind::Http
            | BlockKind::Server
            | BlockKind::Upstream
            | BlockKind::Location
            | BlockKind::If
            | BlockKind::LimitExcept
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{parse, parse_with, words};

    #[test]
    fn blocks_come_in_the_order_in_which_nginx_opens_them() {
        let tree = parse_with(
            "events { }
http {
    map $a $b { }
    upstream u { server x; }
    server
    {
        include f;
        if ($a) { set $a b; }
    }
    server { include f; location /x { location /x/y { } } location /z { } }
}",
            &[(
                "f",
                "location /a {\n limit_except GET { deny all; }\n}\nlocation /b { if ($c) { } }",
            )],
        );
        let mut blocks = tree.blocks();
        for (file, line, expected) in [
            ("main", 2, "http"),
            ("main", 4, "upstream u"),
            ("main", 6, "server"),
            ("f", 1, "location /a"),
            ("f", 2, "limit_except GET"),
            ("f", 4, "location /b"),
            ("f", 4, "if ($c)"),
            ("main", 8, "if ($a)"),
            ("main", 10, "server"),
            ("f", 1, "location /a"),
            ("f", 2, "limit_except GET"),
            ("f", 4, "location /b"),
            ("f", 4, "if ($c)"),
            ("main", 10, "location /x"),
            ("main", 10, "location /x/y"),
            ("main", 10, "location /z"),
        ] {
            let node = blocks.next(file.as_bytes(), line).unwrap();
            assert_eq!(words(node.directive()), expected);
        }
        assert!(blocks.next(b"f", 1).is_none());
    }

    #[test]
    fn blocks_that_are_missing_do_not_disturb_the_others() {
        let tree = parse(
            "http {
                 server { location /a { }
                     location /b { }
                 }
                 server { location /c { }
                 }
             }",
        );
        let mut blocks = tree.blocks();
        let mut next = |line| blocks.next(b"main", line).map(|node| words(node.directive()));
        assert_eq!(next(1).as_deref(), Some("http"));
        assert_eq!(next(7), None);
        assert_eq!(next(2).as_deref(), Some("server"));
        assert_eq!(next(2).as_deref(), Some("location /a"));
        assert_eq!(next(2), None);
        // The tree has one that nginx does not ask for.
        assert_eq!(next(5).as_deref(), Some("server"));
        assert_eq!(next(3), None);
        assert_eq!(next(5).as_deref(), Some("location /c"));
        assert_eq!(next(5), None);
    }
}
