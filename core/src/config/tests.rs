use proptest::prelude::*;

use crate::words::{Place, SetAt};

use super::testing::{find, parse, parse_with, words, Included};
use super::*;

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
    assert_eq!((http.kind(), http.parent()), (BlockKind::Http, Some(tree.root())));
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
    use BlockKind::*;
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
        &[("odd", "d 1; location /odd { e 1; foreign { \"x\"y } e 2; } d 2;"), ("fine", "f 1;")],
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
        assert!(node.parent().map_or(true, |parent| parent.blocks().any(|child| child == node)));
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
