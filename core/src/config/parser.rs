//! From tokens to a tree.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::kind::BlockKind;
use super::lexer::{unescape, Lexer, Span, StatementEnd};
use super::tree::{Block, File, Item, Name, Token, Tree, NONE, UNESCAPED};

/// nginx holds every file open while it reads what that includes.
pub(super) const MAX_INCLUDE_DEPTH: usize = 64;

/// How many directives are read: files that include each other must come to an end.
const MAX_DIRECTIVES: usize = 1 << 24;

/// Opens the files of `include` directives.
pub trait Files {
    /// The files that `include pattern` means, as nginx names them (`ngx_conf_full_name`, then
    /// `ngx_open_glob` if there is one of `*?[` in it) and in its order, and what is in them. None
    /// at all for a pattern that matches nothing; `None` if that cannot be known.
    fn read(&mut self, pattern: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>>;
}

impl Tree {
    /// Reads the main configuration file, `name`, and all that it includes.
    pub fn parse(name: &[u8], text: Vec<u8>, files: &mut dyn Files) -> Self {
        let tree = Self {
            files: Vec::new(),
            directives: Vec::new(),
            blocks: Vec::new(),
            tokens: Vec::new(),
            unescaped: Vec::new(),
            own: Vec::new(),
        };
        let mut parser =
            Parser { tree, files, known: HashMap::new(), open: Vec::new(), simple: Vec::new() };
        parser.file(name, text, BlockKind::Main);
        parser.tree
    }
}

struct Parser<'f> {
    tree: Tree,
    files: &'f mut dyn Files,
    /// The last one of each name.
    known: HashMap<Arc<[u8]>, u32>,
    open: Vec<Open>,
    /// The simple directives of the open blocks.
    simple: Vec<u32>,
}

/// A block that is not yet at its end.
struct Open {
    block: u32,
    /// What it is, or is part of.
    kind: BlockKind,
    /// Where its directives begin in `Parser::simple`.
    simple: usize,
}

