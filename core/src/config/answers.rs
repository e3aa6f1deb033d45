//! What of a configuration answers a request, or refuses it, without asking a backend.

use std::fmt;

use crate::text::escape::Escaped;
use crate::words::Place;

use super::kind::BlockKind;
use super::node::{Directive, Node};

/// A directive that answered a request by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Which one.
    pub directive: Answering,
    /// Whether it stands in an `if`.
    pub conditional: bool,
    /// Where; the first of several.
    pub place: Place<'a>,
    /// How many others it may have been as well.
    pub others: usize,
}

/// The directives that answer without a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// `return`
    Return,
    /// `rewrite` to another URL
    Rewrite,
    /// `deny`
    Deny,
    /// `auth_basic`
    AuthBasic,
    /// `auth_request`
    AuthRequest,
}

/// The directives of one level that can answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers<'a> {
    /// Those of the rewrite phase, with their status: its own, for an `if` those around it, and for a
    /// server those in its `if` blocks, which have no level of their own in a request
    /// (`ngx_http_rewrite_if`). They are not inherited otherwise.
    pub rewriting: Vec<Rewriting<'a>>,
    /// The first `deny` in force.
    pub deny: Option<Answer<'a>>,
    /// Whether an `allow` is in force beside it.
    pub allows: bool,
    /// The `auth_basic` in force.
    pub auth_basic: Option<Answer<'a>>,
    /// The `auth_request` in force.
    pub auth_request: Option<Answer<'a>>,
}

/// A directive of the rewrite phase that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewriting<'a> {
    /// The status that it gives.
    pub status: u16,
    /// Whether nothing behind it is reached.
    pub last: bool,
    /// Which one it is.
    pub answer: Answer<'a>,
}

/// What is known of a refusal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusal {
    /// What the client got.
    pub status: u16,
    /// Whether it was decided in the rewrite phase, before any access rule.
    pub rewriting: bool,
    /// Whether auth_request's subrequest refused it.
    pub by_subrequest: bool,
    /// Whether the location serves files, which have a 403 of their own.
    pub serves_files: bool,
}

impl<'a> Answers<'a> {
    /// The answering directives of a level.
    pub fn of(node: Node<'a>) -> Self {
        let rules = rules_in_force(node);
        let denies = rules.into_iter().flat_map(|node| node.own(b"deny"));
        let others = denies.clone().count().saturating_sub(1);
        let deny = denies.into_iter().next().map(|it| answer(it, Answering::Deny));
        Self {
            rewriting: rewriting(node),
            deny: deny.map(|deny| Answer { others, ..deny }),
            allows: rules.is_some_and(|node| node.own(b"allow").next().is_some()),
            auth_basic: in_force(node, b"auth_basic", Answering::AuthBasic),
            auth_request: in_force(node, b"auth_request", Answering::AuthRequest),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Self { rewriting, deny, allows: _, auth_basic, auth_request } = self;
        rewriting.is_empty() && [deny, auth_basic, auth_request].into_iter().all(Option::is_none)
    }

    /// Whether there are access rules among them.
    pub fn restricts(&self) -> bool {
        let Self { rewriting: _, deny, allows, auth_basic, auth_request } = self;
        *allows || [deny, auth_basic, auth_request].into_iter().any(Option::is_some)
    }

    /// Which of them answered, if the text tells it.
    pub fn responsible(&self, refusal: Refusal) -> Option<Answer<'a>> {
        let Refusal { status, rewriting, by_subrequest, serves_files } = refusal;
        if rewriting {
            return first_of(self.rewriting.iter().filter(|it| it.status == status));
        }
        match status {
            _ if by_subrequest => self.auth_request,
            401 => self.auth_basic,
            403 if serves_files && self.allows => None,
            403 => self.deny,
            _ => None,
        }
    }

