//! The table of rules, and what they are asked about.

mod balancing;
mod cache;
mod capacity;
mod headers;
mod listeners;
mod response;
mod routing;
mod target;
mod timeouts;

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::findings::{FindingSet, LoadFinding};

use super::model::{
    Content, Location, LocationKind, Marked, Proxied, ProxyModule, Server, Site, Upstream,
};
use super::outline::Outline;
use super::problem::Problem;
use crate::text::quoted::Quoted;
use crate::words::Mode;

/// The rules about a location, one row each.
#[rustfmt::skip]
const OF_A_LOCATION: &[(LoadFinding, Rule)] = &[
    (LoadFinding::RedirectInLocation, Rule::Marked(routing::redirect_in_location)),
    (LoadFinding::TryfilesFallback, Rule::Marked(routing::tryfiles_fallback)),
    (LoadFinding::NoProxy, Rule::Marked(routing::no_proxy)),
    (LoadFinding::RewriteLeavesLocation, Rule::Marked(routing::rewrite_leaves_location)),
    (LoadFinding::RegexShadowed, Rule::Proxied(routing::regex_shadowed)),
    (LoadFinding::SubrequestUpgrade, Rule::Proxied(routing::subrequest_upgrade)),
    (LoadFinding::HeadersDropped, Rule::Headers(headers::headers_dropped)),
    (LoadFinding::MissingUpgrade, Rule::Headers(headers::missing_upgrade)),
    (LoadFinding::MissingConnection, Rule::Headers(headers::missing_connection)),
    (LoadFinding::UpgradeWrong, Rule::Headers(headers::upgrade_wrong)),
    (LoadFinding::UpgradeHardcoded, Rule::Headers(headers::upgrade_hardcoded)),
    (LoadFinding::ConnectionWrong, Rule::Headers(headers::connection_wrong)),
    (LoadFinding::ConnectionHardcoded, Rule::Headers(headers::connection_hardcoded)),
    (LoadFinding::DuplicateHeader, Rule::Headers(headers::duplicate_header)),
    (LoadFinding::SecHeaderCleared, Rule::Headers(headers::sec_header_cleared)),
    (LoadFinding::HostNotForwarded, Rule::Headers(headers::host_not_forwarded)),
    (LoadFinding::HostWithoutPort, Rule::Headers(headers::host_without_port)),
    (LoadFinding::Http10Upstream, Rule::Proxied(headers::http10_upstream)),
    (LoadFinding::H2Upstream, Rule::Proxied(headers::h2_upstream)),
    (LoadFinding::PassHeadersOff, Rule::Proxied(headers::pass_headers_off)),
    (LoadFinding::ProxyMethod, Rule::Proxied(headers::proxy_method)),
    (LoadFinding::HiddenResponseHeader, Rule::Proxied(response::hidden_response_header)),
    (LoadFinding::InterceptErrors, Rule::Proxied(response::intercept_errors)),
    (LoadFinding::CacheOn, Rule::Proxied(cache::cache_on)),
    (LoadFinding::CacheDisabled, Rule::Proxied(cache::cache_disabled)),
    (LoadFinding::ShortReadTimeout, Rule::Proxied(timeouts::short_read_timeout)),
    (LoadFinding::LowSendTimeout, Rule::Proxied(timeouts::low_send_timeout)),
    (LoadFinding::UriRewrite, Rule::Proxied(target::uri_rewrite)),
    (LoadFinding::ResolverMissing, Rule::Target(target::resolver_missing)),
    (LoadFinding::TlsSniMissing, Rule::Target(target::tls_sni_missing)),
    (LoadFinding::LbNoAffinity, Rule::Target(balancing::lb_no_affinity)),
    (LoadFinding::MaxConns, Rule::Target(balancing::max_conns)),
    (LoadFinding::LimitConn, Rule::Proxied(balancing::limit_conn)),
];

/// The rules about a server, asked once for each that has an audited location that proxies.
pub const OF_A_SERVER: &[(LoadFinding, ServerRule)] =
    &[(LoadFinding::CleartextH2Listener, listeners::cleartext_h2_listener)];

/// The rules about the configuration as a whole, asked once if there is a guarded location.
pub const OF_THE_SITE: &[(LoadFinding, SiteRule)] = &[
    (LoadFinding::ShutdownUnbounded, capacity::shutdown_unbounded),
    (LoadFinding::Capacity, capacity::capacity),
];

/// A rule about a location, by what it is asked about.
enum Rule {
    /// A location in which `websocket_guard` itself stands. One that inherits it is not reported
    /// for what it does not do.
    Marked(for<'a> fn(&Context<'_, 'a>) -> Option<Problem<'a>>),
    /// A location that passes requests on by a module that can upgrade.
    Proxied(ProxiedRule),
    /// The same, and its list of headers is known.
    Headers(ProxiedRule),
    /// What an `if` block decides for itself: the target. Also asked about a block in a location that
    /// proxies, all of which the other rules have seen there; and not about a location whose target
    /// no upgrade sees for such a block.
    Target(ProxiedRule),
}

type ProxiedRule = for<'a> fn(&Context<'_, 'a>, &Proxied<'a>) -> Option<Problem<'a>>;
type ServerRule = for<'a> fn(&Site<'a>, &Server<'a>) -> Option<Problem<'a>>;
type SiteRule = for<'a> fn(&Site<'a>) -> Option<Problem<'a>>;