impl Parser<'_> {
    fn file(&mut self, name: &[u8], text: Vec<u8>, kind: BlockKind) {
        let file = self.intern(name, text);
        let text = self
            .tree
            .files
            .get(file as usize)
            .map(|file| Arc::clone(&file.text))
            .unwrap_or_default();
        self.add(&[], 0, file);
        self.enter(kind, 1, file);
        let outside = self.open.len();
        if u32::try_from(text.len()).map_or(true, |len| len >= UNESCAPED)
            || !self.statements(&text, file, outside)
        {
            while self.open.len() > outside {
                self.mark_incomplete();
                self.leave();
            }
            self.mark_incomplete();
        }
        self.leave();
    }

    /// Reads a file up to its end, and says whether all of it made sense.
    fn statements(&mut self, text: &[u8], file: u32, outside: usize) -> bool {
        let mut lexer = Lexer::new(text);
        let mut found = Vec::new();
        let mut tokens = Vec::new();
        loop {
            let (end, line) = lexer.statement(&mut found);
            match end {
                StatementEnd::File => return self.open.len() == outside,
                StatementEnd::Nonsense => return false,
                StatementEnd::Close if self.open.len() == outside => return false,
                StatementEnd::Close => {
                    self.leave();
                    continue;
                }
                StatementEnd::Simple | StatementEnd::Open => {}
            }
            if self.tree.directives.len() >= MAX_DIRECTIVES {
                return false;
            }
            tokens.clear();
            for range in &found {
                let Some(token) = self.token(text, range.clone()) else {
                    return false;
                };
                tokens.push(token);
            }
            let name = found.first().and_then(|range| text.get(range.clone())).unwrap_or_default();
            let index = self.add(&tokens, line, file);
            if end == StatementEnd::Open {
                self.enter(self.kind_of_block(name), lexer.line(), file);
                let skipped = if is_lua(name) {
                    lexer.skip_lua().is_some()
                } else if is_of_no_use(name) {
                    skip(&mut lexer, text, &mut found)
                } else {
                    continue;
                };
                if !skipped {
                    return false;
                }
                self.leave();
            } else if name == b"include" && tokens.len() == 2 {
                self.include(index, lexer.line(), file);
            } else {
                self.simple.push(index);
            }
        }
    }

    fn include(&mut self, directive: u32, line: u32, file: u32) {
        let pattern = match self.tree.tokens(directive) {
            [_, token] => self.tree.text(token, file).to_vec(),
            _ => return,
        };
        self.enter(BlockKind::Include, line, file);
        let deep = self.open.iter().filter(|open| self.is_file(open)).count() >= MAX_INCLUDE_DEPTH;
        match if deep { None } else { self.files.read(&pattern) } {
            Some(files) => {
                for (name, text) in files {
                    self.file(&name, text, BlockKind::File);
                }
            }
            None => self.mark_incomplete(),
        }
        self.leave();
    }

    fn is_file(&self, open: &Open) -> bool {
        self.tree.block(open.block).is_some_and(|block| block.kind == BlockKind::File)
    }

    fn kind_of_block(&self, name: &[u8]) -> BlockKind {
        BlockKind::of(name, self.open.last().map_or(BlockKind::Other, |open| open.kind))
    }

    /// A file that is included again is kept once.
    fn intern(&mut self, name: &[u8], text: Vec<u8>) -> u32 {
        let known = self.known.get(name).copied();
        let (name, text) = match known.and_then(|index| self.tree.files.get(index as usize)) {
            Some(file) if *file.text == text => return known.unwrap_or(NONE),
            Some(file) => (Arc::clone(&file.name), text),
            None => (Arc::from(name), text),
        };
        let index = self.tree.files.len() as u32;
        self.known.insert(Arc::clone(&name), index);
        self.tree.files.push(File { name, text: Arc::new(text) });
        index
    }

    fn token(&mut self, text: &[u8], range: Span) -> Option<Token> {
        let len = u32::try_from(range.len()).ok()?;
        let start = u32::try_from(range.start).ok()?;
        match unescape(text.get(range)?) {
            Cow::Borrowed(_) => Some(Token { start, len }),
            Cow::Owned(token) => {
                let start = u32::try_from(self.tree.unescaped.len()).ok()?;
                self.tree.unescaped.extend_from_slice(&token);
                let start = start.checked_add(UNESCAPED)?;
                Some(Token { start, len: u32::try_from(token.len()).ok()? })
            }
        }
    }

    fn add(&mut self, tokens: &[Token], line: u32, file: u32) -> u32 {
        let index = self.tree.directives.len() as u32;
        let name = tokens.first().map(|token| self.tree.text(token, file)).unwrap_or_default();
        let hash = Name::new(name).hash;
        let first = self.tree.tokens.len() as u32;
        let parent = self.open.last().map_or(NONE, |open| open.block);
        self.tree.tokens.extend_from_slice(tokens);
        self.tree.directives.push(Item { tokens: first, line, parent, block: NONE, hash });
        index
    }

    /// Opens the block of the directive that was added last.
    fn enter(&mut self, kind: BlockKind, line: u32, file: u32) {
        let block = self.tree.blocks.len() as u32;
        let directive = self.tree.directives.len().saturating_sub(1) as u32;
        if let Some(item) = self.tree.directives.last_mut() {
            item.block = block;
        }
        let opened =
            Block { kind, complete: true, directive, end: 0, line, file, own: (0, 0), names: 0 };
        self.tree.blocks.push(opened);
        let around = self.open.last().map_or(kind, |open| open.kind);
        let kind = if kind.is_transparent() { around } else { kind };
        self.open.push(Open { block, kind, simple: self.simple.len() });
    }

    fn leave(&mut self) {
        let Some(open) = self.open.pop() else {
            return;
        };
        let tree = &mut self.tree;
        let end = tree.directives.len() as u32;
        let Some(transparent) = tree.block(open.block).map(|block| block.kind.is_transparent())
        else {
            return;
        };
        let start = tree.own.len() as u32;
        let mut names = 0;
        if !transparent {
            // The directives of an included file belong to the block around the include.
            let own = self.simple.get_mut(open.simple..).unwrap_or_default();
            own.sort_by(|&a, &b| tree.compare(a, tree.name(b)));
            names = own.iter().fold(0, |names, &index| names | tree.name(index).bit());
            tree.own.extend_from_slice(own);
            self.simple.truncate(open.simple);
        }
        let own = (start, tree.own.len() as u32);
        if let Some(block) = tree.blocks.get_mut(open.block as usize) {
            block.end = end;
            block.own = own;
            block.names = names;
        }
    }

    /// Something is missing in the innermost open block, and in what that is part of.
    fn mark_incomplete(&mut self) {
        for open in self.open.iter().rev() {
            let Some(block) = self.tree.blocks.get_mut(open.block as usize) else {
                return;
            };
            block.complete = false;
            if !block.kind.is_transparent() {
                return;
            }
        }
    }
}

/// A block of the Lua module.
fn is_lua(name: &[u8]) -> bool {
    name.ends_with(b"_by_lua_block")
}

/// A block that may be large, and that nobody asks about.
fn is_of_no_use(name: &[u8]) -> bool {
    matches!(name, b"types" | b"geo" | b"split_clients" | b"charset_map" | b"stream" | b"mail")
}

/// Skips a block up to its `}`, and says whether that was found.
fn skip(lexer: &mut Lexer<'_>, text: &[u8], tokens: &mut Vec<Span>) -> bool {
    let mut depth = 1_u32;
    while depth > 0 {
        match lexer.statement(tokens).0 {
            StatementEnd::Simple => {}
            StatementEnd::Open => {
                let name = tokens.first().and_then(|range| text.get(range.clone()));
                if !name.is_some_and(is_lua) {
                    depth += 1;
                } else if lexer.skip_lua().is_none() {
                    return false;
                }
            }
            StatementEnd::Close => depth -= 1,
            StatementEnd::File | StatementEnd::Nonsense => return false,
        }
    }
    true
}
