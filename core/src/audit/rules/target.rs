//! Where a location proxies to.

use crate::audit::model::{LocationKind, Proxied, ProxyModule, Upstream};
use crate::audit::problem::Problem;
use crate::audit::url::{host, host_of, is_address, variable_host};
use crate::text::quoted::Quoted;
use crate::words::SetAt;

use crate::audit::context::Context;

pub fn uri_rewrite<'a>(context: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let name = context.location.name;
    let uri = proxied.target.uri?;
    let is_prefix =
        matches!(context.location.kind, LocationKind::Prefix | LocationKind::PrefixNoRegex);
    if !is_prefix || name.ends_with(b"/") || !uri.ends_with(b"/") {
        return None;
    }
    let (name, uri) = (Quoted(name), Quoted(uri));
    Some(
        Problem::new(format!(
            "replaces \"{name}\" by \"{uri}\", so that \"{name}/x\" becomes \"{uri}/x\""
        ))
        .at(SetAt::Here(proxied.target.place)),
    )
}

pub fn variable_uri<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    const WITH_QUERY: [&str; 4] = ["request_uri", "is_args", "args", "query_string"];
    const WITHOUT: [&str; 2] = ["uri", "document_uri"];

    let target = &proxied.target;
    if proxied.module != ProxyModule::Proxy || !target.variable {
        return None;
    }
    let text = target.text?;
    let names = || variables_in(text);
    let has_uri =
        target.uri.is_some_and(|uri| !uri.is_empty()) || names().any(|it| WITHOUT.contains(&it));
    // An argument that is named is passed on by hand.
    if !has_uri || names().any(|it| WITH_QUERY.contains(&it) || it.starts_with("arg_")) {
        return None;
    }
    let what = format!("sends the URI of proxy_pass \"{}\" without the query", Quoted(text));
    Some(Problem::new(what).at(SetAt::Here(target.place)))
}

/// The names of the variables in a text.
fn variables_in(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|byte| *byte == b'$').skip(1).map(|rest| {
        let rest = rest.strip_prefix(b"{").unwrap_or(rest);
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = rest.iter().position(|byte| !is_name(byte)).unwrap_or(rest.len());
        std::str::from_utf8(rest.get(..end).unwrap_or_default()).unwrap_or_default()
    })
}

pub fn resolver_missing<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let target = &proxied.target;
    if !target.variable || context.location.resolver != Some(false) {
        return None;
    }
    // A name that is not wholly known may be that of an upstream.
    let may_be_upstream = context.view.site.upstreams.iter().any(|upstream| upstream.block);
    let needs_none = |host: &[u8]| is_address(host) || context.view.upstream(host).is_some();
    let shown = Quoted(target.text.or(target.value).unwrap_or_default());
    let pass = proxied.module.prefix();
    let what = match variable_host(target) {
        Some(host) if needs_none(host) => return None,
        Some(_) => format!("cannot resolve the host of {pass}_pass \"{shown}\""),
        None => match target.choices.iter().find(|url| match host_of(url) {
            b"" => false,
            host if host.contains(&b'$') => !may_be_upstream && is_named(url),
            host => !needs_none(host),
        }) {
            Some(url) => {
                let host = Quoted(host_of(url));
                format!("cannot resolve \"{host}\", which {pass}_pass \"{shown}\" may lead to")
            }
            // What a client sends is seldom an address. Nothing is known of other variables.
            None if target.choices.is_empty() && !may_be_upstream && is_named(target.text?) => {
                format!("cannot resolve the host of {pass}_pass \"{shown}\"")
            }
            None => return None,
        },
    };
    Some(Problem::new(format!("{what}, there is no resolver")).at(SetAt::Here(target.place)))
}

/// Whether the host in a text with variables has a part that an address has not, or is what a
/// client sent.
fn is_named(text: &[u8]) -> bool {
    const OF_CLIENT: [&[u8]; 3] = [b"arg_", b"cookie_", b"http_"];
    let host = host_of(text);
    // There are letters in an IPv6 address, too.
    if host.starts_with(b"[") {
        return false;
    }
    let mut parts = host.split(|byte| *byte == b'$');
    if parts.next().is_some_and(|start| start.iter().any(u8::is_ascii_alphabetic)) {
        return true;
    }
    parts.any(|part| {
        let name = part.strip_prefix(b"{").unwrap_or(part);
        let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        let (name, rest) = name.split_at(end.unwrap_or(name.len()));
        rest.iter().any(u8::is_ascii_alphabetic)
            || name == b"host"
            || OF_CLIENT.iter().any(|start| name.starts_with(start))
    })
}