    /// The same with other places.
    pub fn map<'b>(&self, mut keep: impl FnMut(Place<'a>) -> Place<'b>) -> Answers<'b> {
        let mut moved = |answer: &Answer<'a>| Answer { place: keep(answer.place), ..*answer };
        Answers {
            rewriting: self
                .rewriting
                .iter()
                .map(|it| Rewriting { answer: moved(&it.answer), ..*it })
                .collect(),
            deny: self.deny.as_ref().map(&mut moved),
            allows: self.allows,
            auth_basic: self.auth_basic.as_ref().map(&mut moved),
            auth_request: self.auth_request.as_ref().map(&mut moved),
        }
    }
}

impl fmt::Display for Answer<'_> {
    /// As a part of a sentence: `"return" in an "if" (nginx.conf:12)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line } = self.place;
        let name = match self.directive {
            Answering::Return => "return",
            Answering::Rewrite => "rewrite",
            Answering::Deny => "deny",
            Answering::AuthBasic => "auth_basic",
            Answering::AuthRequest => "auth_request",
        };
        let block = if self.conditional { " in an \"if\"" } else { "" };
        match self.others {
            0 => write!(f, "\"{name}\"{block} ({}:{line})", Escaped(file)),
            others => {
                let all = others + 1;
                write!(f, "one of {all} \"{name}\"{block} (the first is {}:{line})", Escaped(file))
            }
        }
    }
}

/// The first, with the number of those that may have been reached in its place.
pub fn first_of<'r, 'a: 'r>(
    answers: impl Iterator<Item = &'r Rewriting<'a>>,
) -> Option<Answer<'a>> {
    let mut first: Option<Answer> = None;
    for Rewriting { answer, last, .. } in answers {
        match &mut first {
            None => first = Some(*answer),
            Some(first) => first.others += 1,
        }
        if *last {
            break;
        }
    }
    first
}

fn answer(directive: Directive, answering: Answering) -> Answer {
    Answer {
        directive: answering,
        conditional: directive.parent().kind() == BlockKind::If,
        place: directive.place(),
        others: 0,
    }
}

fn in_force<'a>(node: Node<'a>, name: &[u8], answering: Answering) -> Option<Answer<'a>> {
    let found = node.inherited(name)?.last();
    (found.arg(0) != Some(b"off")).then(|| answer(found, answering))
}

/// The level whose access rules are in force: an `allow` alone replaces those above it too.
fn rules_in_force(node: Node) -> Option<Node> {
    let mut node = node;
    loop {
        if node.own(b"deny").next().is_some() || node.own(b"allow").next().is_some() {
            return Some(node);
        }
        if !node.is_complete() {
            return None;
        }
        node = node.parent()?;
    }
}

fn rewriting(node: Node) -> Vec<Rewriting> {
    let mut found = Vec::new();
    if node.kind() == BlockKind::Server {
        add_with_blocks(node, false, &mut found);
        return found;
    }
    // An `if` that is entered and not left by an answer of its own goes on behind it.
    for level in std::iter::once(node).chain(node.ancestors()) {
        found.extend(level.children().filter_map(answer_of));
        if level.kind() != BlockKind::If {
            break;
        }
    }
    found
}

/// The answers of a server and of its `if` blocks, in order.
fn add_with_blocks<'a>(node: Node<'a>, conditional: bool, found: &mut Vec<Rewriting<'a>>) {
    for directive in node.children() {
        match directive.block() {
            Some(block) if block.kind() == BlockKind::If => add_with_blocks(block, true, found),
            _ => found.extend(
                answer_of(directive).map(|it| Rewriting { last: it.last && !conditional, ..it }),
            ),
        }
    }
}

fn answer_of(directive: Directive) -> Option<Rewriting> {
    let (status, last, answering) = match directive.name() {
        b"return" => (status_of_return(directive)?, true, Answering::Return),
        // It depends on the URI.
        b"rewrite" => (status_of_rewrite(directive)?, false, Answering::Rewrite),
        _ => return None,
    };
    Some(Rewriting { status, last, answer: answer(directive, answering) })
}

