//! The table of rules.

mod balancing;
mod buffering;
mod cache;
mod capacity;
mod headers;
mod limits;
mod listeners;
mod response;
mod routing;
mod target;
mod timeouts;
mod unused;

use crate::findings::{Level, LoadFinding};
use crate::words::{Marked, Mode};

use super::context::{has_recipe_by_hand, Context, SiteView};
use super::model::{Content, Location, OwnLevel, Proxied, ProxyModule, Server, Site};
use super::problem::Problem;

/// The rules about a location, one row each.
#[rustfmt::skip]
const OF_A_LOCATION: &[(LoadFinding, Rule)] = &[
    (LoadFinding::RedirectInLocation, Rule::Marked(routing::redirect_in_location)),
    (LoadFinding::TryfilesFallback, Rule::Marked(routing::tryfiles_fallback)),
    (LoadFinding::NoProxy, Rule::Meant(routing::no_proxy)),
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
    (LoadFinding::SecHeaderReplaced, Rule::Headers(headers::sec_header_replaced)),
    (LoadFinding::ResponseHeaderAdded, Rule::Proxied(response::response_header_added)),
    (LoadFinding::ProxyMethod, Rule::Proxied(headers::proxy_method)),
    (LoadFinding::HiddenResponseHeader, Rule::Proxied(response::hidden_response_header)),
    (LoadFinding::InterceptErrors, Rule::Proxied(response::intercept_errors)),
    (LoadFinding::CacheOn, Rule::Proxied(cache::cache_on)),
    (LoadFinding::CacheDisabled, Rule::Proxied(cache::cache_disabled)),
    (LoadFinding::BufferingNeeded, Rule::Proxied(buffering::buffering_needed)),
    (LoadFinding::ShortReadTimeout, Rule::Proxied(timeouts::short_read_timeout)),
    (LoadFinding::LowSendTimeout, Rule::Proxied(timeouts::low_send_timeout)),
    (LoadFinding::PingTooLate, Rule::Proxied(timeouts::ping_too_late)),
    (LoadFinding::DrainCutShort, Rule::Proxied(timeouts::drain_cut_short)),
    (LoadFinding::LimitsLetGo, Rule::Proxied(limits::limits_let_go)),
    (LoadFinding::UnusedDirective, Rule::Any(unused::in_location)),
    (LoadFinding::UriRewrite, Rule::Proxied(target::uri_rewrite)),
    (LoadFinding::VariableUri, Rule::Target(target::variable_uri)),
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
    /// Any location.
    Any(for<'a> fn(&Context<'_, 'a>) -> Option<Problem<'a>>),
    /// A location in which `websocket_guard` itself stands. One that only inherits it may well be there
    /// for something else.
    Marked(for<'a> fn(&Context<'_, 'a>) -> Option<Problem<'a>>),
    /// The same, or one with a recipe by hand.
    Meant(for<'a> fn(&Context<'_, 'a>) -> Option<Problem<'a>>),
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
        // The guard sets no headers for HTTP/2, and would without it.
        LoadFinding::H2Upstream if context.is_guarded() => matches!(
            loser,
            LoadFinding::MissingUpgrade
                | LoadFinding::MissingConnection
                | LoadFinding::HeadersDropped
                | LoadFinding::HostNotForwarded
        ),
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

/// What is told of a location of which nobody says that it is for WebSocket: that `auto` from above does not work there,
/// and what is asked of the guard all the same.
pub fn check_in_passing<'a>(
    context: &Context<'_, 'a>,
) -> impl Iterator<Item = (LoadFinding, Problem<'a>)> {
    let unused = unused::in_location(context).map(|it| (LoadFinding::UnusedDirective, it));
    auto_in_passing(context).into_iter().chain(unused)
}

fn auto_in_passing<'a>(context: &Context<'_, 'a>) -> Option<(LoadFinding, Problem<'a>)> {
    let finding = LoadFinding::H2Upstream;
    let Location { mode: Mode::Auto, content: Content::Proxied(proxied), .. } = context.location
    else {
        return None;
    };
    if context.outline.serves_subrequests(context.index) {
        return None;
    }
    let problem = headers::h2_upstream(context, proxied)?;
    Some((finding, problem.level(Level::Notice)))
}

/// What is wrong with that which stands in a server itself.
pub fn check_own<'a>(
    view: &SiteView<'_, 'a>,
    server: &Server<'a>,
) -> Option<(LoadFinding, Problem<'a>)> {
    let problem = unused::in_server(&view.unused, server)?;
    of_own_level(&server.own, LoadFinding::UnusedDirective, problem)
}

/// The same of `http {}`.
pub fn check_http<'a>(view: &SiteView<'_, 'a>) -> Option<(LoadFinding, Problem<'a>)> {
    let problem = unused::in_http(&view.unused, view.site)?;
    of_own_level(&view.site.http, LoadFinding::UnusedDirective, problem)
}

fn of_own_level<'a>(
    own: &OwnLevel,
    finding: LoadFinding,
    problem: Problem<'a>,
) -> Option<(LoadFinding, Problem<'a>)> {
    (!own.ignore.contains(finding)).then_some((finding, problem))
}

impl Rule {
    fn check<'a>(&self, context: &Context<'_, 'a>) -> Option<Problem<'a>> {
        let proxied = match &context.location.content {
            Content::Proxied(proxied) => Some(proxied),
            _ => None,
        };
        match (self, proxied) {
            (Self::Any(rule), _) => rule(context),
            (Self::Marked(rule) | Self::Meant(rule), _)
                if context.location.marked == Marked::Here =>
            {
                rule(context)
            }
            (Self::Meant(rule), _) if has_recipe_by_hand(context.location) => rule(context),
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
