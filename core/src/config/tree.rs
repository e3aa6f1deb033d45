//! What stands in a configuration.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::words::{Place, SetAt};

use super::blocks::Blocks;
use super::parser;

/// Opens the files of `include` directives.
pub trait Files {
    /// The files that `include pattern` means, as nginx names them (`ngx_conf_full_name`, then
    /// `ngx_open_glob` if there is one of `*?[` in it) and in its order, and what is in them. None
    /// at all for a pattern that matches nothing; `None` if that cannot be known.
    fn read(&mut self, pattern: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>>;
}

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
    /// FNV-1a is as good as any for so few and so short names, and quicker.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        Self { hash: text.iter().fold(0x811c_9dc5, mix), text }
    }

    /// One of 64 bits, to tell at a glance what a block does not have: mostly what is looked for.
    pub(super) fn bit(self) -> u64 {
        1 << (self.hash % u64::BITS)
    }
}

pub(super) struct File {
    pub(super) name: Arc<[u8]>,
    pub(super) text: Arc<Vec<u8>>,
}

pub(super) struct Item {
    /// The first of its tokens; the last is in front of the first of the next.
    pub(super) tokens: u32,
    pub(super) line: u32,
    /// The block that it stands in, or `NONE`.
    pub(super) parent: u32,
    /// Its own block, or `NONE`.
    pub(super) block: u32,
    /// That of its name.
    pub(super) hash: u32,
}

#[derive(Clone, Copy)]
pub(super) struct Token {
    /// Counted from `UNESCAPED` if it is in `Tree::unescaped`.
    pub(super) start: u32,
    pub(super) len: u32,
}

pub(super) const NONE: u32 = u32::MAX;
pub(super) const UNESCAPED: u32 = 1 << 31;

pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) complete: bool,
    pub(super) directive: u32,
    /// The first directive behind it.
    pub(super) end: u32,
    /// That of the `{`.
    pub(super) line: u32,
    /// The file of what is in it.
    pub(super) file: u32,
    /// Its part of `Tree::own`.
    pub(super) own: (u32, u32),
    /// The [`Name::bit`]s of the names in there.
    pub(super) names: u64,
}

/// What a block is to nginx's http modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole configuration.
    Main,
    /// `http`
    Http,
    /// `upstream`
    Upstream,
    /// `map`
    Map,
    /// `server`, in `http`
    Server,
    /// `location`
    Location,
    /// `if`
    If,
    /// `limit_except`
    LimitExcept,
    /// Any other.
    Other,
    /// An included file.
    File,
    /// An `include` directive; files are what is in it.
    Include,
}

impl Kind {
    pub(super) fn of(name: &[u8], parent: Kind) -> Self {
        match (name, parent) {
            (b"http", Self::Main) => Self::Http,
            (b"upstream", Self::Http) => Self::Upstream,
            (b"map", Self::Http) => Self::Map,
            (b"server", Self::Http) => Self::Server,
            (b"location", Self::Server | Self::Location) => Self::Location,
            (b"if", Self::Server | Self::Location) => Self::If,
            (b"limit_except", Self::Location) => Self::LimitExcept,
            _ => Self::Other,
        }
    }

    /// Whether its directives belong to the block around it.
    pub(super) fn is_transparent(self) -> bool {
        matches!(self, Self::File | Self::Include)
    }
}

impl Tree {
    /// Reads the main configuration file, `name`, and all that it includes.
    pub fn parse(name: &[u8], text: Vec<u8>, files: &mut dyn Files) -> Self {
        parser::parse(name, text, files)
    }