/// One cause, one finding: whether a finding stands for another one of the same location.
fn replaces(winner: LoadFinding, loser: LoadFinding, context: &Context) -> bool {
    match winner {
        // Nothing in the location carries a WebSocket, whatever its settings are.
        LoadFinding::RedirectInLocation | LoadFinding::TryfilesFallback => loser != winner,
        LoadFinding::NoProxy => {
            !matches!(loser, LoadFinding::RedirectInLocation | LoadFinding::TryfilesFallback)
                && loser != winner
        }
        // It names the headers that are missing for that reason.
        LoadFinding::HeadersDropped => match loser {
            LoadFinding::MissingUpgrade | LoadFinding::MissingConnection => true,
            LoadFinding::HostNotForwarded => context.loses(b"Host"),
            _ => false,
        },
        _ => false,
    }
}

/// All that is wrong with a location, whether it ignores it or not.
pub fn check<'a>(context: &Context<'_, 'a>) -> Vec<(LoadFinding, Problem<'a>)> {
    let mut found: Vec<(LoadFinding, Problem<'a>)> = Vec::new();
    for (finding, rule) in OF_A_LOCATION {
        if context.view.silent.contains(*finding) {
            continue;
        }
        if let Some(problem) = rule.check(context) {
            found.push((*finding, problem));
        }
    }
    let names: Vec<LoadFinding> = found.iter().map(|(finding, _)| *finding).collect();
    found.retain(|(loser, _)| !names.iter().any(|winner| replaces(*winner, *loser, context)));
    found
}

impl Rule {
    fn check<'a>(&self, context: &Context<'_, 'a>) -> Option<Problem<'a>> {
        let proxied = match &context.location.content {
            Content::Proxied(proxied) => Some(proxied),
            _ => None,
        };
        match (self, proxied) {
            (Self::Marked(rule), _) if context.location.marked == Marked::Here => rule(context),
            (Self::Target(rule), Some(proxied)) if !context.location.diverts => {
                rule(context, proxied)
            }
            (Self::Proxied(rule), Some(proxied)) if !context.continues_a_proxy() => {
                rule(context, proxied)
            }
            (Self::Headers(rule), Some(proxied))
                if !context.continues_a_proxy()
                    && proxied.module == ProxyModule::Proxy
                    && proxied.headers.known =>
            {
                rule(context, proxied)
            }
            _ => None,
        }
    }
}

/// Every finding that has a rule.
#[cfg(test)]
pub fn findings() -> Vec<LoadFinding> {
    let locations = OF_A_LOCATION.iter().map(|(finding, _)| *finding);
    let servers = OF_A_SERVER.iter().map(|(finding, _)| *finding);
    locations.chain(servers).chain(OF_THE_SITE.iter().map(|(finding, _)| *finding)).collect()
}

/// Whether a location is marked, by itself or from above.
pub fn marked(location: &Location) -> bool {
    location.mode != Mode::Off
}

/// Whether an unmarked location has a WebSocket recipe of its own, written by hand.
pub fn recipe_by_hand(location: &Location) -> bool {
    location.marked == Marked::Nowhere && has_own_upgrade(location)
}

fn has_own_upgrade(location: &Location) -> bool {
    matches!(
        &location.content,
        Content::Proxied(proxied) if headers::sets_upgrade_itself(proxied)
    )
}

/// The configuration that is audited, and what was looked up in it.
pub struct SiteView<'s, 'a> {
    pub site: &'s Site<'a>,
    /// What nobody would read. None of it stands for anything else.
    silent: FindingSet,
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
        // A location for auth_request or mirror must not pass the upgrade on; it is not told to.
        if judged.marked != Marked::Here && self.outline.serves_subrequests(self.index) {
            return false;
        }
        // "auto" above a location makes WebSocket possible in it, and says nothing of its purpose.
        if judged.marked == Marked::Above && judged.mode == Mode::Auto {
            return has_own_upgrade(judged);
        }
        marked(judged) || recipe_by_hand(judged)
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
        matches!(self.location.mode, Mode::Auto | Mode::On)
    }

    /// The upstream that requests go to.
    pub fn upstream(&self, proxied: &Proxied<'a>) -> Option<&'s Upstream<'a>> {
        match proxied.target.upstream {
            Some(upstream) => Some(upstream),
            None => self.view.upstream(target::variable_host(&proxied.target)?),
        }
    }

    /// That upstream, or those among which variables choose.
    pub fn upstreams<'p>(
        &'p self,
        proxied: &'p Proxied<'a>,
    ) -> impl Iterator<Item = &'s Upstream<'a>> + 'p {
        let hosts = proxied.target.choices.iter().map(|url| target::host_of(url));
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
    fn continues_a_proxy(&self) -> bool {
        matches!(self.location.kind, LocationKind::If)
            && self
                .around()
                .is_some_and(|around| matches!(around.location.content, Content::Proxied(_)))
    }

    /// Whether the location would have this header, had it no list of its own.
    fn loses(&self, name: &[u8]) -> bool {
        match &self.location.content {
            Content::Proxied(proxied) => headers::loses(&proxied.headers, name),
            _ => false,
        }
    }
}
