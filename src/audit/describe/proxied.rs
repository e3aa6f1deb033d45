//! What a location that proxies sends on, and where to.

use core::ffi::{c_void, CStr};
use std::borrow::Cow;

use ngx::ffi::{
    ngx_array_t, ngx_hash_find, ngx_hash_key_lc, ngx_http_upstream_conf_t, ngx_keyval_t,
};
use websocket_guard_core::audit::model::{
    Cache, Header, Headers, Hidden, Proxied, ProxyModule, Setting, Target, Value,
};
use websocket_guard_core::config::{Directive, Node};
use websocket_guard_core::http::version::HttpVersion;
use websocket_guard_core::words::Mode;
use websocket_guard_core::words::SetAt;

use super::describer::{origin, Describer};
use crate::configuration::conf::LocationConf;
use crate::configuration::foreign::proxies;
use crate::configuration::words::Forwarded;
use crate::nginx::bytes;
use crate::nginx::http_version as as_version;
use crate::nginx::{elements, ngx_str};

/// A location that one of the proxy modules serves.
pub struct ProxiedLocation<'l, 'a> {
    pub conf: &'l LocationConf,
    pub module: &'l proxies::ProxyModule,
    pub module_conf: *mut c_void,
    pub upstream: &'static ngx_http_upstream_conf_t,
    pub node: Option<Node<'a>>,
}

/// The name of a directive that each of the modules has.
macro_rules! full_name {
    ($module:expr, $name:literal) => {
        match $module {
            ProxyModule::Proxy => concat!("proxy_", $name).as_bytes(),
            ProxyModule::Uwsgi => concat!("uwsgi_", $name).as_bytes(),
            ProxyModule::Scgi => concat!("scgi_", $name).as_bytes(),
        }
    };
}

