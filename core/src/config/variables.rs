//! What variables become for an upgrade request.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};

use super::tree::{Directive, Kind, Node, Tree};
use crate::http::token::contains_token;

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
pub struct Variables<'a> {
    defined: HashMap<&'a [u8], Defined<'a>>,
    /// Whether there is code that may change variables.
    scripted: bool,
    /// Whether nothing else can define them.
    complete: bool,
}

#[derive(Default)]
struct Defined<'a> {
    /// The last one is in force.
    map: Option<Map<'a>>,
    /// In order.
    sets: Vec<Directive<'a>>,
    /// By something else, too.
    otherwise: bool,
}

/// A request that a client may send.
#[derive(Clone, Copy)]
struct Request {
    /// Whether `Connection` has only the token that it must have.
    only_upgrade: bool,
    /// Whether there are no cookies and arguments: otherwise they are not known.
    bare: bool,
}

impl Request {
    const COUNT: usize = 4;

    fn index(self) -> usize {
        usize::from(self.only_upgrade) * 2 + usize::from(self.bare)
    }
}

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
enum Value<'a> {
    Known(Cow<'a, [u8]>),
    /// It is neither empty nor `0`.
    Set,
    Unknown,
}

impl<'a> Value<'a> {
    fn constant(text: &'static [u8]) -> Self {
        Self::Known(Cow::Borrowed(text))
    }

    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Known(text) => Value::Known(Cow::Owned(text.into_owned())),
            Self::Set => Value::Set,
            Self::Unknown => Value::Unknown,
        }
    }

    /// What nginx's `ngx_http_test_predicates` makes of it.
    fn is_set(&self) -> Option<bool> {
        match self {
            Self::Known(text) => Some(!matches!(&**text, b"" | b"0")),
            Self::Set => Some(true),
            Self::Unknown => None,
        }
    }

    fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Known(text), next) if text.is_empty() => next,
            (value, Self::Known(text)) if text.is_empty() => value,
            (Self::Known(text), Self::Known(next)) if text.len() + next.len() <= MAX_LEN => {
                let mut text = text.into_owned();
                text.extend_from_slice(&next);
                Self::Known(Cow::Owned(text))
            }
            (value, next) if value.is_set() == Some(true) || next.is_set() == Some(true) => {
                Self::Set
            }
            _ => Self::Unknown,
        }
    }
}

/// How many variables are looked at for one text: they may contain each other.
const MAX_STEPS: u32 = 64;

/// The length of a value from which on no more is known than that it is not empty.
const MAX_LEN: usize = 4096;

/// How many values of one variable are looked at.
const MAX_OPTIONS: usize = 32;

/// Where a text is evaluated.
#[derive(Clone, Copy)]
struct Scope<'a, 's> {
    request: Request,
    /// `None` in a `map`: it may be evaluated before any `set`, and then keeps its value.
    node: Option<Node<'a>>,
    /// Only a `set` in front of this directive has been executed.
    before: u32,
    steps: &'s Cell<u32>,
}

impl<'a> Variables<'a> {
    /// Collects what defines variables.
    pub fn new(tree: &'a Tree) -> Self {
        let complete = tree.is_complete();
        let mut variables = Self { defined: HashMap::new(), scripted: false, complete };
        for file in &tree.files {
            for name in named_captures(&file.text) {
                variables.defined.entry(name).or_default().otherwise = true;
            }
        }
        for index in 0..tree.directives.len() as u32 {
            variables.add(Directive { tree, index });
        }
        variables
    }