    /// The whole configuration as a block.
    pub fn root(&self) -> Node<'_> {
        Node { tree: self, block: 0 }
    }

    /// The `http` block.
    pub fn http(&self) -> Option<Node<'_>> {
        self.root().blocks().find(|node| node.kind() == Kind::Http)
    }

    /// Its blocks, to be found one after the other while nginx parses them.
    pub fn blocks(&self) -> Blocks<'_> {
        Blocks::new(self)
    }

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
        Name { hash, text: Directive { tree: self, index: directive }.name() }
    }

    /// The order of [`Self::own`]: by the hash, so that few names are compared byte by byte.
    pub(super) fn compare(&self, directive: u32, name: Name<'_>) -> Ordering {
        let hash = self.item(directive).map_or(0, |item| item.hash);
        let text = || Directive { tree: self, index: directive }.name().cmp(name.text);
        hash.cmp(&name.hash).then_with(text)
    }

    fn file_of(&self, directive: u32) -> u32 {
        let parent = self.item(directive).map_or(NONE, |item| item.parent);
        self.block(parent).map_or(NONE, |block| block.file)
    }

    fn file_name(&self, file: u32) -> &[u8] {
        self.files.get(file as usize).map(|file| &*file.name).unwrap_or_default()
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
        self.token(0).unwrap_or_default()
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
        self.token(index.checked_add(1)?)
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

    fn token(self, index: usize) -> Option<&'a [u8]> {
        let token = self.tree.tokens(self.index).get(index)?;
        Some(self.tree.text(token, self.tree.file_of(self.index)))
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
    pub fn kind(self) -> Kind {
        self.get().map_or(Kind::Other, |block| block.kind)
    }

    /// The directive that opens it. That of [`Kind::Main`] has no name.
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
    pub fn own(self, name: &[u8]) -> Own<'a> {
        self.find(Name::new(name))
    }

    fn find(self, name: Name<'_>) -> Own<'a> {
        let tree = self.tree;
        let block = self.get().filter(|block| block.names & name.bit() != 0);
        let (start, end) = block.map_or((0, 0), |block| block.own);
        let all = tree.own.get(start as usize..end as usize).unwrap_or_default();
        let from = all.partition_point(|&index| tree.compare(index, name).is_lt());
        let rest = all.get(from..).unwrap_or_default();
        let to = rest.partition_point(|&index| tree.compare(index, name).is_le());
        Own { tree, indices: rest.get(..to).unwrap_or_default().iter() }
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
pub struct Own<'a> {
    tree: &'a Tree,
    indices: std::slice::Iter<'a, u32>,
}

impl<'a> Iterator for Own<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        self.indices.next().map(|&index| Directive { tree: self.tree, index })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indices.size_hint()
    }
}

impl DoubleEndedIterator for Own<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.indices.next_back().map(|&index| Directive { tree: self.tree, index })
    }
}

impl ExactSizeIterator for Own<'_> {}

/// The directives of one name that are in force in a block: at least one.
#[derive(Clone)]
pub struct Inherited<'a> {
    own: Own<'a>,
    last: Directive<'a>,
    here: bool,
}

impl<'a> Inherited<'a> {
    /// All of them, in order.
    pub fn all(&self) -> Own<'a> {
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

#[cfg(test)]
mod tests {
    use super::super::testing::{find, parse, parse_with, words, Included};
    use super::super::Variables;
    use super::*;
    use proptest::prelude::*;

    fn outline(node: Node<'_>) -> Vec<String> {
        node.children().map(words).collect()
    }

    fn place(place: Place<'_>) -> String {
        format!("{}:{}", String::from_utf8_lossy(place.file), place.line)
    }

    #[test]
    fn a_tree_has_directives_with_places() {
        let tree = parse("user\n nobody;\nhttp\n{\n  server {\n listen 80; } }\n");
        assert!(tree.is_complete());
        assert_eq!(outline(tree.root()), ["user nobody", "http"]);

        let user = tree.root().children().next().unwrap();
        assert_eq!(place(user.place()), "main:1");
        assert_eq!((user.arg(0), user.arg(1)), (Some(&b"nobody"[..]), None));
        assert_eq!(user.arg(usize::MAX), None);
        assert!(user.block().is_none());

        let http = tree.http().unwrap();
        assert_eq!((http.kind(), http.parent()), (Kind::Http, Some(tree.root())));
        assert_eq!(place(http.place()), "main:4");
        assert_eq!(place(http.directive().place()), "main:3");
        let server = find(&tree, &["http", "server"]);
        assert_eq!(server.ancestors().collect::<Vec<_>>(), [http, tree.root()]);
        assert_eq!(server.directive().parent(), http);
        assert_eq!(server.directive().block(), Some(server));
        assert_eq!(tree.root().parent(), None);
    }