impl<'a> Describer<'a> {
    /// # Safety
    /// All levels must be merged and live.
    pub unsafe fn proxied(
        &mut self,
        module: ProxyModule,
        location: &ProxiedLocation<'_, 'a>,
        tunnel_read: u64,
    ) -> Proxied<'a> {
        let ProxiedLocation { conf, upstream, node, .. } = *location;
        let guarded = conf.mode().is_guarded();
        let origin = |name: &[u8]| match node {
            Some(node) => origin(node, name),
            None => SetAt::Default,
        };
        // A value that the guard filled in has no directive in the location itself.
        let filled_in = |name: &[u8]| match origin(name) {
            SetAt::Here(place) => SetAt::Here(place),
            _ if guarded => SetAt::Guard,
            other => other,
        };
        // SAFETY: the fields are of the same module as the configuration.
        let (http_version, list) = unsafe {
            (
                location.module.http_version.map(|field| field.read(location.module_conf)),
                location.module.headers_source.map(|field| field.read(location.module_conf)),
            )
        };
        let target = self.target(module, location);
        let host_is_domain = conf.forwarded() == Forwarded::Host
            && target.upstream.is_some_and(|upstream| !upstream.names_no_site());
        Proxied {
            module,
            target,
            headers: list.map(|list| self.headers(list, node, conf)).unwrap_or_default(),
            host_is_domain,
            http_version: http_version.map(|version| Setting {
                value: as_version(version),
                origin: match as_version(version) {
                    // Never the guard's.
                    HttpVersion::Http2 => origin(full_name!(module, "http_version")),
                    _ => filled_in(full_name!(module, "http_version")),
                },
            }),
            read_timeout: Some(if guarded {
                // Beside a websocket_guard_timeout, proxy_read_timeout is for plain requests.
                let origin = match conf.sets_timeout {
                    true => SetAt::Guard,
                    false => filled_in(full_name!(module, "read_timeout")),
                };
                Setting { value: tunnel_read, origin }
            } else {
                Setting {
                    value: upstream.read_timeout as u64,
                    origin: origin(full_name!(module, "read_timeout")),
                }
            }),
            ping: conf.ping().filter(|_| conf.pumps()).map(|ping| Setting {
                value: ping.interval as u64,
                origin: origin(b"websocket_guard_ping"),
            }),
            drain: conf.drain().filter(|_| conf.pumps()).map(|drain| Setting {
                value: drain.spread.saturating_add(drain.wait) as u64,
                origin: origin(b"websocket_guard_drain"),
            }),
            limits_let_go: (conf.pumps() && conf.lets_limits_go())
                .then(|| origin(b"websocket_guard_frames")),
            buffering: Some(Setting {
                value: upstream.buffering != 0,
                origin: if conf.mode() == Mode::On {
                    filled_in(full_name!(module, "buffering"))
                } else {
                    origin(full_name!(module, "buffering"))
                },
            }),
            cache: self.cache(module, location),
            store: (upstream.store() == 1).then(|| origin(full_name!(module, "store"))),
            limit_rate: node
                .and_then(|node| node.inherited(full_name!(module, "limit_rate")))
                .filter(|found| found.last().arg(0) != Some(b"0"))
                .map(|found| found.origin()),
            method: node
                .and_then(|node| node.inherited(full_name!(module, "method")))
                .and_then(|found| Some((found.last().arg(0)?, found.origin())))
                .filter(|(method, _)| !method.contains(&b'$'))
                .map(|(value, origin)| Setting { value, origin }),
            pass_request_headers: Some(Setting {
                value: upstream.pass_request_headers != 0,
                origin: origin(full_name!(module, "pass_request_headers")),
            }),
            hidden: Hidden {
                upgrade: hides(upstream, c"upgrade"),
                accept: hides(upstream, c"sec-websocket-accept"),
                origin: self.hide_origin(module, node),
            },
            added: node.and_then(added),
            intercept_errors: Some(Setting {
                value: upstream.intercept_errors != 0,
                origin: origin(full_name!(module, "intercept_errors")),
            }),
            ssl_server_name: ssl_server_name(upstream).map(|value| Setting {
                value,
                origin: origin(full_name!(module, "ssl_server_name")),
            }),
        }
    }

    /// Where the directive stands that hides a header of the handshake.
    fn hide_origin(&self, module: ProxyModule, node: Option<Node<'a>>) -> SetAt<'a> {
        let Some(found) = node.and_then(|node| node.inherited(full_name!(module, "hide_header")))
        else {
            return SetAt::Default;
        };
        let hides = |directive: &Directive| {
            directive.arg(0).is_some_and(|name| {
                name.eq_ignore_ascii_case(b"Upgrade")
                    || name.eq_ignore_ascii_case(b"Sec-WebSocket-Accept")
            })
        };
        match found.all().find(hides).map(Directive::place) {
            Some(place) if found.is_here() => SetAt::Here(Some(place)),
            Some(place) => SetAt::Above(Some(place)),
            None => found.origin(),
        }
    }

    fn target(&self, module: ProxyModule, location: &ProxiedLocation<'_, 'a>) -> Target<'a> {
        let pass = full_name!(module, "pass");
        // An `if` block without one of its own is not described, so the directive is here.
        let directive = location.node.and_then(|node| node.own(pass).next_back());
        let text = directive.and_then(|directive| directive.arg(0));
        let variable = location.upstream.upstream.is_null();
        let value = text
            .zip(location.node)
            .filter(|_| variable)
            .and_then(|(text, node)| self.evaluate(text, node));
        let choices = text
            .zip(location.node)
            .filter(|_| variable && value.is_none())
            .map(|(text, node)| self.variables.choices(text, node))
            .unwrap_or_default();
        let choices = choices.into_iter().map(|choice| &*self.arenas.bytes.alloc_extend(choice));
        let tls = text
            .is_some_and(|text| starts_with(text, b"https://") || starts_with(text, b"suwsgi://"));
        Target {
            text,
            variable,
            value,
            choices: self.arenas.texts.alloc_extend(choices),
            tls,
            uri: text.map(uri_part),
            upstream: self.upstreams.get(location.upstream.upstream),
            place: directive.map(Directive::place),
        }
    }

    fn cache(&self, module: ProxyModule, location: &ProxiedLocation<'_, 'a>) -> Option<Cache<'a>> {
        if !cache_is_on(location.upstream) {
            return None;
        }
        let node = location.node?;
        let zone = node.inherited(full_name!(module, "cache"))?.last().arg(0)?;
        if zone.contains(&b'$') {
            // The zone of an upgrade; "off" and nothing are none (ngx_http_upstream_cache_get).
            let zone = self.evaluate(zone, node)?;
            if zone.is_empty() || zone == b"off" {
                return None;
            }
        }
        let conditions = node
            .inherited(full_name!(module, "cache_bypass"))
            .into_iter()
            .flat_map(|found| found.all())
            .flat_map(Directive::args)
            .map(|text| self.condition(text, node));
        let key = node.inherited(full_name!(module, "cache_key"));
        let mut key = key.iter().flat_map(|found| found.last().args());
        let own = location.conf.mode().is_guarded().then_some(Value::Guard);
        Some(Cache {
            origin: origin(node, full_name!(module, "cache")),
            keyed: key.any(|text| self.variables.may_tell_upgrades(text)),
            bypass: self.arenas.values.alloc_extend(conditions.chain(own)),
        })
    }

    fn headers(
        &mut self,
        list: *const ngx_array_t,
        node: Option<Node<'a>>,
        conf: &LocationConf,
    ) -> Headers<'a> {
        let Some(node) = node else { return Headers::default() };
        let found = node.inherited(SET_HEADER);
        let own = found.as_ref().is_some_and(|found| found.is_here());
        let entries = match self.lists.get(&list) {
            Some(known) => *known,
            None => {
                // SAFETY: the list in force, filled by nginx or by the guard.
                let entries: &'static [ngx_keyval_t] = unsafe { elements(list) };
                let directives: Vec<Directive> =
                    found.into_iter().flat_map(|found| found.all()).collect();
                let described = entries.iter().map(|entry| {
                    let (name, value) =
                        (bytes(entry.key), bytes(conf.recipe.own_text(entry.value)));
                    let directive = directives
                        .iter()
                        .find(|it| it.arg(0) == Some(name) && it.arg(1) == Some(value));
                    Header {
                        name,
                        value: self.value(value, node),
                        place: directive.map(|directive| directive.place()),
                    }
                });
                let described = &*self.arenas.headers.alloc_extend(described.collect::<Vec<_>>());
                self.lists.insert(list, described);
                described
            }
        };
        let above =
            match node.parent().filter(|_| own).and_then(|parent| parent.inherited(SET_HEADER)) {
                Some(found) => {
                    self.arenas.headers.alloc_extend(found.all().map(|directive| Header {
                        name: directive.arg(0).unwrap_or_default(),
                        value: self.value(directive.arg(1).unwrap_or_default(), node),
                        place: Some(directive.place()),
                    }))
                }
                None => &mut [],
            };
        Headers { known: true, entries, own, above }
    }

    /// A condition of the cache: whether an upgrade meets it counts, not the value.
    fn condition(&self, text: &'a [u8], node: Node<'a>) -> Value<'a> {
        let is_set = self.variables.is_set_for_upgrade(text, node);
        let upgrade = is_set.map(|is_set| -> &[u8] {
            if is_set {
                b"1"
            } else {
                b""
            }
        });
        Value::Variable { text, upgrade }
    }

    fn value(&self, text: &'a [u8], node: Node<'a>) -> Value<'a> {
        if text.starts_with(b"$websocket_guard_") {
            Value::Guard
        } else if text.contains(&b'$') {
            Value::Variable { text, upgrade: self.evaluate(text, node) }
        } else {
            Value::Constant(text)
        }
    }

    fn evaluate(&self, text: &'a [u8], node: Node<'a>) -> Option<&'a [u8]> {
        Some(match self.variables.evaluate(text, node)? {
            Cow::Borrowed(value) => value,
            Cow::Owned(value) => self.arenas.bytes.alloc_extend(value),
        })
    }
}

