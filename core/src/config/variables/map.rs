//! The `map` blocks.

use std::cell::OnceCell;
use std::collections::HashMap;

use regex::bytes::Regex;

use crate::config::node::Node;
use crate::config::pattern::compile;

use super::value::{Client, Evaluated};

/// A `map` block.
pub struct Map<'a> {
    pub node: Node<'a>,
    pub source: &'a [u8],
    entries: OnceCell<Option<Entries<'a>>>,
    pub values: [OnceCell<Evaluated<'static>>; Client::COUNT],
}

impl<'a> Map<'a> {
    pub fn new(node: Node<'a>) -> Self {
        let source = node.directive().arg(0).unwrap_or_default();
        Self { node, source, entries: OnceCell::new(), values: Default::default() }
    }

    /// `None` if not all of what is in it makes sense.
    pub fn entries(&self) -> Option<&Entries<'a>> {
        self.entries.get_or_init(|| Entries::of(self.node)).as_ref()
    }
}

/// What is in a `map` block.
pub struct Entries<'a> {
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
    pub fn possible(&self, source: &Evaluated<'_>) -> Vec<&'a [u8]> {
        let mut possible = Vec::new();
        let Evaluated::Known(source) = source else {
            let may_be =
                |key: &&Vec<u8>| *source == Evaluated::Unknown || !matches!(&***key, b"" | b"0");
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
