//! What a rule is asked about: a location, with all that may matter around it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use crate::findings::FindingSet;
use crate::text::quoted::Quoted;
use crate::words::{Marked, Mode};

use super::model::{Content, Location, LocationKind, Proxied, Server, Site, Upstream};
use super::outline::Outline;
use super::recipe::{loses, sets_upgrade_itself};
use super::unused::Unused;
use super::url::{host_of, variable_host};

/// Whether a location is marked, by itself or from above.
pub fn is_marked(location: &Location) -> bool {
    location.mode != Mode::Off
}

/// Whether an unmarked location has a WebSocket recipe of its own, written by hand.
pub fn has_recipe_by_hand(location: &Location) -> bool {
    location.marked == Marked::Nowhere && has_own_upgrade(location)
}

fn has_own_upgrade(location: &Location) -> bool {
    match &location.content {
        Content::Proxied(proxied) => sets_upgrade_itself(proxied),
        // Its proxy_pass may stand in an `if`.
        _ => location.sets_upgrade,
    }
}

/// The configuration that is audited, and what was looked up in it.
pub struct SiteView<'s, 'a> {
    pub site: &'s Site<'a>,
    /// Findings at levels that no log takes. They are not looked for, and replace no other finding.
    pub silent: FindingSet,
    /// What is asked of the guard where it guards nothing.
    pub unused: Unused<'a>,
    upstreams: OnceCell<HashMap<Vec<u8>, usize>>,
    /// The number of the server that has a location of that name; `None` if several have one.
    owners: OnceCell<HashMap<&'a [u8], Option<usize>>>,
    /// How many servers have that name.
    names: OnceCell<HashMap<&'a [u8], usize>>,
}

impl<'s, 'a> SiteView<'s, 'a> {
    pub fn new(site: &'s Site<'a>, silent: FindingSet) -> Self {
        Self {
            site,
            silent,
            unused: Unused::new(site),
            upstreams: OnceCell::new(),
            owners: OnceCell::new(),
            names: OnceCell::new(),
        }
    }

    /// The upstream of that name.
    pub fn upstream(&self, name: &[u8]) -> Option<&'s Upstream<'a>> {
        let upstreams = self.upstreams.get_or_init(|| {
            let names = self.site.upstreams.iter().map(|upstream| upstream.name);
            names.map(<[u8]>::to_ascii_lowercase).zip(0..).collect()
        });
        self.site.upstreams.get(*upstreams.get(&name.to_ascii_lowercase())?)
    }

    /// Whether locations of several servers have that name.
    fn is_ambiguous(&self, location: &[u8]) -> bool {
        let owners = self.owners.get_or_init(|| {
            let mut owners: HashMap<&[u8], Option<usize>> = HashMap::new();
            for (i, server) in self.site.servers.iter().enumerate() {
                for location in server.locations {
                    owners
                        .entry(location.name)
                        .and_modify(|owner| *owner = owner.filter(|owner| *owner == i))
                        .or_insert(Some(i));
                }
            }
            owners
        });
        owners.get(location) == Some(&None)
    }

    /// Whether a server can be told by its name.
    fn is_only(&self, server: &[u8]) -> bool {
        let names = self.names.get_or_init(|| {
            let mut names: HashMap<&[u8], usize> = HashMap::new();
            for server in self.site.servers {
                *names.entry(server.name).or_default() += 1;
            }
            names
        });
        !server.is_empty() && names.get(server) == Some(&1)
    }
}

/// A location, and all that a rule may want to know around it.
pub struct Context<'s, 'a> {
    pub view: &'s SiteView<'s, 'a>,
    pub server: &'s Server<'a>,
    pub outline: &'s Outline<'s, 'a>,
    pub location: &'s Location<'a>,
    /// The location's index in the server.
    pub index: usize,
}