fn status_of_return(directive: Directive) -> Option<u16> {
    let first = directive.arg(0)?;
    // A URL alone is a 302 (ngx_http_rewrite_return).
    Some(std::str::from_utf8(first).ok().and_then(|code| code.parse().ok()).unwrap_or(302))
}

/// A `rewrite` that ends in a redirect (`ngx_http_rewrite`).
fn status_of_rewrite(directive: Directive) -> Option<u16> {
    match directive.arg(2) {
        Some(b"permanent") => return Some(301),
        Some(b"redirect") => return Some(302),
        _ => {}
    }
    let target = directive.arg(1)?;
    let absolute = [&b"http://"[..], b"https://", b"$scheme"];
    absolute.iter().any(|start| target.starts_with(start)).then_some(302)
}

#[cfg(test)]
mod tests {
    use super::super::testing::parse;
    use super::*;

    const TEXT: &str = "
http {
    deny 10.0.0.9;
    server {
        auth_basic realm;
        if ($a) {
            return 404;
        }
        rewrite ^/old /new permanent;
        return 404 text;
        location /own {
            allow 10.0.0.0/8;
            auth_basic off;
            auth_request /auth;
            if ($b) {
                set $c d;
            }
            return https://example.com;
        }
        location /list {
            deny 10.0.0.1;
            deny all;
            if ($b) {
                return 403;
            }
        }
    }
}";

    fn responsible(open: u32, refusal: Refusal) -> Option<String> {
        let tree = parse(TEXT);
        let mut blocks = tree.blocks();
        let node = blocks.next(b"main", open).unwrap();
        Answers::of(node).responsible(refusal).map(|answer| answer.to_string())
    }

    #[test]
    fn of_the_rewrite_phase() {
        let by = |open, status| {
            responsible(open, Refusal { status, rewriting: true, ..Refusal::default() })
        };
        assert_eq!(by(6, 404).as_deref(), Some("\"return\" in an \"if\" (main:7)"));
        assert_eq!(
            by(4, 404).as_deref(),
            Some("one of 2 \"return\" in an \"if\" (the first is main:7)")
        );
        assert_eq!(by(4, 301).as_deref(), Some("\"rewrite\" (main:9)"));
        // That of the server is over when a location is found, and a location has no other's.
        assert_eq!(by(11, 404), None);
        assert_eq!(by(11, 302).as_deref(), Some("\"return\" (main:18)"));
        // An `if` that was entered, and the `return` behind it.
        assert_eq!(by(15, 302).as_deref(), Some("\"return\" (main:18)"));
        assert_eq!(by(6, 403), None);
    }

    #[test]
    fn of_the_access_phase() {
        let by = |open, status, by_subrequest| {
            responsible(open, Refusal { status, by_subrequest, ..Refusal::default() })
        };
        assert_eq!(by(4, 403, false).as_deref(), Some("\"deny\" (main:3)"));
        assert_eq!(by(4, 401, false).as_deref(), Some("\"auth_basic\" (main:5)"));
        assert_eq!(by(4, 404, false), None);
        // An allow of its own leaves nothing of the rules above.
        assert_eq!(by(11, 403, false), None);
        assert_eq!(by(11, 401, false), None);
        assert_eq!(by(11, 401, true).as_deref(), Some("\"auth_request\" (main:14)"));
        assert_eq!(by(20, 403, false).as_deref(), Some("one of 2 \"deny\" (the first is main:21)"));
        assert_eq!(by(23, 403, false).as_deref(), Some("one of 2 \"deny\" (the first is main:21)"));
    }

    #[test]
    fn files_have_a_403_of_their_own() {
        let tree = parse("http { server { location / { allow 10.0.0.0/8; deny all; } } }");
        let server = tree.http().unwrap().blocks().next().unwrap();
        let answers = Answers::of(server.blocks().next().unwrap());
        let refusal = Refusal { status: 403, ..Refusal::default() };
        assert!(answers.responsible(refusal).is_some());
        assert!(answers.responsible(Refusal { serves_files: true, ..refusal }).is_none());
        assert!(Answers::of(server).is_empty());
    }
}