    #[test]
    fn kinds_depend_on_what_is_around() {
        let tree = parse(
            "stream { server { } }
             http {
                 upstream u { server x; }
                 map $a $b { server x; }
                 server {
                     if ($a) { return 200; }
                     location / { location /a { } limit_except GET { deny all; } if ($a) { } }
                 }
                 foreign { server { } location { } }
             }",
        );
        let mut kinds = Vec::new();
        let mut queue = vec![tree.root()];
        while let Some(node) = queue.pop() {
            kinds.push(node.kind());
            queue.extend(node.blocks().collect::<Vec<_>>().into_iter().rev());
        }
        use Kind::*;
        #[rustfmt::skip]
        assert_eq!(
            kinds,
            [
                Main, Other, Http, Upstream, Map, Server, If, Location, Location, LimitExcept, If,
                Other, Other, Other,
            ]
        );
    }

    #[test]
    fn included_directives_belong_to_the_block_around() {
        let tree = parse_with(
            "http {\n include sites/*;\n server { include sni; \n include none/*; include sni;\n}\n}",
            &[
                ("sites/a", "server {\n a 1;\n include sni;\n}"),
                ("sites/b", "\n b 2;"),
                ("sni", "sni 'x';\nlocation / { }"),
            ],
        );
        assert!(tree.is_complete());
        let http = tree.http().unwrap();
        assert_eq!(outline(http), ["server", "b 2", "server"]);
        let servers: Vec<_> = http.blocks().collect();
        assert_eq!(outline(servers[0]), ["a 1", "sni x", "location /"]);
        assert_eq!(outline(servers[1]), ["sni x", "location /", "sni x", "location /"]);
        assert_eq!(place(servers[0].place()), "sites/a:1");
        assert_eq!(servers[0].parent(), Some(http));

        let [first, second] = servers[1].own(b"sni").collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(place(first.place()), "sni:1");
        assert_eq!(first.place(), second.place());
        assert_ne!(first, second);
        assert_eq!(first.parent(), servers[1]);
        assert_eq!(
            servers[1].blocks().map(|node| place(node.place())).collect::<Vec<_>>(),
            ["sni:2", "sni:2"]
        );
        assert_eq!(tree.files.len(), 4, "a file that is included again is kept once");
    }

    #[test]
    fn a_file_that_has_changed_meanwhile_is_another() {
        struct Counter(u32);
        impl Files for Counter {
            fn read(&mut self, _: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
                self.0 += 1;
                Some(vec![(b"f".to_vec(), format!("a {};", self.0).into_bytes())])
            }
        }
        let tree = Tree::parse(b"main", b"include f; include f;".to_vec(), &mut Counter(0));
        assert_eq!(outline(tree.root()), ["a 1", "a 2"]);
    }

    #[test]
    fn own_directives() {
        let tree = parse_with(
            "http { b 1; a 1; server { a 0; } include f; \"a\" 3; c { } aa; a '\\''; }",
            &[("f", "a 2; b 2;")],
        );
        let http = tree.http().unwrap();
        let own = |name: &[u8]| http.own(name).map(words).collect::<Vec<_>>();
        assert_eq!(own(b"a"), ["a 1", "a 2", "a 3", "a '"]);
        assert_eq!(own(b"b"), ["b 1", "b 2"]);
        for name in [&b"c"[..], b"server", b"include", b"", b"ab", b"z"] {
            assert!(own(name).is_empty());
        }
        assert_eq!(http.own(b"a").len(), 4);
        assert_eq!(http.own(b"a").next_back().map(words), Some("a '".into()));
    }

