//! What variables become for an upgrade request.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};

use super::{Directive, Kind, Node, Tree};
use crate::token::contains_token;

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
    tree: &'a Tree,
    defined: HashMap<&'a [u8], Defined<'a>>,
    /// Whether there is code that may change variables.
    scripted: bool,
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
        let mut variables = Self { tree, defined: HashMap::new(), scripted: false };
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
            Some(_) if !self.tree.is_complete() => return Value::Unknown,
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

/// A regular expression, if the regex crate takes it for the same as PCRE.
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
