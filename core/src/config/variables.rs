//! What variables become for an upgrade request.

mod condition;
mod definitions;
mod map;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::borrow::Cow;
use std::cell::Cell;

use crate::http::token::contains_token;

use super::kind::BlockKind;
use super::node::{Directive, Node};
use super::tree::Tree;
use condition::Condition;
use definitions::{Defined, Definitions};
use map::Map;
use text::{Part, Parts};
use value::{Client, Evaluated};

/// The variables of a configuration, as far as their values for a WebSocket handshake are known.
///
/// The handshake is a plain one: `GET`, HTTP/1.1, `Upgrade: websocket`, a `Connection` with the
/// token `Upgrade` (some clients send `keep-alive, Upgrade`), and the `Sec-WebSocket-*` headers.
/// Whatever else the client may send is not known. A value is known only if every such request has
/// the same.
///
/// Besides some of nginx's variables, those are known that a `map` defines, or a `set` without
/// condition in the server or location itself. Nothing is known of a variable that something else
/// may change, and nothing of `map` and `set` if the tree is not complete.
pub struct Variables<'a>(Definitions<'a>);

/// How many variables are looked at for one text: they may contain each other.
const MAX_STEPS: u32 = 64;

/// How many values of one variable are looked at.
const MAX_OPTIONS: usize = 32;

/// Where a text is evaluated.
#[derive(Clone, Copy)]
struct Scope<'a, 's> {
    client: Client,
    /// `None` in a `map`: it may be evaluated before any `set`, and then keeps its value.
    node: Option<Node<'a>>,
    /// Only a `set` in front of this directive has been executed.
    before: u32,
    steps: &'s Cell<u32>,
}

impl<'a> Variables<'a> {
    /// Collects what defines variables.
    pub fn new(tree: &'a Tree) -> Self {
        Self(Definitions::of(tree))
    }

    /// What `text` becomes for an upgrade request in the location `node`, with `text` as an argument
    /// of a directive that expands variables. `None` if that cannot be known.
    ///
    /// Only of a `Connection` value the text may differ with the client. Then it is the shorter, and
    /// has the token `upgrade` in each case.
    pub fn evaluate<'t>(&self, text: &'t [u8], node: Node<'a>) -> Option<Cow<'t, [u8]>> {
        let [only, other] = self.for_requests(text, node, false);
        let (Evaluated::Known(only), Evaluated::Known(other)) = (only, other) else {
            return None;
        };
        let upgrades = |text: &[u8]| contains_token(std::iter::once(text), b"upgrade");
        (only == other || upgrades(&only) && upgrades(&other)).then_some(only)
    }

    /// Whether `text`, as a condition of `proxy_cache_bypass` or the like, holds for an upgrade
    /// request because it is one: a cookie or an argument of the request counts as absent. `None` if
    /// that cannot be known.
    pub fn is_set_for_upgrade(&self, text: &[u8], node: Node<'a>) -> Option<bool> {
        let [only, other] = self.for_requests(text, node, true).map(|value| value.is_set());
        if only == other {
            only
        } else {
            None
        }
    }

    /// Where [`evaluate`](Self::evaluate) says nothing: some of what `text` may become, up to the first
    /// part that is not known, by the values of a `map` of which each may be taken, or by each of
    /// several `set`s. One of these that is not known is as it was written, with its variables.
    pub fn choices(&self, text: &[u8], node: Node<'a>) -> Vec<Vec<u8>> {
        let client = Client { only_upgrade: true, bare: false };
        let steps = Cell::new(0);
        let scope = Scope { client, node: Some(node), before: u32::MAX, steps: &steps };
        let mut choices = vec![Vec::new()];
        let mut several = false;
        for part in Parts(text) {
            let value = match part {
                Part::Text(text) => Evaluated::Known(Cow::Borrowed(text)),
                Part::Variable(name) => self.variable(name, scope),
                Part::Invalid => break,
            };
            match (value, part) {
                (Evaluated::Known(value), _) => {
                    choices.iter_mut().for_each(|choice| choice.extend_from_slice(&value));
                }
                (_, Part::Variable(name)) if !several => {
                    let options = self.options(name, scope);
                    let start = choices.pop().unwrap_or_default();
                    choices = options.iter().map(|option| [&start, &**option].concat()).collect();
                    several = true;
                }
                _ => break,
            }
        }
        choices.retain(|_| several);
        choices
    }

