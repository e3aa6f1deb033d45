//! What stands in a configuration: directives and blocks.

use std::fmt;
use std::ops::Range;

use crate::words::{Place, SetAt};

use super::kind::BlockKind;
use super::tree::{Block, Name, Tree, NONE};

impl Tree {
    /// The whole configuration as a block.
    pub fn root(&self) -> Node<'_> {
        Node { tree: self, block: 0 }
    }

    /// The `http` block.
    pub fn http(&self) -> Option<Node<'_>> {
        self.root().blocks().find(|node| node.kind() == BlockKind::Http)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.root().children()).finish()
    }
}

/// A directive, with or without a block.
#[derive(Clone, Copy)]
pub struct Directive<'a> {
    pub(super) tree: &'a Tree,
    pub(super) index: u32,
}

impl<'a> Directive<'a> {
    /// Its name.
    pub fn name(self) -> &'a [u8] {
        self.tree.token(self.index, 0).unwrap_or_default()
    }

    /// What stands behind the name, without quotes.
    pub fn args(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone {
        let tree = self.tree;
        let file = tree.file_of(self.index);
        let args = tree.tokens(self.index).get(1..).unwrap_or_default();
        args.iter().map(move |token| tree.text(token, file))
    }

    /// An argument, counted from 0.
    pub fn arg(self, index: usize) -> Option<&'a [u8]> {
        self.tree.token(self.index, index.checked_add(1)?)
    }

    /// The line of its name.
    pub fn place(self) -> Place<'a> {
        let file = self.tree.file_name(self.tree.file_of(self.index));
        Place { file, line: self.tree.item(self.index).map_or(0, |item| item.line) }
    }

    /// Its block.
    pub fn block(self) -> Option<Node<'a>> {
        let block = self.tree.item(self.index)?.block;
        self.tree.block(block).map(|_| Node { tree: self.tree, block })
    }

    /// The block that it stands in.
    pub fn parent(self) -> Node<'a> {
        let mut parent = self.tree.item(self.index).map_or(NONE, |item| item.parent);
        while let Some(block) = self.tree.block(parent) {
            if !block.kind.is_transparent() {
                return Node { tree: self.tree, block: parent };
            }
            parent = self.tree.item(block.directive).map_or(NONE, |item| item.parent);
        }
        self.tree.root()
    }
}

/// The same directive, of the same tree. One in a file that is included twice is two.
impl PartialEq for Directive<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.tree, other.tree) && self.index == other.index
    }
}

impl Eq for Directive<'_> {}

impl fmt::Debug for Directive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.place().line)?;
        f.write_str(&self.name().escape_ascii().to_string())?;
        for arg in self.args() {
            write!(f, " '{}'", arg.escape_ascii())?;
        }
        self.block().map_or(Ok(()), |node| f.debug_list().entries(node.children()).finish())
    }
}

/// A block. What is in it includes what is in the files that it includes.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub(super) tree: &'a Tree,
    pub(super) block: u32,
}

impl<'a> Node<'a> {
    /// What it is.
    pub fn kind(self) -> BlockKind {
        self.get().map_or(BlockKind::Other, |block| block.kind)
    }