pub fn tls_sni_missing<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let setting = proxied.ssl_server_name.filter(|setting| !setting.value)?;
    if !speaks_tls(proxied) {
        return None;
    }
    let name = match context.upstream(proxied) {
        // It is the servers of the block that are connected to, so their names count.
        Some(Upstream { block: true, named_server: Some(server), .. }) => server,
        // Its name is what the certificate is checked for; one with a dot is meant as a domain.
        Some(Upstream { block: true, name, .. }) if name.contains(&b'.') => name,
        Some(Upstream { block: true, .. }) => return None,
        Some(upstream) => upstream.name,
        None => variable_host(&proxied.target)?,
    };
    if is_address(name) {
        return None;
    }
    let name = host(name);
    // A backend on this machine does not choose its certificate by that name.
    if name.eq_ignore_ascii_case(b"localhost") {
        return None;
    }
    let directive = format!("{}_ssl_server_name", proxied.module.prefix());
    let problem = Problem::new(format!(
        "does not tell its TLS backend \"{}\" which name is wanted ({directive} is off)",
        Quoted(name)
    ))
    .fix(format!(
        "add \"{directive} on;\", and {}_ssl_name where the name differs from the one in {0}_pass",
        proxied.module.prefix()
    ));
    Some(match setting.origin {
        SetAt::Default => problem.at(SetAt::Here(proxied.target.place)),
        origin => problem.at(origin),
    })
}