    /// Some of the values that a variable may have.
    fn options(&self, name: &[u8], scope: Scope<'a, '_>) -> Vec<Vec<u8>> {
        let texts: Vec<&'a [u8]> = match self.0.get(name) {
            Some(_) if !self.0.complete => return Vec::new(),
            Some(Defined { map: Some(map), sets, otherwise: false })
                if sets.is_empty()
                    && !matches!(self.expand(map.source, scope), Evaluated::Known(_)) =>
            {
                let values = map.node.children().filter_map(|directive| directive.arg(0));
                values.take(MAX_OPTIONS).collect()
            }
            Some(Defined { map: None, sets, otherwise: false }) if !self.0.scripted => {
                let reached = sets.iter().filter(|set| may_reach(set, scope.node));
                reached.filter_map(|set| set.arg(1)).take(MAX_OPTIONS).collect()
            }
            _ => return Vec::new(),
        };
        let value = |text: &'a [u8]| match self.expand(text, Scope { node: None, ..scope }) {
            Evaluated::Known(value) => value.into_owned(),
            _ => text.to_vec(),
        };
        texts.into_iter().map(value).collect()
    }

    /// Whether the condition of an `if` holds for an upgrade. `None` if that cannot be known.
    pub fn holds(&self, block: Node<'a>) -> Option<bool> {
        let directive = block.directive();
        let condition = Condition::of(directive)?;
        let steps = Cell::new(0);
        let [only, other] = [true, false].map(|only_upgrade| {
            let client = Client { only_upgrade, bare: false };
            let node = Some(block.parent()?);
            let scope = Scope { client, node, before: directive.index, steps: &steps };
            condition.holds(&self.variable(condition.variable, scope))
        });
        only.filter(|_| only == other)
    }

    /// Whether `text` may be another one for an upgrade than for a plain request.
    pub fn may_tell_upgrades(&self, text: &[u8]) -> bool {
        const OF_AN_UPGRADE: [&[u8]; 4] =
            [b"http_upgrade", b"http_connection", b"http_sec_websocket_", b"websocket_guard"];
        Parts(text).any(|part| match part {
            Part::Text(_) => false,
            Part::Variable(name) => {
                self.0.get(name).is_some()
                    || OF_AN_UPGRADE.iter().any(|start| name.starts_with(start))
            }
            Part::Invalid => true,
        })
    }

    fn for_requests<'t>(&self, text: &'t [u8], node: Node<'a>, bare: bool) -> [Evaluated<'t>; 2] {
        [true, false].map(|only_upgrade| {
            let client = Client { only_upgrade, bare };
            let steps = Cell::new(0);
            self.expand(text, Scope { client, node: Some(node), before: u32::MAX, steps: &steps })
        })
    }

    fn expand<'t>(&self, text: &'t [u8], scope: Scope<'a, '_>) -> Evaluated<'t> {
        let mut value = Evaluated::constant(b"");
        for part in Parts(text) {
            value = value.then(match part {
                Part::Text(text) => Evaluated::Known(Cow::Borrowed(text)),
                Part::Variable(name) => self.variable(name, scope).into_owned(),
                Part::Invalid => return Evaluated::Unknown,
            });
        }
        value
    }

    fn variable(&self, name: &[u8], scope: Scope<'a, '_>) -> Evaluated<'_> {
        scope.steps.set(scope.steps.get() + 1);
        if scope.steps.get() > MAX_STEPS {
            return Evaluated::Unknown;
        }
        match self.0.get(name) {
            None => {}
            Some(_) if !self.0.complete => return Evaluated::Unknown,
            Some(Defined { map: Some(map), sets, otherwise: false }) if sets.is_empty() => {
                return self.mapped(map, scope);
            }
            Some(Defined { map: None, sets, otherwise: false }) if !self.0.scripted => {
                return self.assigned(name, sets, scope);
            }
            Some(_) => return Evaluated::Unknown,
        }
        match name {
            b"http_upgrade" => Evaluated::constant(b"websocket"),
            b"http_connection" if scope.client.only_upgrade => Evaluated::constant(b"Upgrade"),
            b"http_connection" => Evaluated::constant(b"keep-alive, Upgrade"),
            b"http_sec_websocket_version" => Evaluated::constant(b"13"),
            b"http_sec_websocket_key" => Evaluated::Set,
            b"request_method" => Evaluated::constant(b"GET"),
            b"server_protocol" => Evaluated::constant(b"HTTP/1.1"),
            b"websocket_guard_upgrade" => Evaluated::constant(b"websocket"),
            b"websocket_guard_connection" => Evaluated::constant(b"upgrade"),
            _ if scope.client.bare
                && (name.starts_with(b"cookie_") || name.starts_with(b"arg_")) =>
            {
                Evaluated::constant(b"")
            }
            _ => Evaluated::Unknown,
        }
    }

    fn mapped<'m>(&self, map: &'m Map<'a>, scope: Scope<'a, '_>) -> Evaluated<'m> {
        let Some(known) = map.values.get(scope.client.index()) else {
            return Evaluated::Unknown;
        };
        if let Some(value) = known.get() {
            return value.clone();
        }
        // A map whose value depends on itself has been found to be unknown meanwhile.
        let value = self.map_value(map, Scope { node: None, ..scope }).into_owned();
        known.get_or_init(|| value).clone()
    }

    fn map_value(&self, map: &Map<'a>, scope: Scope<'a, '_>) -> Evaluated<'a> {
        let Some(entries) = map.entries() else {
            return Evaluated::Unknown;
        };
        let source = self.expand(map.source, scope);
        let mut outcome = None;
        for text in entries.possible(&source) {
            let value = self.expand(text, scope);
            if value == Evaluated::Unknown || *outcome.get_or_insert_with(|| value.clone()) != value
            {
                return Evaluated::Unknown;
            }
        }
        outcome.unwrap_or(Evaluated::Unknown)
    }

    /// The value that the only `set` has given it which can have been executed last.
    fn assigned(&self, name: &[u8], sets: &[Directive<'a>], scope: Scope<'a, '_>) -> Evaluated<'_> {
        let Some(node) = scope.node else {
            return Evaluated::Unknown;
        };
        // The rewrite module's directives are not inherited from a location to one in it.
        let location = std::iter::once(node)
            .chain(node.ancestors())
            .find(|node| matches!(node.kind(), BlockKind::Location | BlockKind::Server));
        let Some(location) = location else {
            return Evaluated::Unknown;
        };
        if let Some(value) = self.assigned_in(name, sets, location, scope) {
            return value;
        }
        // The request may have been in another location of the server before, and have got its value there.
        match location.ancestors().find(|node| node.kind() == BlockKind::Server) {
            Some(server) if within(sets, server).len() == 1 => {
                self.assigned_in(name, sets, server, scope).unwrap_or(Evaluated::Unknown)
            }
            _ => Evaluated::Unknown,
        }
    }

    /// The value that a server or location gives it; `None` if that does not touch it.
    fn assigned_in(
        &self,
        name: &[u8],
        sets: &[Directive<'a>],
        level: Node<'a>,
        scope: Scope<'a, '_>,
    ) -> Option<Evaluated<'_>> {
        let mut count = 0;
        for set in within(sets, level) {
            let at = set.parent();
            let here = at == level;
            if here || at.kind() == BlockKind::If && at.parent() == Some(level) {
                count += 1;
            } else if level.kind() == BlockKind::Server {
                return Some(Evaluated::Unknown);
            }
        }
        if count == 0 {
            return None;
        }
        for directive in level.children() {
            match directive.name() {
                // A `set` behind one of these may not be executed.
                b"if" | b"break" | b"return" | b"rewrite" => break,
                b"set" if directive.arg(0).and_then(|text| text.get(1..)) == Some(name) => {
                    if count != 1 || directive.index >= scope.before {
                        break;
                    }
                    // That of a server is executed before anything in its locations.
                    let scope = Scope { node: Some(level), before: directive.index, ..scope };
                    return Some(self.expand(directive.arg(1).unwrap_or_default(), scope));
                }
                _ => {}
            }
        }
        Some(Evaluated::Unknown)
    }
}

/// Whether a `set` stands in the location, in its server, or in an `if` of one of these.
fn may_reach(set: &Directive<'_>, node: Option<Node<'_>>) -> bool {
    let Some(node) = node else { return false };
    let at = set.parent();
    let level = if at.kind() == BlockKind::If { at.parent().unwrap_or(at) } else { at };
    let mut around = std::iter::once(node).chain(node.ancestors());
    let location =
        around.find(|node| matches!(node.kind(), BlockKind::Location | BlockKind::Server));
    Some(level) == location || around.any(|node| node.kind() == BlockKind::Server && node == level)
}

/// Those of `directives`, which are in order, that stand somewhere in `node`.
fn within<'s, 'a>(directives: &'s [Directive<'a>], node: Node<'a>) -> &'s [Directive<'a>] {
    let range = node.range();
    let from = directives.partition_point(|directive| directive.index < range.start);
    let rest = directives.get(from..).unwrap_or_default();
    let to = rest.partition_point(|directive| directive.index < range.end);
    rest.get(..to).unwrap_or_default()
}