    #[test]
    fn inherited_directives() {
        let tree = parse(
            "http {\n a http 1;\n a http 2;\n server {\n b server;\n location / {\n a here;\n
             if ($x) { } } } }",
        );
        let location = find(&tree, &["http", "server", "location"]);
        let a = location.inherited(b"a").unwrap();
        assert_eq!((words(a.last()), a.is_here(), a.all().len()), ("a here".into(), true, 1));
        assert_eq!(a.origin(), SetAt::Here(Some(Place { file: b"main", line: 7 })));

        let a = find(&tree, &["http", "server"]).inherited(b"a").unwrap();
        assert_eq!((words(a.last()), a.is_here(), a.all().len()), ("a http 2".into(), false, 2));
        assert_eq!(a.origin(), SetAt::Above(Some(Place { file: b"main", line: 3 })));
        assert_eq!(a.node(), tree.http().unwrap());

        let condition = find(&tree, &["http", "server", "location", "if"]);
        assert_eq!(condition.inherited(b"a").map(|a| words(a.last())), Some("a here".into()));
        assert_eq!(condition.inherited(b"b").map(|b| words(b.last())), Some("b server".into()));
        assert!(condition.inherited(b"c").is_none());
    }

    #[test]
    fn what_makes_no_sense_is_left_out_with_the_rest_of_its_file() {
        let tree = parse_with(
            "http { a 1; server { include odd; b 1; location /a { c 1; } } include fine; }",
            &[
                ("odd", "d 1; location /odd { e 1; foreign { \"x\"y } e 2; } d 2;"),
                ("fine", "f 1;"),
            ],
        );
        assert!(!tree.is_complete());
        let http = tree.http().unwrap();
        assert!(http.is_complete());
        assert_eq!(outline(http), ["a 1", "server", "f 1"]);

        let server = find(&tree, &["http", "server"]);
        assert!(!server.is_complete());
        assert_eq!(outline(server), ["d 1", "location /odd", "b 1", "location /a"]);
        assert!(server.inherited(b"d").is_some());
        assert!(server.inherited(b"a").is_none(), "there may be one in the server");

        let odd = find(&tree, &["http", "server", "location /odd"]);
        assert!(!odd.is_complete());
        assert_eq!(outline(odd), ["e 1", "foreign"]);
        assert!(odd.inherited(b"b").is_none());
        let sound = find(&tree, &["http", "server", "location /a"]);
        assert!(sound.is_complete());
        assert!(sound.inherited(b"b").is_some());
    }

    #[test]
    fn a_file_that_cannot_be_read_makes_its_block_incomplete() {
        let tree = parse("http { server { include gone; a; } }");
        assert!(!tree.is_complete());
        assert!(tree.http().unwrap().is_complete());
        let server = find(&tree, &["http", "server"]);
        assert!(!server.is_complete());
        assert_eq!(outline(server), ["a"]);
    }

    #[test]
    fn an_included_file_cannot_close_a_block() {
        for text in ["a; } b;", "a; location / { b;"] {
            let tree = parse_with("http { server { include f; c; } d; }", &[("f", text)]);
            assert!(!find(&tree, &["http", "server"]).is_complete());
            let http = tree.http().unwrap();
            assert!(http.is_complete());
            assert_eq!(outline(http), ["server", "d"]);
        }
        for text in ["http { a; } } b;", "http { a;", "http { a; } b"] {
            let tree = parse(text);
            assert!(!tree.root().is_complete());
            assert_eq!(outline(tree.http().unwrap()), ["a"]);
        }
    }

    #[test]
    fn blocks_of_no_use_are_skipped() {
        let tree = parse_with(
            "stream { server { content_by_lua_block { a = '}' } } include gone; }
             http {
                 types { include gone; text/html html; }
                 geo $a { 'x;' {} }
                 content_by_lua_block {
                     ngx.say('{') -- }
                 }
                 a;
             }
             b;",
            &[],
        );
        assert!(tree.is_complete());
        assert_eq!(outline(tree.root()), ["stream", "http", "b"]);
        let http = tree.http().unwrap();
        assert_eq!(outline(http), ["types", "geo $a", "content_by_lua_block", "a"]);
        assert!(http.blocks().all(|node| outline(node).is_empty()));
        assert_eq!(place(http.own(b"a").next().unwrap().place()), "main:8");
    }

    #[test]
    fn files_that_include_themselves_come_to_an_end() {
        let tree = parse_with("include f;", &[("f", "a; include f; b;")]);
        assert!(!tree.is_complete());
        assert_eq!(outline(tree.root()).len(), 2 * crate::config::parser::MAX_INCLUDE_DEPTH);
    }

    #[test]
    fn deep_blocks_need_no_stack() {
        let depth = 100_000;
        let tree = parse(&("a { ".repeat(depth) + &"}".repeat(depth)));
        assert!(tree.is_complete());
        let mut node = tree.root();
        for _ in 0..depth {
            node = node.blocks().next().unwrap();
        }
        assert_eq!(node.ancestors().count(), depth);
        assert!(node.inherited(b"a").is_none());
    }

    /// The text of a tree, includes expanded, every token in quotes.
    fn print(node: Node<'_>, text: &mut Vec<u8>) {
        for directive in node.children() {
            for token in std::iter::once(directive.name()).chain(directive.args()) {
                text.push(b'"');
                for &byte in token {
                    if matches!(byte, b'"' | b'\\') {
                        text.push(b'\\');
                    }
                    text.push(byte);
                }
                text.extend_from_slice(b"\" ");
            }
            match directive.block() {
                None => text.extend_from_slice(b";\n"),
                Some(node) => {
                    text.extend_from_slice(b"{\n");
                    print(node, text);
                    text.extend_from_slice(b"}\n");
                }
            }
        }
    }

    /// What is in a tree, without the lines.
    fn contents(node: Node<'_>, out: &mut Vec<Vec<u8>>) {
        for directive in node.children() {
            out.push(directive.name().to_vec());
            out.extend(directive.args().map(<[u8]>::to_vec));
            out.push(vec![u8::from(directive.block().is_some())]);
            if let Some(node) = directive.block() {
                contents(node, out);
                out.push(b"}".to_vec());
            }
        }
    }

    fn round_trip(tree: &Tree) {
        let mut text = Vec::new();
        print(tree.root(), &mut text);
        let again = Tree::parse(b"main", text, &mut Included(&[]));
        assert!(again.is_complete());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        contents(tree.root(), &mut before);
        contents(again.root(), &mut after);
        assert_eq!(before, after);
    }

    fn some_text() -> impl Strategy<Value = Vec<u8>> {
        let words: Vec<&[u8]> = vec![
            b"a",
            b" ",
            b"\n",
            b";",
            b"{",
            b"}",
            b"\"",
            b"'",
            b"\\",
            b"$",
            b"#",
            b"(",
            b")",
            b"${x}",
            b"http {",
            b"server {",
            b"location / {",
            b"map $a $b {",
            b"include f;",
            b"include g;",
            b"set $a $b;",
            b"x_by_lua_block {",
            b"[[",
            b"]]",
            b"--",
            b"types {",
            b"\xff",
            b"\0",
            b"proxy_set_header Connection $b;",
            b"~*[a]+ upgrade;",
            b"default $b;",
            b"hostnames;",
        ];
        let chosen = proptest::collection::vec(proptest::sample::select(words), 0..48);
        prop_oneof![
            chosen.prop_map(|words| words.concat()),
            proptest::collection::vec(any::<u8>(), 0..64),
        ]
    }

    /// Asks everything about everything.
    fn explore(tree: &Tree) {
        let variables = Variables::new(tree);
        let mut blocks = tree.blocks();
        let mut queue = vec![tree.root()];
        while let Some(node) = queue.pop() {
            let place = node.place();
            let _ = blocks.next(place.file, place.line);
            let _ = node.inherited(b"a");
            let mut own = 0;
            for directive in node.children() {
                assert_eq!(directive.parent(), node);
                if directive.block().is_none() {
                    assert!(node.own(directive.name()).any(|other| other == directive));
                    own += 1;
                }
                for arg in directive.args() {
                    let value = variables.evaluate(arg, node);
                    assert!(value.map_or(true, |value| arg.contains(&b'$') || value == arg));
                    let _ = variables.is_set_for_upgrade(arg, node);
                }
                queue.extend(directive.block());
            }
            let indices = tree.block(node.block).unwrap().own;
            assert_eq!(indices.1 - indices.0, own);
            assert!(node
                .parent()
                .map_or(true, |parent| parent.blocks().any(|child| child == node)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_makes_a_tree(main in some_text(), f in some_text(), g in some_text()) {
            struct Some2(Vec<u8>, Vec<u8>);
            impl Files for Some2 {
                fn read(&mut self, pattern: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
                    match pattern {
                        b"f" => Some(vec![(b"f".to_vec(), self.0.clone())]),
                        // Not one that includes others: 2 to the power of 64 of them take a while.
                        b"g" if !self.1.windows(7).any(|text| text == b"include") => {
                            Some(vec![(b"g".to_vec(), self.1.clone()), (b"h".to_vec(), b"h;".to_vec())])
                        }
                        _ => None,
                    }
                }
            }
            let f = String::from_utf8_lossy(&f).replace("include f", "f").into_bytes();
            let tree = Tree::parse(b"main", main, &mut Some2(f, g));
            round_trip(&tree);
            explore(&tree);
        }
    }
}