    /// What `text` becomes for an upgrade request in the location `node`, with `text` as an argument
    /// of a directive that expands variables. `None` if that cannot be known.
    ///
    /// Only of a `Connection` value the text may differ with the client. Then it is the shorter, and
    /// has the token `upgrade` in each case.
    pub fn evaluate<'t>(&self, text: &'t [u8], node: Node<'a>) -> Option<Cow<'t, [u8]>> {
        let [only, other] = self.for_requests(text, node, false);
        let (Value::Known(only), Value::Known(other)) = (only, other) else {
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
        let request = Request { only_upgrade: true, bare: false };
        let steps = Cell::new(0);
        let scope = Scope { request, node: Some(node), before: u32::MAX, steps: &steps };
        let mut choices = vec![Vec::new()];
        let mut several = false;
        for part in Parts(text) {
            let value = match part {
                Part::Text(text) => Value::Known(Cow::Borrowed(text)),
                Part::Variable(name) => self.variable(name, scope),
                Part::Invalid => break,
            };
            match (value, part) {
                (Value::Known(value), _) => {
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
        let texts: Vec<&'a [u8]> = match self.defined.get(name) {
            Some(_) if !self.complete => return Vec::new(),
            Some(Defined { map: Some(map), sets, otherwise: false })
                if sets.is_empty()
                    && !matches!(self.expand(map.source, scope), Value::Known(_)) =>
            {
                let values = map.node.children().filter_map(|directive| directive.arg(0));
                values.take(MAX_OPTIONS).collect()
            }
            Some(Defined { map: None, sets, otherwise: false }) if !self.scripted => {
                let reached = sets.iter().filter(|set| may_reach(set, scope.node));
                reached.filter_map(|set| set.arg(1)).take(MAX_OPTIONS).collect()
            }
            _ => return Vec::new(),
        };
        let value = |text: &'a [u8]| match self.expand(text, Scope { node: None, ..scope }) {
            Value::Known(value) => value.into_owned(),
            _ => text.to_vec(),
        };
        texts.into_iter().map(value).collect()
    }

    /// Whether the condition of an `if` holds for an upgrade. `None` if that cannot be known.
    pub fn holds(&self, block: Node<'a>) -> Option<bool> {
        let directive = block.directive();
        let mut words: Vec<&'a [u8]> = directive.args().collect();
        // `($a`, `=`, `b)`: the brackets may be words of their own (`ngx_http_rewrite_if_condition`).
        if let Some(first) = words.first_mut() {
            *first = first.strip_prefix(b"(")?;
        }
        if let Some(last) = words.last_mut() {
            *last = last.strip_suffix(b")")?;
        }
        let opens = usize::from(words.first().is_some_and(|word| word.is_empty()));
        let closes = usize::from(words.last().is_some_and(|word| word.is_empty()));
        let words = words.get(opens..words.len().checked_sub(closes)?)?;
        let variable = words.first()?;
        let name = variable.strip_prefix(b"$")?;
        let steps = Cell::new(0);
        let outcomes = [true, false].map(|only_upgrade| {
            let request = Request { only_upgrade, bare: false };
            let node = Some(block.parent()?);
            let scope = Scope { request, node, before: directive.index, steps: &steps };
            let value = self.variable(name, scope);
            let known = match &value {
                Value::Known(text) => Some(&**text),
                _ => None,
            };
            match *words {
                [_] => value.is_set(),
                [_, b"=", text] if !text.contains(&b'$') => Some(known? == text),
                [_, b"!=", text] if !text.contains(&b'$') => Some(known? != text),
                [_, operator, pattern] => {
                    let (negated, caseless) = match operator {
                        b"~" => (false, false),
                        b"~*" => (false, true),
                        b"!~" => (true, false),
                        b"!~*" => (true, true),
                        _ => return None,
                    };
                    Some(compile(pattern, caseless)?.is_match(known?) != negated)
                }
                _ => None,
            }
        });
        match outcomes {
            [only, other] if only == other => only,
            _ => None,
        }
    }

    /// Whether `text` may be another one for an upgrade than for a plain request.
    pub fn may_tell_upgrades(&self, text: &[u8]) -> bool {
        const OF_AN_UPGRADE: [&[u8]; 4] =
            [b"http_upgrade", b"http_connection", b"http_sec_websocket_", b"websocket_guard"];
        Parts(text).any(|part| match part {
            Part::Text(_) => false,
            Part::Variable(name) => {
                self.defined.contains_key(name)
                    || OF_AN_UPGRADE.iter().any(|start| name.starts_with(start))
            }
            Part::Invalid => true,
        })
    }

    fn for_requests<'t>(&self, text: &'t [u8], node: Node<'a>, bare: bool) -> [Value<'t>; 2] {
        [true, false].map(|only_upgrade| {
            let request = Request { only_upgrade, bare };
            let steps = Cell::new(0);
            self.expand(text, Scope { request, node: Some(node), before: u32::MAX, steps: &steps })
        })
    }

    fn add(&mut self, directive: Directive<'a>) {
        let name = directive.name();
        if directive.parent().kind() == Kind::Map {
            return;
        }
        self.scripted |= is_script(name);
        if name.first() == Some(&b'$') {
            // As in `geoip2`.
            self.define(name).otherwise = true;
        }
        if let Some(block) = directive.block() {
            // `map $from $to {`, and others alike; but not `if (...) {`.
            match directive.args().next_back() {
                Some(text) if text.first() == Some(&b'$') && block.kind() != Kind::If => {
                    let defined = self.define(text);
                    if block.kind() == Kind::Map && directive.args().len() == 2 {
                        defined.map = Some(Map::new(block));
                    } else {
                        defined.otherwise = true;
                    }
                }
                _ => {}
            }
            return;
        }
        let variable = if name == b"keyval" { directive.arg(1) } else { directive.arg(0) };
        let Some(variable) = variable.filter(|text| text.first() == Some(&b'$')) else {
            return;
        };
        if name == b"set" {
            self.define(variable).sets.push(directive);
        } else if may_define(name) && (directive.args().len() > 1 || name.starts_with(b"js_")) {
            self.define(variable).otherwise = true;
        }
    }

    fn define(&mut self, variable: &'a [u8]) -> &mut Defined<'a> {
        self.defined.entry(variable.get(1..).unwrap_or_default()).or_default()
    }

    fn expand<'t>(&self, text: &'t [u8], scope: Scope<'a, '_>) -> Value<'t> {
        let mut value = Value::constant(b"");
        for part in Parts(text) {
            value = value.then(match part {
                Part::Text(text) => Value::Known(Cow::Borrowed(text)),
                Part::Variable(name) => self.variable(name, scope).into_owned(),
                Part::Invalid => return Value::Unknown,
            });
        }
        value
    }

