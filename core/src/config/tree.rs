//! How a configuration is kept: flat, in the order of its text.

use std::cmp::Ordering;
use std::sync::Arc;

use super::kind::BlockKind;

/// A configuration, with all that it includes.
pub struct Tree {
    pub(super) files: Vec<File>,
    /// In the order of the text; the children of a block directly behind it.
    pub(super) directives: Vec<Item>,
    /// Those with a block. Each file is one too, with a directive that has no tokens.
    pub(super) blocks: Vec<Block>,
    pub(super) tokens: Vec<Token>,
    /// Tokens whose text is not what stands in the file.
    pub(super) unescaped: Vec<u8>,
    /// The simple directives of each block, those of one name together and in order.
    pub(super) own: Vec<u32>,
}

/// A name to look for.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) hash: u32,
    pub(super) text: &'a [u8],
}

impl<'a> Name<'a> {
    /// By FNV-1a, which is quick for short texts.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        Self { hash: text.iter().fold(0x811c_9dc5, mix), text }
    }

    /// One of 64 bits. A block knows those of all its names, so that most searches for what it does not have end
    /// before they begin.
    pub(super) fn bit(self) -> u64 {
        1 << (self.hash % u64::BITS)
    }
}

pub(super) struct File {
    pub(super) name: Arc<[u8]>,
    pub(super) text: Arc<Vec<u8>>,
}

pub(super) struct Item {
    /// Its first token. Its last one is followed by the first of the next directive.
    pub(super) tokens: u32,
    pub(super) line: u32,
    /// The block that it stands in, or `NONE`.
    pub(super) parent: u32,
    /// Its own block, or `NONE`.
    pub(super) block: u32,
    /// The hash of its name.
    pub(super) hash: u32,
}

#[derive(Clone, Copy)]
pub(super) struct Token {
    /// Where it begins in the text of its file; from `UNESCAPED` on, in `Tree::unescaped`.
    pub(super) start: u32,
    pub(super) len: u32,
}

pub(super) const NONE: u32 = u32::MAX;
pub(super) const UNESCAPED: u32 = 1 << 31;

pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) complete: bool,
    pub(super) directive: u32,
    /// The first directive behind it.
    pub(super) end: u32,
    /// The line of its `{`.
    pub(super) line: u32,
    /// The file of what is in it.
    pub(super) file: u32,
    /// Its part of `Tree::own`.
    pub(super) own: (u32, u32),
    /// The [`Name::bit`]s of the names in there.
    pub(super) names: u64,
}

impl Tree {
    /// Whether nothing had to be left out anywhere.
    pub fn is_complete(&self) -> bool {
        self.blocks.iter().all(|block| block.complete)
    }

    pub(super) fn item(&self, index: u32) -> Option<&Item> {
        self.directives.get(index as usize)
    }

    pub(super) fn block(&self, index: u32) -> Option<&Block> {
        self.blocks.get(index as usize)
    }

    pub(super) fn tokens(&self, directive: u32) -> &[Token] {
        let start = |index| self.item(index).map(|item| item.tokens as usize);
        let end = start(directive.saturating_add(1)).unwrap_or(self.tokens.len());
        start(directive).and_then(|start| self.tokens.get(start..end)).unwrap_or_default()
    }

    pub(super) fn text(&self, token: &Token, file: u32) -> &[u8] {
        let (text, start) = match token.start.checked_sub(UNESCAPED) {
            Some(start) => (Some(&self.unescaped), start),
            None => (self.files.get(file as usize).map(|file| &*file.text), token.start),
        };
        let start = start as usize;
        text.and_then(|text| text.get(start..start + token.len as usize)).unwrap_or_default()
    }

    pub(super) fn name(&self, directive: u32) -> Name<'_> {
        let hash = self.item(directive).map_or(0, |item| item.hash);
        Name { hash, text: self.first_token(directive) }
    }

    /// The order of [`Self::own`]: by the hash, so that few names are compared byte by byte.
    pub(super) fn compare(&self, directive: u32, name: Name<'_>) -> Ordering {
        let hash = self.item(directive).map_or(0, |item| item.hash);
        let text = || self.first_token(directive).cmp(name.text);
        hash.cmp(&name.hash).then_with(text)
    }

    /// A token of a directive; the first is its name.
    pub(super) fn token(&self, directive: u32, index: usize) -> Option<&[u8]> {
        let token = self.tokens(directive).get(index)?;
        Some(self.text(token, self.file_of(directive)))
    }

    fn first_token(&self, directive: u32) -> &[u8] {
        self.token(directive, 0).unwrap_or_default()
    }

    pub(super) fn file_of(&self, directive: u32) -> u32 {
        let parent = self.item(directive).map_or(NONE, |item| item.parent);
        self.block(parent).map_or(NONE, |block| block.file)
    }

    pub(super) fn file_name(&self, file: u32) -> &[u8] {
        self.files.get(file as usize).map(|file| &*file.name).unwrap_or_default()
    }
}