impl<'s, 'a> Context<'s, 'a> {
    /// Whether the location is looked at.
    pub fn is_audited(&self) -> bool {
        let judged = match self.location.kind {
            LocationKind::If => match self.around() {
                Some(around) => return around.is_audited(),
                None => return false,
            },
            _ => self.location,
        };
        // A location for auth_request or mirror must not pass the upgrade on, so it gets no advice to do that.
        if judged.marked != Marked::Here && self.outline.serves_subrequests(self.index) {
            return false;
        }
        // "auto" above a location makes WebSocket possible in it, but does not say that it is used there.
        if judged.marked == Marked::Above && judged.mode == Mode::Auto {
            return has_own_upgrade(judged);
        }
        is_marked(judged) || has_recipe_by_hand(judged)
    }

    /// How a sentence about it begins.
    pub fn subject(&self) -> String {
        let name = Quoted(self.location.name);
        let block = match self.location.kind {
            LocationKind::If => "\"if\" in ",
            _ => "",
        };
        let subject = format!("{block}location \"{name}\"");
        if !self.view.is_ambiguous(self.location.name) {
            return subject;
        }
        let Server { name, place, .. } = *self.server;
        if self.view.is_only(name) {
            return format!("{subject} of server \"{}\"", Quoted(name));
        }
        // An included file may be in both the server for HTTP and the one for HTTPS.
        format!("{subject} of the server in {}:{}", Quoted(place.file), place.line)
    }

    /// The guard sets what is not set in the location itself.
    pub fn is_guarded(&self) -> bool {
        self.location.mode.is_guarded()
    }

    /// How to have the location guarded: one that has a mark of its own must have no second one.
    pub fn guarding(&self) -> &'static str {
        match self.has_own_mark() {
            true => "set \"websocket_guard on;\" in the location",
            false => "add \"websocket_guard on;\" to the location",
        }
    }

    /// Whether `websocket_guard` stands in it, for an `if` block in the location around it.
    pub fn has_own_mark(&self) -> bool {
        match (self.location.kind, self.around()) {
            (LocationKind::If, Some(around)) => around.has_own_mark(),
            _ => self.location.marked == Marked::Here,
        }
    }

    /// The remedies as they can be applied in the location: a second mark would be refused as a duplicate, so that the one
    /// that stands there has to say something else.
    pub fn apply(&self, fix: Cow<'static, str>) -> Cow<'static, str> {
        const ADDED: [(&str, &str); 2] = [
            (
                "add \"websocket_guard on;\" to the location",
                "set \"websocket_guard on;\" in the location",
            ),
            (
                "add \"websocket_guard auto;\" to the location",
                "set \"websocket_guard auto;\" in the location",
            ),
        ];
        if !self.has_own_mark() {
            return fix;
        }
        match ADDED.iter().find(|(added, _)| fix.contains(added)) {
            Some((added, set)) => fix.replace(added, set).into(),
            None => fix,
        }
    }

    /// The upstream that requests go to.
    pub fn upstream(&self, proxied: &Proxied<'a>) -> Option<&'s Upstream<'a>> {
        match proxied.target.upstream {
            Some(upstream) => Some(upstream),
            None => self.view.upstream(variable_host(&proxied.target)?),
        }
    }

    /// That upstream, or those among which variables choose.
    pub fn upstreams<'p>(
        &'p self,
        proxied: &'p Proxied<'a>,
    ) -> impl Iterator<Item = &'s Upstream<'a>> + 'p {
        let hosts = proxied.target.choices.iter().map(|url| host_of(url));
        let chosen = hosts.filter_map(|host| self.view.upstream(host));
        self.upstream(proxied).into_iter().chain(chosen)
    }

    /// The location around this one.
    pub fn around(&self) -> Option<Context<'s, 'a>> {
        let index = self.outline.parent(self.index)?;
        let location = self.outline.get(index)?;
        Some(Context { location, index, ..*self })
    }

    /// Whether it is an `if` block in a location that proxies too.
    pub fn continues_a_proxy(&self) -> bool {
        matches!(self.location.kind, LocationKind::If)
            && self
                .around()
                .is_some_and(|around| matches!(around.location.content, Content::Proxied(_)))
    }

    /// Whether the location would have this header, had it no list of its own.
    pub fn loses(&self, name: &[u8]) -> bool {
        match &self.location.content {
            Content::Proxied(proxied) => loses(&proxied.headers, name),
            _ => false,
        }
    }
}
