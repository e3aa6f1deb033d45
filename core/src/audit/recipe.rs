//! What the headers of a location do to an upgrade.

use crate::http::token::contains_token;
use crate::words::SetAt;

use super::model::{Header, Headers, Proxied, ProxyModule, Value};

pub const UPGRADE: &[u8] = b"Upgrade";
pub const CONNECTION: &[u8] = b"Connection";
pub const HOST: &[u8] = b"Host";

/// Whether the location has a `proxy_set_header` of its own for Upgrade.
pub fn sets_upgrade_itself(proxied: &Proxied) -> bool {
    proxied.module == ProxyModule::Proxy
        && proxied.headers.own
        && proxied
            .headers
            .named(UPGRADE)
            .any(|header| !matches!(header.value.text(), None | Some(b"")))
}

/// Whether the location passes the Upgrade header of a client on by a `proxy_set_header` of its
/// own or an inherited one, but not by the guard's.
pub fn forwards_upgrade(proxied: &Proxied) -> bool {
    proxied.module == ProxyModule::Proxy
        && proxied.headers.named(UPGRADE).any(|header| match header.value {
            Value::Guard => false,
            value => value.for_upgrade() != Some(b""),
        })
}

/// Whether an upgrade can get through the location's headers, as far as that is known.
pub fn has_recipe(proxied: &Proxied) -> bool {
    let sends =
        |name| proxied.headers.named(name).any(|header| header.value.for_upgrade() != Some(b""));
    proxied.module != ProxyModule::Proxy
        || !proxied.headers.known
        || (sends(UPGRADE) && sends(CONNECTION))
}

/// Whether a list takes a header away that is set above it.
pub fn loses(headers: &Headers, name: &[u8]) -> bool {
    let of_use = |header: &Header| {
        header.name.eq_ignore_ascii_case(name)
            && if name == CONNECTION {
                header.value.for_upgrade().map_or(true, asks_for_upgrade)
            } else {
                header.value.text() != Some(b"")
            }
    };
    headers.own && headers.named(name).next().is_none() && headers.above.iter().any(of_use)
}

pub fn asks_for_upgrade(connection: &[u8]) -> bool {
    contains_token([connection].into_iter(), b"upgrade")
}

impl<'a> Headers<'a> {
    /// The entries for a header.
    pub fn named<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a Header<'a>> + 'n
    where
        'a: 'n,
    {
        let entries = self.entries;
        entries.iter().filter(move |header| header.name.eq_ignore_ascii_case(name))
    }

    /// Where an entry stands.
    pub fn origin(&self, header: &Header<'a>) -> SetAt<'a> {
        if self.own {
            SetAt::Here(header.place)
        } else {
            SetAt::Above(header.place)
        }
    }
}