/// A header of the handshake that is added to a 101: `add_header` does that only with `always`.
fn added<'a>(node: Node<'a>) -> Option<(&'a [u8], SetAt<'a>)> {
    let of_handshake = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"Upgrade")
            || name.eq_ignore_ascii_case(b"Connection")
            || name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case(b"Sec-WebSocket-"))
    };
    let found = node.inherited(b"add_header")?;
    let directive = found.all().find(|it| {
        it.arg(0).is_some_and(of_handshake)
            && it.arg(1).is_some_and(|value| !value.is_empty())
            && it.arg(2) == Some(b"always")
    })?;
    let place = Some(directive.place());
    let origin = if found.is_here() { SetAt::Here(place) } else { SetAt::Above(place) };
    Some((directive.arg(0)?, origin))
}

const SET_HEADER: &[u8] = b"proxy_set_header";

#[cfg(ngx_feature = "http_cache")]
fn cache_is_on(upstream: &ngx_http_upstream_conf_t) -> bool {
    upstream.cache() == 1
}

#[cfg(not(ngx_feature = "http_cache"))]
fn cache_is_on(_: &ngx_http_upstream_conf_t) -> bool {
    false
}

#[cfg(ngx_feature = "http_ssl")]
fn ssl_server_name(upstream: &ngx_http_upstream_conf_t) -> Option<bool> {
    Some(upstream.ssl_server_name == 1)
}

#[cfg(not(ngx_feature = "http_ssl"))]
fn ssl_server_name(_: &ngx_http_upstream_conf_t) -> Option<bool> {
    None
}

/// Whether `proxy_hide_header` keeps a header, in lower case, from the client.
fn hides(upstream: &ngx_http_upstream_conf_t, name: &'static CStr) -> bool {
    let name = ngx_str(name);
    let mut hash = upstream.hide_headers_hash;
    // SAFETY: a hash that was built for the configuration; it has no buckets if it was not.
    unsafe {
        !hash.buckets.is_null()
            && !ngx_hash_find(&mut hash, ngx_hash_key_lc(name.data, name.len), name.data, name.len)
                .is_null()
    }
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What follows the host in the argument of `proxy_pass`, such as `/app/`.
fn uri_part(text: &[u8]) -> &[u8] {
    let authority = match text.windows(3).position(|window| window == b"://") {
        Some(scheme) => text.get(scheme + 3..).unwrap_or_default(),
        None => text,
    };
    let start = match authority.strip_prefix(b"unix:") {
        // unix:/path:/uri
        Some(path) => {
            path.iter().position(|&byte| byte == b':').map(|colon| colon + b"unix:".len() + 1)
        }
        None => authority.iter().position(|&byte| byte == b'/'),
    };
    start.and_then(|start| authority.get(start..)).unwrap_or_default()
}