    fn variable(&self, name: &[u8], scope: Scope<'a, '_>) -> Value<'_> {
        scope.steps.set(scope.steps.get() + 1);
        if scope.steps.get() > MAX_STEPS {
            return Value::Unknown;
        }
        match self.defined.get(name) {
            None => {}
            Some(_) if !self.complete => return Value::Unknown,
            Some(Defined { map: Some(map), sets, otherwise: false }) if sets.is_empty() => {
                return self.mapped(map, scope);
            }
            Some(Defined { map: None, sets, otherwise: false }) if !self.scripted => {
                return self.assigned(name, sets, scope);
            }
            Some(_) => return Value::Unknown,
        }
        match name {
            b"http_upgrade" => Value::constant(b"websocket"),
            b"http_connection" if scope.request.only_upgrade => Value::constant(b"Upgrade"),
            b"http_connection" => Value::constant(b"keep-alive, Upgrade"),
            b"http_sec_websocket_version" => Value::constant(b"13"),
            b"http_sec_websocket_key" => Value::Set,
            b"request_method" => Value::constant(b"GET"),
            b"server_protocol" => Value::constant(b"HTTP/1.1"),
            b"websocket_guard_upgrade" => Value::constant(b"websocket"),
            b"websocket_guard_connection" => Value::constant(b"upgrade"),
            _ if scope.request.bare
                && (name.starts_with(b"cookie_") || name.starts_with(b"arg_")) =>
            {
                Value::constant(b"")
            }
            _ => Value::Unknown,
        }
    }

    fn mapped<'m>(&self, map: &'m Map<'a>, scope: Scope<'a, '_>) -> Value<'m> {
        let Some(known) = map.values.get(scope.request.index()) else {
            return Value::Unknown;
        };
        if let Some(value) = known.get() {
            return value.clone();
        }
        // A map that needs its own value has got one by now: that it is not known.
        let value = self.map_value(map, Scope { node: None, ..scope }).into_owned();
        known.get_or_init(|| value).clone()
    }

    fn map_value(&self, map: &Map<'a>, scope: Scope<'a, '_>) -> Value<'a> {
        let Some(entries) = map.entries.get_or_init(|| Entries::of(map.node)) else {
            return Value::Unknown;
        };
        let source = self.expand(map.source, scope);
        let mut outcome = None;
        for text in entries.possible(&source) {
            let value = self.expand(text, scope);
            if value == Value::Unknown || *outcome.get_or_insert_with(|| value.clone()) != value {
                return Value::Unknown;
            }
        }
        outcome.unwrap_or(Value::Unknown)
    }

    /// The value that the only `set` has given it which can have been executed last.
    fn assigned(&self, name: &[u8], sets: &[Directive<'a>], scope: Scope<'a, '_>) -> Value<'_> {
        let Some(node) = scope.node else {
            return Value::Unknown;
        };
        // The rewrite module's directives are not inherited from a location to one in it.
        let location = std::iter::once(node)
            .chain(node.ancestors())
            .find(|node| matches!(node.kind(), Kind::Location | Kind::Server));
        let Some(location) = location else {
            return Value::Unknown;
        };
        if let Some(value) = self.assigned_in(name, sets, location, scope) {
            return value;
        }
        // Another location of the server may have had the request before.
        match location.ancestors().find(|node| node.kind() == Kind::Server) {
            Some(server) if within(sets, server).len() == 1 => {
                self.assigned_in(name, sets, server, scope).unwrap_or(Value::Unknown)
            }
            _ => Value::Unknown,
        }
    }

    /// The value that a server or location gives it; `None` if that does not touch it.
    fn assigned_in(
        &self,
        name: &[u8],
        sets: &[Directive<'a>],
        level: Node<'a>,
        scope: Scope<'a, '_>,
    ) -> Option<Value<'_>> {
        let mut count = 0;
        for set in within(sets, level) {
            let at = set.parent();
            let here = at == level;
            if here || at.kind() == Kind::If && at.parent() == Some(level) {
                count += 1;
            } else if level.kind() == Kind::Server {
                return Some(Value::Unknown);
            }
        }
        if count == 0 {
            return None;
        }
        for directive in level.children() {
            match directive.name() {
                // Behind these it may not be executed.
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
        Some(Value::Unknown)
    }
}

/// Whether a `set` stands in the location, in its server, or in an `if` of one of these.
fn may_reach(set: &Directive<'_>, node: Option<Node<'_>>) -> bool {
    let Some(node) = node else { return false };
    let at = set.parent();
    let level = if at.kind() == Kind::If { at.parent().unwrap_or(at) } else { at };
    let mut around = std::iter::once(node).chain(node.ancestors());
    let location = around.find(|node| matches!(node.kind(), Kind::Location | Kind::Server));
    Some(level) == location || around.any(|node| node.kind() == Kind::Server && node == level)
}

/// Those of `directives`, which are in order, that stand somewhere in `node`.
fn within<'s, 'a>(directives: &'s [Directive<'a>], node: Node<'a>) -> &'s [Directive<'a>] {
    let range = node.range();
    let from = directives.partition_point(|directive| directive.index < range.start);
    let rest = directives.get(from..).unwrap_or_default();
    let to = rest.partition_point(|directive| directive.index < range.end);
    rest.get(..to).unwrap_or_default()
}

/// Whether the directive runs code that may assign to variables that exist.
fn is_script(name: &[u8]) -> bool {
    let lua: [&[u8]; 3] = [b"_by_lua", b"_by_lua_block", b"_by_lua_file"];
    name.starts_with(b"js_")
        || name.starts_with(b"perl")
        || lua.iter().any(|lua| name.ends_with(lua))
}

/// Whether the first argument of a directive may be a variable that it sets. Of a directive that is
/// not known it may.
fn may_define(name: &[u8]) -> bool {
    let reads: [&[u8]; 4] = [b"_cache_bypass", b"_no_cache", b"_redirect", b"_zone"];
    !reads.iter().any(|end| name.ends_with(end)) && !matches!(name, b"hash" | b"try_files")
}

/// The names in `(?<name>...)`, `(?P<name>...)` and `(?'name'...)`: such a regular expression sets
/// the variable.
fn named_captures(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'?').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix(b"P").unwrap_or(rest);
        let rest = rest.strip_prefix(b"<").or_else(|| rest.strip_prefix(b"'"))?;
        let end = rest.iter().position(|&byte| !is_name(byte))?;
        rest.get(..end)
    })
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The parts of a text with variables, as nginx's `ngx_http_script_compile` takes it apart.
struct Parts<'t>(&'t [u8]);

#[derive(Clone, Copy)]
enum Part<'t> {
    Text(&'t [u8]),
    Variable(&'t [u8]),
    Invalid,
}

impl<'t> Iterator for Parts<'t> {
    type Item = Part<'t>;

    fn next(&mut self) -> Option<Part<'t>> {
        let Some(rest) = self.0.strip_prefix(b"$") else {
            let end = self.0.iter().position(|&byte| byte == b'$').unwrap_or(self.0.len());
            let (text, rest) = self.0.split_at_checked(end)?;
            self.0 = rest;
            return (!text.is_empty()).then_some(Part::Text(text));
        };
        self.0 = b"";
        let bracket = rest.strip_prefix(b"{");
        let name = bracket.unwrap_or(rest);
        let end = match name.first() {
            // A capture is one digit.
            Some(b'1'..=b'9') if bracket.is_none() => 1,
            _ => name.iter().position(|&byte| !is_name(byte)).unwrap_or(name.len()),
        };
        let (name, rest) = name.split_at_checked(end)?;
        let rest = match bracket {
            Some(_) => rest.strip_prefix(b"}"),
            None => Some(rest),
        };
        match rest {
            Some(rest) if !name.is_empty() => {
                self.0 = rest;
                Some(Part::Variable(name))
            }
            _ => Some(Part::Invalid),
        }
    }
}

/// A `map` block.
struct Map<'a> {
    node: Node<'a>,
    source: &'a [u8],
    entries: OnceCell<Option<Entries<'a>>>,
    values: [OnceCell<Value<'static>>; Request::COUNT],
}

impl<'a> Map<'a> {
    fn new(node: Node<'a>) -> Self {
        let source = node.directive().arg(0).unwrap_or_default();
        Self { node, source, entries: OnceCell::new(), values: Default::default() }
    }
}

/// What is in a `map` block.
struct Entries<'a> {
    hostnames: bool,
    default: &'a [u8],
    /// Keys in lower case.
    exact: HashMap<Vec<u8>, &'a [u8]>,
    /// Wildcards of `hostnames`.
    wildcards: Vec<&'a [u8]>,
    /// In order; `None` for one of which it is not known what it matches.
    regexes: Vec<(Option<Regex>, &'a [u8])>,
}

impl<'a> Entries<'a> {
    fn of(node: Node<'a>) -> Option<Self> {
        let mut entries = Self {
            hostnames: false,
            default: b"",
            exact: HashMap::new(),
            wildcards: Vec::new(),
            regexes: Vec::new(),
        };
        for directive in node.children() {
            let key = directive.name();
            let mut args = directive.args();
            let Some(value) = args.next() else {
                match key {
                    b"hostnames" => entries.hostnames = true,
                    b"volatile" => {}
                    _ => return None,
                }
                continue;
            };
            if args.next().is_some() {
                return None;
            }
            match key {
                b"default" => entries.default = value,
                [b'~', b'*', pattern @ ..] => {
                    entries.regexes.push((compile(pattern, true), value));
                }
                [b'~', pattern @ ..] => entries.regexes.push((compile(pattern, false), value)),
                [b'\\', key @ ..] | key => {
                    if key.starts_with(b".") || key.contains(&b'*') {
                        entries.wildcards.push(value);
                    }
                    entries.exact.insert(key.to_ascii_lowercase(), value);
                }
            }
        }
        if !entries.hostnames {
            entries.wildcards.clear();
        }
        Some(entries)
    }

    /// The values that `source` can lead to; not each of them once.
    fn possible(&self, source: &Value<'_>) -> Vec<&'a [u8]> {
        let mut possible = Vec::new();
        let Value::Known(source) = source else {
            let may_be =
                |key: &&Vec<u8>| *source == Value::Unknown || !matches!(&***key, b"" | b"0");
            possible.push(self.default);
            possible
                .extend(self.exact.iter().filter(|(key, _)| may_be(key)).map(|(_, value)| value));
            possible.extend(&self.wildcards);
            possible.extend(self.regexes.iter().map(|(_, value)| value));
            return possible;
        };
        let source = match &**source {
            [name @ .., b'.'] if self.hostnames => name,
            source => source,
        };
        if let Some(value) = self.exact.get(&source.to_ascii_lowercase()) {
            return vec![value];
        }
        if !source.is_empty() {
            possible.extend(&self.wildcards);
            for (regex, value) in &self.regexes {
                match regex {
                    Some(regex) if !regex.is_match(source) => {}
                    Some(_) => {
                        possible.push(value);
                        return possible;
                    }
                    None => possible.push(value),
                }
            }
        }
        possible.push(self.default);
        possible
    }
}

/// A case-sensitive regular expression, if the regex crate takes it for the same as PCRE.
pub(crate) fn plain_regex(pattern: &[u8]) -> Option<Regex> {
    compile(pattern, false)
}

/// The same, of either kind.
fn compile(pattern: &[u8], caseless: bool) -> Option<Regex> {
    let pattern = std::str::from_utf8(pattern).ok().filter(|pattern| is_common(pattern))?;
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(caseless)
        .size_limit(1 << 18)
        .build()
        .ok()
}

/// Whether there is nothing in a pattern that means one thing to the regex crate and another to
/// PCRE. What the crate does not know it refuses by itself.
fn is_common(pattern: &str) -> bool {
    let mut rest = pattern.as_bytes();
    let mut repeated = false;
    loop {
        let was_repeated = std::mem::replace(&mut repeated, false);
        rest = match rest {
            [] => return true,
            [b'\\', b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'b' | b'B', rest @ ..]
            | [b'\\', b'A' | b'z' | b't' | b'n' | b'r', rest @ ..] => rest,
            // `\<` is an end of a word to the crate.
            [b'\\', b'<' | b'>', ..] => return false,
            [b'\\', byte, rest @ ..] if byte.is_ascii_punctuation() => rest,
            [b'\\', ..] => return false,
            [b'[', rest @ ..] => match after_class(rest) {
                Some(rest) => rest,
                None => return false,
            },
            // `a*+` is possessive in PCRE.
            [b'+', ..] if was_repeated => return false,
            [b'*' | b'+' | b'?' | b'}', rest @ ..] => {
                repeated = true;
                rest
            }
            [b'(', b'?', b':', rest @ ..] | [b'(', b'?', b'i', b':' | b')', rest @ ..] => rest,
            [b'(', b'?', ..] => return false,
            [byte, rest @ ..] if byte.is_ascii() => rest,
            _ => return false,
        };
    }
}

/// What stands behind a plain character class whose `[` was read. To the crate there are sets in
/// sets.
fn after_class(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"^").unwrap_or(text);
    let end = text.iter().position(|&byte| byte == b']').filter(|&end| end > 0)?;
    let (class, rest) = text.split_at_checked(end)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" ,-./:=_".contains(byte);
    let plain = class.iter().all(plain) && !class.windows(2).any(|pair| pair == b"--");
    plain.then_some(rest.get(1..)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{find, parse, parse_with};
    use super::*;

    /// What `text` becomes with `http` in the http block, `server` in the server and `location` in
    /// `location /`.
    fn evaluate(http: &str, server: &str, location: &str, text: &str) -> Option<String> {
        let config = format!("http {{ {http} server {{ {server} location / {{ {location} }} }} }}");
        let tree = parse(&config);
        let server =
            tree.http().unwrap().blocks().filter(|node| node.kind() == Kind::Server).last();
        let mut locations = server.unwrap().blocks();
        let node = locations.find(|node| node.directive().arg(0) == Some(b"/")).unwrap();
        let value = Variables::new(&tree).evaluate(text.as_bytes(), node).map(Cow::into_owned);
        value.map(|value| String::from_utf8(value).unwrap())
    }

    /// The same for what it may become, in the order of the text.
    fn choices(http: &str, location: &str, text: &str) -> Vec<String> {
        let tree = parse(&format!(
            "http {{ {http} server {{ set $s s; location / {{ {location} }} location /b {{ set $a no; \
             }} }} server {{ set $a other; }} }}"
        ));
        let node = find(&tree, &["http", "server", "location /"]);
        let choices = Variables::new(&tree).choices(text.as_bytes(), node);
        choices.into_iter().map(|choice| String::from_utf8(choice).unwrap()).collect()
    }

    #[test]
    fn what_it_may_be() {
        let map = "map $host $m { hostnames; default a:1; x b:$http_x; *.y c; ~z d; }";
        let values = ["a:1", "b:$http_x", "c", "d"];
        assert_eq!(choices(map, "", "$m"), values);
        assert_eq!(
            choices(map, "", "http://$m:80$uri/x"),
            values.map(|value| format!("http://{value}:80"))
        );
        let twice = "set $a 1; if ($http_x) { set $a 2; } if ($arg_x) { set $a $uri; }";
        assert_eq!(choices("", twice, "$a.x"), ["1.x", "2.x", "$uri.x"]);
        assert_eq!(choices("", "if ($http_x) { set $s t; }", "$s"), ["s", "t"]);

        for (http, location, text) in [
            ("", "", "constant"),
            ("", "", "$http_x"),
            ("", "", "$http_x$s"),
            (map, "", "$uri$m"),
            ("map $http_upgrade $m { default a; ~(?x)y b; }", "", "$m"),
            ("map $host $m { default a; } geo $m { default b; }", "", "$m"),
            ("map $host $m { default a; } split_clients $host $m { * b; }", "", "$m"),
            ("js_import x;", twice, "$a"),
        ] {
            let choices = choices(http, location, text);
            assert_eq!(choices, [] as [&str; 0], "{http} {location} {text}");
        }
        let long: String = (0..1000).map(|i| format!("h{i} v{i};")).collect();
        assert_eq!(choices(&format!("map $host $m {{ {long} }}"), "", "$m").len(), MAX_OPTIONS);
    }

    #[test]
    fn conditions_of_if() {
        let holds = |condition: &str| {
            let tree = parse(&format!(
                "http {{ map $http_upgrade $ws {{ default 1; '' 0; }} server {{ location / {{
                 set $a b; if ({condition}) {{ }} }} }} }}"
            ));
            Variables::new(&tree).holds(find(&tree, &["http", "server", "location", "if"]))
        };
        for condition in [
            "$http_upgrade",
            " $http_upgrade ",
            "$http_upgrade = websocket",
            "$http_upgrade = \"websocket\"",
            "$http_upgrade != ''",
            "$http_upgrade ~* ^WebSocket$",
            "$http_upgrade !~ h2c",
            "$http_sec_websocket_key",
            "$http_connection ~* upgrade",
            "$request_method = GET",
            "$ws",
            "$a = b",
        ] {
            assert_eq!(holds(condition), Some(true), "{condition}");
        }
        for condition in [
            "$http_upgrade = ''",
            "$http_upgrade = \"\" ",
            "$http_upgrade != websocket",
            "$http_upgrade !~* websocket",
            "$request_method != GET",
            "$request_method ~ ^(?:POST|PUT)$",
            "$ws = 0",
        ] {
            assert_eq!(holds(condition), Some(false), "{condition}");
        }
        for condition in [
            "$http_x",
            "$cookie_x = y",
            "$arg_x ~ y",
            "$http_upgrade = $http_x",
            "$http_upgrade ~ (?x)websocket",
            // One client sends more than `Upgrade` in it.
            "$http_connection = Upgrade",
            "-f $request_filename",
            "!-e $request_filename",
            "",
            "$",
            "$http_upgrade =",
            "$http_upgrade == websocket",
            "$http_upgrade = a b",
        ] {
            assert_eq!(holds(condition), None, "{condition}");
        }
    }

    #[test]
    fn what_may_tell_upgrades() {
        let tree = parse("http { map $http_upgrade $ws { default 1; } server { set $a b; } }");
        let variables = Variables::new(&tree);
        for text in ["$uri$http_upgrade", "${http_connection}", "$ws", "$scheme-$a", "${"] {
            assert!(variables.may_tell_upgrades(text.as_bytes()), "{text}");
        }
        for text in ["", "upgrade", "$scheme$proxy_host$request_uri", "$http_x$cookie_y"] {
            assert!(!variables.may_tell_upgrades(text.as_bytes()), "{text}");
        }
    }

    fn map(map: &str) -> Option<String> {
        evaluate(map, "", "", "$x")
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("", Some("")),
            ("upgrade", Some("upgrade")),
            ("$http_upgrade", Some("websocket")),
            ("a-${http_upgrade}s", Some("a-websockets")),
            ("$request_method $server_protocol", Some("GET HTTP/1.1")),
            ("$websocket_guard_upgrade/$websocket_guard_connection", Some("websocket/upgrade")),
            ("$http_sec_websocket_version", Some("13")),
            ("$http_connection", Some("Upgrade")),
            ("x$http_connection", None),
            ("$http_sec_websocket_key", None),
            ("$host", None),
            ("$cookie_a", None),
            ("$1", None),
            ("$", None),
            ("${http_upgrade", None),
            ("${http_upgrade-}", None),
            ("a$-", None),
        ] {
            assert_eq!(evaluate("", "", "", text).as_deref(), expected, "{text}");
        }
    }

    // The expectations of the two tables were compared with what nginx answers.
    const MAPS: &[(&str, Option<&str>)] = &[
        ("map $http_upgrade $x { default upgrade; '' close; }", Some("upgrade")),
        ("map $http_upgrade $x { '' close; }", Some("")),
        ("map $http_upgrade $x { WebSocket 'Upgrade'; default close; }", Some("Upgrade")),
        ("map $http_upgrade $x { \\websocket yes; volatile; }", Some("yes")),
        ("map $http_upgrade $x { '~^websocket$' a; default b; }", Some("a")),
        ("map $http_upgrade $x { '~^WebSocket$' a; default b; }", Some("b")),
        ("map $http_upgrade $x { '~*^WebSocket$' a; default b; }", Some("a")),
        ("map $http_upgrade $x { ~sock a; websocket b; }", Some("b")),
        ("map $http_upgrade $x { ~t$ a; ~^w b; }", Some("a")),
        ("map $http_upgrade $x { ~ a; default b; }", Some("a")),
        ("map $http_upgrade $x { '~[a-z]{9}' a; default b; }", Some("a")),
        ("map $http_upgrade $x { '~(?!a)' a; default b; }", None),
        ("map $http_upgrade $x { '~(?!a)' b; default b; }", Some("b")),
        ("map $http_upgrade $x { '~^(?:w|x)(?i:EB)\\w+$' a; default b; }", Some("a")),
        ("map $http_upgrade $x { default $request_method; }", Some("GET")),
        ("map $http_upgrade $x { default $host; }", None),
        ("map $http_upgrade:$request_method $x { websocket:get a; default b; }", Some("a")),
        ("map $http_upgrade $x { hostnames; *.socket a; websocket b; }", Some("b")),
        ("map $http_upgrade. $x { hostnames; websocket b; }", Some("b")),
        ("map $http_upgrade. $x { websocket b; default c; }", Some("c")),
        ("map a.$http_upgrade $x { hostnames; *.websocket b; default c; }", None),
        ("map a.$http_upgrade $x { *.websocket b; default c; }", Some("c")),
        ("map '' $x { '' a; default b; }", Some("a")),
        ("map '' $x { ~ a; default b; }", Some("b")),
        ("map $http_connection $x { ~*upgrade upgrade; default close; }", Some("upgrade")),
        ("map $http_connection $x { upgrade upgrade; default close; }", None),
        ("map $http_connection $x { default $http_connection; }", Some("Upgrade")),
        ("map $host $x { default upgrade; }", Some("upgrade")),
        ("map $host $x { a upgrade; default close; }", None),
        ("map $host $x { a upgrade; ~b upgrade; default upgrade; }", Some("upgrade")),
        ("map $http_sec_websocket_key $x { '' close; default upgrade; }", Some("upgrade")),
        ("map $http_upgrade $y { default a; } map $y $x { a b; default c; }", Some("b")),
        ("map $http_upgrade $x { default a; } map $host $x { default b; }", Some("b")),
        ("map $http_upgrade $x { default $x; }", None),
        ("map $http_upgrade $y { default $x; } map $y $x { default $y; }", None),
        ("map $http_upgrade $x { default a b; }", None),
        ("geo $x { default a; }", None),
        ("map $http_upgrade $x { default a; } geo $x { default b; }", None),
        ("map $http_upgrade $x { default a; } split_clients $host $x { * b; }", None),
        ("map $http_upgrade $x { default a; } server { set $x b; }", None),
        ("map $http_upgrade $x { default a; } server { auth_request_set $x b; }", None),
        ("map $http_upgrade $x { default a; } server { server_name ~^(?<x>.); }", None),
        ("map $http_upgrade $x { default a; } server { server_name ~^(?<y>.); }", Some("a")),
        ("map $http_upgrade $x { default a; } server { proxy_cache_bypass $x 1; }", Some("a")),
        ("map $http_upgrade $x { default a; } include gone;", None),
    ];

    #[test]
    fn maps() {
        for &(text, expected) in MAPS {
            assert_eq!(map(text).as_deref(), expected, "{text}");
        }
    }

    const SETS: &[(&str, &str, Option<&str>)] = &[
        ("set $x a;", "", Some("a")),
        ("", "set $x a;", Some("a")),
        ("set $x a;", "set $x b;", Some("b")),
        ("set $y b;", "set $x a$y;", Some("ab")),
        ("", "set $y b; set $x a$y$http_upgrade;", Some("abwebsocket")),
        ("", "set $x a$y; set $y b;", None),
        ("set $x a$y;", "set $y b;", None),
        ("", "set $x a; if ($host) { set $x b; }", None),
        ("", "if ($host) { set $x b; }", None),
        ("", "if ($host) { break; } set $x b;", None),
        ("", "rewrite ^/a /b break; set $x b;", None),
        ("", "set $x b; if ($host) { set $y b; }", Some("b")),
        ("", "set $x a; set $x b;", None),
        ("set $x a; if ($host) { set $x b; }", "", None),
        ("location /b { set $x b; }", "", None),
        ("location /b { set $x b; }", "set $x a;", Some("a")),
        ("location /b { set $x b; } set $x a;", "", None),
        ("", "set $x a; location /b { set $x b; }", Some("a")),
        ("location /b { set $y b; } set $x $y;", "", None),
        ("", "set $x $x;", None),
        ("", "set $x a; auth_request_set $x b;", None),
        ("", "set $x a; access_by_lua_file x.lua;", None),
        ("", "set $x a; js_content f.x;", None),
        ("", "set $x $host;", None),
    ];

    #[test]
    fn sets() {
        for &(server, location, expected) in SETS {
            let value = evaluate("", server, location, "$x");
            assert_eq!(value.as_deref(), expected, "{server} / {location}");
        }
    }

    #[test]
    fn a_map_does_not_depend_on_a_set() {
        let both = "map $y $x { a b; default c; }";
        assert_eq!(evaluate(both, "set $y a;", "", "$x"), None);
    }

    #[test]
    fn the_variables_of_another_server_do_not_matter() {
        let tree = parse(
            "http { server { set $x a; location / { if ($y) { } location /n { } } }
                    server { set $x b; } }",
        );
        let variables = Variables::new(&tree);
        let server = ["http", "server", "location", "if", "location /n"];
        for path in [&server[..2], &server[..3], &server[..4]] {
            let value = variables.evaluate(b"$x", find(&tree, path));
            assert_eq!(value.as_deref(), Some(&b"a"[..]), "{path:?}");
        }
        let nested = find(&tree, &["http", "server", "location", "location /n"]);
        assert_eq!(variables.evaluate(b"$x", nested).as_deref(), Some(&b"a"[..]));
        assert_eq!(variables.evaluate(b"$x", tree.root()), None);
    }

    #[test]
    fn a_set_is_not_inherited_by_nested_locations() {
        let tree = parse("http { server { location / { set $x a; location /n { } } } }");
        let variables = Variables::new(&tree);
        let nested = find(&tree, &["http", "server", "location", "location"]);
        assert_eq!(variables.evaluate(b"$x", nested), None);
    }

    #[test]
    fn a_map_may_include_its_entries() {
        let tree = parse_with(
            "http { map $http_upgrade $x { include entries; default b; } }",
            &[("entries", "websocket a;")],
        );
        let http = find(&tree, &["http"]);
        assert_eq!(Variables::new(&tree).evaluate(b"$x", http).as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn conditions() {
        let http = "
            map $http_upgrade $by_upgrade { default 1; '' 0; }
            map $http_connection $by_connection { upgrade 1; '~*upgrade' yes; default 0; }
            map $http_sec_websocket_key $by_key { default $http_sec_websocket_key; '' 0; }
            map $cookie_session $by_cookie { default 1; '' 0; }";
        let tree = parse(&format!("http {{ {http} }}"));
        let variables = Variables::new(&tree);
        for (text, expected) in [
            ("", Some(false)),
            ("0", Some(false)),
            ("00", Some(true)),
            ("$http_upgrade", Some(true)),
            ("$http_connection", Some(true)),
            ("$http_sec_websocket_key", Some(true)),
            ("$http_sec_websocket_key$host", Some(true)),
            ("$by_upgrade", Some(true)),
            ("$by_connection", Some(true)),
            ("$by_key", Some(true)),
            ("$by_cookie", Some(false)),
            ("$cookie_nocache$arg_nocache", Some(false)),
            ("$http_pragma", None),
            ("0$host", None),
            ("$nothing", None),
        ] {
            let set = variables.is_set_for_upgrade(text.as_bytes(), tree.root());
            assert_eq!(set, expected, "{text}");
        }
        assert_eq!(variables.evaluate(b"$by_cookie", tree.root()), None);
    }

    #[test]
    fn values_that_grow_come_to_an_end() {
        let mut http = String::from("map a $m0 { default 0123456789; }");
        for number in 1..200 {
            let value = format!("$m{}", number - 1).repeat(50);
            http += &format!("map a $m{number} {{ default '{value}'; }}");
        }
        http += "map a $loop { default '";
        http += &"$loop".repeat(500);
        http += "'; }";
        let tree = parse(&format!("http {{ {http} }}"));
        let variables = Variables::new(&tree);
        let value = variables.evaluate(b"$m1", tree.root()).unwrap();
        assert_eq!(value.len(), 500);
        for text in [&b"$m9"[..], b"$m199", b"$loop"] {
            assert_eq!(variables.evaluate(text, tree.root()), None);
        }

        let mut sets = String::new();
        for number in (1..200).rev() {
            sets += &format!("set $s{} '{}';", number + 1, format!("$s{number}").repeat(100));
        }
        let tree = parse(&format!("http {{ server {{ {sets} }} }}"));
        let server = find(&tree, &["http", "server"]);
        assert_eq!(Variables::new(&tree).evaluate(b"$s200", server), None);
    }

    #[test]
    fn patterns_that_the_two_libraries_read_differently_are_refused() {
        for pattern in [
            "",
            "^websocket$",
            "a|b",
            "(a)?b*c+",
            "a.*?b",
            "[a-z0-9_.-]+",
            "[^a]",
            "\\d\\/\\.",
            "a{2,3}",
            "(?:a)(?i)b",
            "\\bwebsocket\\b",
        ] {
            assert!(compile(pattern.as_bytes(), false).is_some(), "{pattern}");
        }
        for pattern in [
            "a*+", "a{2}+", "a?+", "[[a]]", "[a&&b]", "[a--b]", "[]a]", "[^]a]", "[\\d]", "\\<a",
            "\\Qa", "(?=a)", "(?x) a", "(?<n>a)", "(?R)", "\u{e4}", "(", "\\1", "\\", "[a",
            "(*UTF8)a",
        ] {
            assert!(compile(pattern.as_bytes(), false).is_none(), "{pattern}");
        }
    }
}