    /// The directive that opens it. That of [`BlockKind::Main`] has no name.
    pub fn directive(self) -> Directive<'a> {
        let index = self.get().map_or(NONE, |block| block.directive);
        Directive { tree: self.tree, index }
    }

    /// The line of its `{`. For nginx this is where the block is.
    pub fn place(self) -> Place<'a> {
        let line = self.get().map_or(0, |block| block.line);
        Place { line, ..self.directive().place() }
    }

    /// The block around it.
    pub fn parent(self) -> Option<Self> {
        (self.block != 0).then(|| self.directive().parent())
    }

    /// The blocks around it, from the inside out.
    pub fn ancestors(self) -> impl Iterator<Item = Node<'a>> {
        std::iter::successors(self.parent(), |node| node.parent())
    }

    /// Whether everything that stands in it is known. That of blocks in it is asked there.
    pub fn is_complete(self) -> bool {
        self.get().is_some_and(|block| block.complete)
    }

    /// What stands in it, in order. Empty for the blocks that are of no use here: `types`, `geo`,
    /// `split_clients`, `charset_map`, Lua code, `stream` and `mail`.
    pub fn children(self) -> Children<'a> {
        let Range { start, end } = self.range();
        Children { tree: self.tree, at: start, end }
    }

    /// The blocks that stand in it, in order.
    pub fn blocks(self) -> impl Iterator<Item = Node<'a>> {
        self.children().filter_map(Directive::block)
    }

    /// The directives of this name that stand in it, in order, but none with a block. The time that
    /// this takes does not depend on the number of blocks in it.
    pub fn own(self, name: &[u8]) -> Directives<'a> {
        self.find(Name::new(name))
    }

    fn find(self, name: Name<'_>) -> Directives<'a> {
        let tree = self.tree;
        let block = self.get().filter(|block| block.names & name.bit() != 0);
        let (start, end) = block.map_or((0, 0), |block| block.own);
        let all = tree.own.get(start as usize..end as usize).unwrap_or_default();
        let from = all.partition_point(|&index| tree.compare(index, name).is_lt());
        let rest = all.get(from..).unwrap_or_default();
        let to = rest.partition_point(|&index| tree.compare(index, name).is_le());
        Directives { tree, indices: rest.get(..to).unwrap_or_default().iter() }
    }

    /// The directives of this name that are in force in it if they are inherited as most are: its
    /// own if there are any, else those of the nearest block above. `None` if there are none, or if
    /// a nearer block is not complete.
    pub fn inherited(self, name: &[u8]) -> Option<Inherited<'a>> {
        let name = Name::new(name);
        let mut node = self;
        loop {
            let own = node.find(name);
            if let Some(last) = own.clone().next_back() {
                return Some(Inherited { own, last, here: node == self });
            }
            if !node.is_complete() {
                return None;
            }
            node = node.parent()?;
        }
    }

    /// Everything in it, by the index of directives.
    pub(super) fn range(self) -> Range<u32> {
        self.get().map_or(0..0, |block| block.directive + 1..block.end)
    }

    fn get(self) -> Option<&'a Block> {
        self.tree.block(self.block)
    }
}

/// The same block, of the same tree. One in a file that is included twice is two.
impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.tree, other.tree) && self.block == other.block
    }
}

impl Eq for Node<'_> {}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.directive().fmt(f)
    }
}

/// What stands in a block.
#[derive(Clone)]
pub struct Children<'a> {
    tree: &'a Tree,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        while self.at < self.end {
            let index = self.at;
            let block = self.tree.block(self.tree.item(index)?.block);
            self.at = match block {
                Some(block) if !block.kind.is_transparent() => block.end,
                _ => index + 1,
            };
            if !block.is_some_and(|block| block.kind.is_transparent()) {
                return Some(Directive { tree: self.tree, index });
            }
        }
        None
    }
}

/// The directives of one name in a block.
#[derive(Clone)]
pub struct Directives<'a> {
    tree: &'a Tree,
    indices: std::slice::Iter<'a, u32>,
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        self.indices.next().map(|&index| Directive { tree: self.tree, index })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indices.size_hint()
    }
}

impl DoubleEndedIterator for Directives<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.indices.next_back().map(|&index| Directive { tree: self.tree, index })
    }
}

impl ExactSizeIterator for Directives<'_> {}

/// The directives of one name that are in force in a block: at least one.
#[derive(Clone)]
pub struct Inherited<'a> {
    own: Directives<'a>,
    last: Directive<'a>,
    here: bool,
}

impl<'a> Inherited<'a> {
    /// All of them, in order.
    pub fn all(&self) -> Directives<'a> {
        self.own.clone()
    }

    /// The last one.
    pub fn last(&self) -> Directive<'a> {
        self.last
    }

    /// The block that they stand in.
    pub fn node(&self) -> Node<'a> {
        self.last.parent()
    }

    /// Whether that is the block itself, and not one above it.
    pub fn is_here(&self) -> bool {
        self.here
    }

    /// Where the last one stands, for the rules.
    pub fn origin(&self) -> SetAt<'a> {
        let place = Some(self.last.place());
        if self.here {
            SetAt::Here(place)
        } else {
            SetAt::Above(place)
        }
    }
}
