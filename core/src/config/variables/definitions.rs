//! What defines variables.

use std::collections::HashMap;

use crate::config::kind::BlockKind;
use crate::config::node::Directive;
use crate::config::tree::Tree;

use super::map::Map;
use super::text::named_captures;

/// All that defines variables in a configuration.
pub struct Definitions<'a> {
    defined: HashMap<&'a [u8], Defined<'a>>,
    /// Whether there is code that may change variables.
    pub scripted: bool,
    /// Whether nothing else can define them.
    pub complete: bool,
}

#[derive(Default)]
pub struct Defined<'a> {
    /// The last one is in force.
    pub map: Option<Map<'a>>,
    /// In order.
    pub sets: Vec<Directive<'a>>,
    /// By something else, too.
    pub otherwise: bool,
}

impl<'a> Definitions<'a> {
    pub fn of(tree: &'a Tree) -> Self {
        let complete = tree.is_complete();
        let mut definitions = Self { defined: HashMap::new(), scripted: false, complete };
        for file in &tree.files {
            for name in named_captures(&file.text) {
                definitions.defined.entry(name).or_default().otherwise = true;
            }
        }
        for index in 0..tree.directives.len() as u32 {
            definitions.add(Directive { tree, index });
        }
        definitions
    }

    /// What defines the variable of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Defined<'a>> {
        self.defined.get(name)
    }

    fn add(&mut self, directive: Directive<'a>) {
        let name = directive.name();
        if directive.parent().kind() == BlockKind::Map {
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
                Some(text) if text.first() == Some(&b'$') && block.kind() != BlockKind::If => {
                    let defined = self.define(text);
                    if block.kind() == BlockKind::Map && directive.args().len() == 2 {
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