fn speaks_tls(proxied: &Proxied) -> bool {
    let target = &proxied.target;
    if !target.variable {
        return target.tls;
    }
    let scheme: &[u8] = match proxied.module {
        ProxyModule::Proxy => b"https://",
        ProxyModule::Uwsgi | ProxyModule::Scgi => b"suwsgi://",
    };
    [target.value, target.text]
        .into_iter()
        .flatten()
        .any(|url| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::model::{Location, Site, Target};
    use crate::audit::testing::*;

    #[test]
    fn double_slashes() {
        let proxied = |name, uri: &'static str| {
            edit(on(name), |p| {
                p.target.uri = Some(uri.as_bytes());
                p.target.place = Some(at(60));
            })
        };
        assert_eq!(
            lines(proxied("/ws", "/")),
            ["websocket_guard: location \"/ws\" replaces \"/ws\" by \"/\", so that \"/ws/x\" \
              becomes \"//x\"; end both with a slash, or neither [uri-rewrite] in nginx.conf:60"]
        );
        let mut no_regex = proxied("/ws", "/api/");
        no_regex.kind = LocationKind::PrefixNoRegex;
        assert_eq!(names(&[no_regex]), ["uri-rewrite"]);
        for (name, uri) in [("/ws/", "/"), ("/ws", ""), ("/ws", "/chat"), ("/", "/")] {
            assert!(names(&[proxied(name, uri)]).is_empty(), "{name} {uri}");
        }
        let mut exact = proxied("/ws", "/");
        exact.kind = LocationKind::Exact;
        assert!(names(&[exact]).is_empty());
    }

    fn variable(text: &'static str, value: Option<&'static str>) -> Location<'static> {
        edit(on("/chat"), |p| {
            p.target = Target {
                text: Some(text.as_bytes()),
                variable: true,
                value: value.map(str::as_bytes),
                ..Target::default()
            };
        })
    }

    fn with_upstream(location: Location, upstream: Upstream) -> Vec<&'static str> {
        let locations = [location];
        let servers = [server(&locations)];
        names_in(&Site { upstreams: &[upstream], ..site(&servers) })
    }

    const POOL: Upstream = Upstream {
        name: b"pool",
        block: true,
        place: None,
        live_servers: 1,
        affinity: crate::audit::model::Affinity::None,
        max_conns: None,
        named_server: None,
    };

    #[test]
    fn names_that_nobody_resolves() {
        assert_eq!(
            lines(variable("http://$arg_backend", None)),
            ["websocket_guard: location \"/chat\" cannot resolve the host of proxy_pass \
              \"http://$arg_backend\", there is no resolver; add a resolver, such as \"resolver \
              127.0.0.1;\" [resolver-missing] in nginx.conf:10"]
        );
        for (text, value) in [
            ("http://app.internal$request_uri", None),
            ("http://app.internal:$port", None),
            ("http://$backend", Some("http://app.internal:80/x")),
            ("http://app-$region.internal", None),
            ("http://$region.internal", None),
            ("http://${http_x_backend}:80/", None),
            ("http://$host", None),
        ] {
            assert_eq!(names(&[variable(text, value)]), ["resolver-missing"], "{text}");
        }
        for (text, value) in [
            ("http://127.0.0.1:$port", None),
            ("http://10.0.0.1$request_uri", None),
            ("http://[::1]:$port", None),
            ("http://unix:/run/$name.sock", None),
            ("http://$backend", Some("http://127.0.0.1:3000")),
            ("$scheme://127.0.0.1:3000/$1", None),
            // Of these it is not known whether they are names.
            ("$target", None),
            ("http://$backend", None),
            ("http://$hosts", None),
            ("http://$1:$2", None),
            ("http://10.0.0.$1:80", None),
            ("http://[fe80::$1]:80", None),
        ] {
            assert!(names(&[variable(text, value)]).is_empty(), "{text}");
        }
        let resolving = Location { resolver: Some(true), ..variable("http://$host", None) };
        assert!(names(&[resolving]).is_empty());
        let unknown = Location { resolver: None, ..resolving };
        assert!(names(&[unknown]).is_empty());
    }

    #[test]
    fn one_of_several_may_be_a_name() {
        let choosing = |choices: &'static [&'static [u8]]| {
            edit(variable("http://$backend", None), |p| p.target.choices = choices)
        };
        assert_eq!(
            lines(choosing(&[b"http://127.0.0.1:80", b"http://app.internal:80/x", b"http://z"])),
            ["websocket_guard: location \"/chat\" cannot resolve \"app.internal\", which proxy_pass \
              \"http://$backend\" may lead to, there is no resolver; add a resolver, such as \
              \"resolver 127.0.0.1;\" [resolver-missing] in nginx.conf:10"]
        );
        assert!(
            names(&[choosing(&[b"http://127.0.0.1:80", b"http://", b"http://[::1]"])]).is_empty()
        );
        assert!(names(&[choosing(&[b"http://$x:1", b"http://127.0.0.$1/a", b"$y"])]).is_empty());
        assert_eq!(names(&[choosing(&[b"http://$tenant.internal:80"])]), ["resolver-missing"]);
        assert!(with_upstream(choosing(&[b"http://pool"]), POOL).is_empty());
        assert!(with_upstream(choosing(&[b"http://po$x"]), POOL).is_empty());
        assert_eq!(with_upstream(choosing(&[b"http://app"]), POOL), ["resolver-missing"]);
    }

    #[test]
    fn an_upstream_needs_no_resolver() {
        assert!(with_upstream(variable("http://pool$request_uri", None), POOL).is_empty());
        assert!(with_upstream(variable("http://$pool", Some("http://POOL/")), POOL).is_empty());
        // It may be that upstream.
        assert!(with_upstream(variable("http://$pool", None), POOL).is_empty());
        assert_eq!(
            with_upstream(variable("http://$pool", Some("http://other")), POOL),
            ["resolver-missing"]
        );
        assert_eq!(
            with_upstream(variable("http://pool_of$request_uri_x", None), POOL),
            [] as [&str; 0]
        );
    }

    #[test]
    fn tls_without_a_name() {
        let to = |upstream: Upstream<'static>| {
            let upstream = Box::leak(Box::new(upstream));
            edit(on("/chat"), |p| {
                p.target.tls = true;
                p.target.upstream = Some(upstream);
            })
        };
        let named = to(Upstream { block: false, name: b"app.example.com", ..POOL });
        assert_eq!(
            lines(named),
            ["websocket_guard: location \"/chat\" does not tell its TLS backend \
              \"app.example.com\" which name is wanted (proxy_ssl_server_name is off); add \
              \"proxy_ssl_server_name on;\", and proxy_ssl_name where the name differs from the \
              one in proxy_pass [tls-sni-missing] in nginx.conf:10"]
        );
        let block = to(Upstream { named_server: Some(b"app.example.com:443"), ..POOL });
        assert_eq!(names(&[block]), ["tls-sni-missing"]);

        assert!(names(&[edit(named, |p| p.ssl_server_name = above(true, 3))]).is_empty());
        assert!(names(&[edit(named, |p| p.target.tls = false)]).is_empty());
        assert!(lines(block)[0].contains("backend \"app.example.com\" which"));
        assert!(names(&[to(POOL)]).is_empty());
        for server in [&b"localhost:443"[..], b"LOCALHOST", b"[::1]:443"] {
            assert!(names(&[to(Upstream { named_server: Some(server), ..POOL })]).is_empty());
        }
        for address in ["127.0.0.1", "[::1]", "unix:/run/app.sock"] {
            let address = Upstream { block: false, name: address.as_bytes(), ..POOL };
            assert!(names(&[to(address)]).is_empty());
        }

        let resolving = |text| Location { resolver: Some(true), ..variable(text, None) };
        let off = |text| edit(resolving(text), |p| p.ssl_server_name = here(false, 9));
        assert_eq!(names(&[off("https://app.internal$request_uri")]), ["tls-sni-missing"]);
        assert!(names(&[off("https://$backend")]).is_empty());
        assert!(names(&[off("http://app.internal$request_uri")]).is_empty());
    }
}
