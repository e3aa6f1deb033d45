//! The header list of a guarded location: what it would have sent to the backend, with the
//! guard's Upgrade and Connection.

use core::ptr::NonNull;

use ngx::ffi::{ngx_array_t, ngx_conf_t, ngx_http_complex_value_t, ngx_keyval_t, ngx_str_t};
use once_cell::unsync::OnceCell;

use crate::configuration::foreign::proxies::MODULES;
use crate::configuration::words::Forwarded;
use crate::nginx::{
    array_of, compile, elements, keyval, ngx_str, AllocationFailed, ConfigurationError,
};

/// The two values that the guard decides on for each request.
const UPGRADE: ngx_keyval_t = keyval(c"Upgrade", c"$websocket_guard_upgrade");
const CONNECTION: ngx_keyval_t = keyval(c"Connection", c"$websocket_guard_connection");

/// What stands in the place of a location's own Upgrade that is made of variables: the same as far as it is
/// allowed, for each proxy module. The operator's text is kept in
/// [`Recipe::upgrade`](crate::configuration::recipe::Recipe::upgrade).
pub const CHECKED_UPGRADE: [ngx_str_t; MODULES] = [
    ngx_str(c"$websocket_guard_internal_proxy_upgrade"),
    ngx_str(c"$websocket_guard_internal_uwsgi_upgrade"),
    ngx_str(c"$websocket_guard_internal_scgi_upgrade"),
];

/// The operator's value of Upgrade, compiled.
pub type OwnUpgrade = NonNull<ngx_http_complex_value_t>;

/// The Host that `websocket_guard_forwarded host` sends: the client's, or that of `proxy_pass` if it is a domain.
pub const HOST_UNLESS_DOMAIN: ngx_str_t = ngx_str(c"$websocket_guard_internal_host");

/// What `websocket_guard_forwarded` adds.
const HOST: [ngx_keyval_t; 1] = [ngx_keyval_t { key: ngx_str(c"Host"), value: HOST_UNLESS_DOMAIN }];
const ALL: [ngx_keyval_t; 4] = [
    keyval(c"Host", c"$websocket_guard_host"),
    keyval(c"X-Real-IP", c"$remote_addr"),
    keyval(c"X-Forwarded-For", c"$proxy_add_x_forwarded_for"),
    PROTO,
];
const PROTO: ngx_keyval_t = keyval(c"X-Forwarded-Proto", c"$websocket_guard_internal_proto");

/// Whether a list has the guard's X-Forwarded-Proto.
pub fn sets_proto(entries: &[ngx_keyval_t]) -> bool {
    let mut protos = entries.iter().filter(|entry| same_header(entry, &PROTO));
    protos.any(|entry| entry.value.as_bytes() == PROTO.value.as_bytes())
}

/// Whether a list has a Host that is not the guard's.
pub fn sets_host(entries: &[ngx_keyval_t]) -> bool {
    let mut hosts = entries.iter().filter(|entry| same_header(entry, &HOST[0]));
    hosts.any(|entry| {
        let value = entry.value.as_bytes();
        ![HOST[0], ALL[0]].iter().any(|guards| guards.value.as_bytes() == value)
    })
}

impl Forwarded {
    fn headers(self) -> &'static [ngx_keyval_t] {
        match self {
            Self::Off => &[],
            Self::Host => &HOST,
            Self::On => &ALL,
        }
    }
}

/// A `proxy_set_header` list as it stands in the configuration, at some level, and what was
/// derived from it. All locations that inherit the list share the derived ones.
pub struct HeaderList {
    source: *mut ngx_array_t,
    /// The list's own value of Connection, once it was asked for.
    connection: OnceCell<Option<NonNull<ngx_http_complex_value_t>>>,
    /// The list for a guarded location that inherits this one, for each choice of forwarded headers.
    guarded: [OnceCell<NonNull<ngx_array_t>>; 3],
}

impl HeaderList {
    /// `source` is the value of the proxy module's `headers_source`, null where there is no list.
    pub fn new(source: *mut ngx_array_t) -> Self {
        Self { source, connection: OnceCell::new(), guarded: Default::default() }
    }

    fn entries(&self) -> &[ngx_keyval_t] {
        // SAFETY: the list was filled by `proxy_set_header`, and is not changed after its level
        // was read.
        unsafe { elements(self.source) }
    }

    /// Whether it is part of a WebSocket recipe that was written by hand.
    pub fn forwards_upgrade(&self) -> bool {
        self.entries().iter().any(|entry| same_header(entry, &UPGRADE) && !entry.value.is_empty())
    }

    /// The list as nginx would have had it, never unset.
    pub fn plain(&self, cf: &ngx_conf_t) -> Result<NonNull<ngx_array_t>, AllocationFailed> {
        match NonNull::new(self.source) {
            Some(source) => Ok(source),
            None => array_of::<ngx_keyval_t>(cf, [].into_iter()),
        }
    }

    /// The value of Connection in this list, compiled; `None` if the list does not mention it.
    fn connection(
        &self,
        cf: &mut ngx_conf_t,
    ) -> Result<Option<NonNull<ngx_http_complex_value_t>>, ConfigurationError> {
        let value = self.connection.get_or_try_init(|| {
            let entry = self.entries().iter().find(|entry| same_header(entry, &CONNECTION));
            entry.map(|entry| compile(cf, entry.value)).transpose()
        });
        value.copied()
    }

    /// The list for a guarded location that has this list from above: an inherited Upgrade or
    /// Connection gives way to the guard's.
    pub fn guarded_inherited(
        &self,
        cf: &mut ngx_conf_t,
        forwarded: Forwarded,
    ) -> Result<GuardedHeaders, ConfigurationError> {
        let [off, host, on] = &self.guarded;
        let memo = match forwarded {
            Forwarded::Off => off,
            Forwarded::Host => host,
            Forwarded::On => on,
        };
        let list = memo.get_or_try_init(|| {
            let others = self
                .entries()
                .iter()
                .filter(|entry| !same_header(entry, &UPGRADE) && !same_header(entry, &CONNECTION));
            complete(cf, others.copied().collect(), forwarded)
        });
        Ok(GuardedHeaders { list: *list?, upgrade: None, connection: self.connection(cf)? })
    }

    /// The list for the guarded location that this list stands in: what it says itself, stays. `variable` takes the
    /// place of an Upgrade that is to be checked for each request, and the guard's Connection that of one which is
    /// there to keep connections to the backend, or to end them.
    pub fn guarded_own(
        &self,
        cf: &mut ngx_conf_t,
        forwarded: Forwarded,
        variable: ngx_str_t,
    ) -> Result<GuardedHeaders, ConfigurationError> {
        let mut connections = self.entries().iter().filter(|it| same_header(it, &CONNECTION));
        let connection = match connections.next() {
            Some(first) if is_of_keepalive(first) && connections.all(is_of_keepalive) => {
                Some(compile(cf, first.value)?)
            }
            _ => None,
        };
        let is_checked =
            |entry: &ngx_keyval_t| same_header(entry, &UPGRADE) && may_be_the_clients(entry.value);
        let mut own = None;
        let mut entries = Vec::with_capacity(self.entries().len());
        for entry in self.entries() {
            if connection.is_some() && same_header(entry, &CONNECTION) {
                continue;
            }
            let checked = ngx_keyval_t { value: variable, ..*entry };
            match own {
                _ if !is_checked(entry) => entries.push(*entry),
                None => {
                    own = Some((compile(cf, entry.value)?, entry.value.as_bytes()));
                    entries.push(checked);
                }
                // nginx sends a line that is there twice two times.
                Some((_, first)) if first == entry.value.as_bytes() => entries.push(checked),
                Some(_) => {}
            }
        }
        Ok(GuardedHeaders {
            list: complete(cf, entries, forwarded)?,
            upgrade: own.map(|(value, _)| value),
            connection,
        })
    }
}

/// What becomes of a list in a guarded location.
pub struct GuardedHeaders {
    pub list: NonNull<ngx_array_t>,
    /// The location's own value of Upgrade, if that is checked for each request.
    pub upgrade: Option<OwnUpgrade>,
    /// The value of Connection for requests that are no upgrades, if the list has one.
    pub connection: Option<NonNull<ngx_http_complex_value_t>>,
}

/// Whether a Connection is that of a recipe for keepalive, or nginx's default, and says nothing of upgrades.
fn is_of_keepalive(connection: &ngx_keyval_t) -> bool {
    let value = connection.value.as_bytes();
    value.is_empty() || value.eq_ignore_ascii_case(b"close")
}

/// Adds the guard's headers to `entries`, except those that are there.
fn complete(
    cf: &ngx_conf_t,
    mut entries: Vec<ngx_keyval_t>,
    forwarded: Forwarded,
) -> Result<NonNull<ngx_array_t>, AllocationFailed> {
    for header in [UPGRADE, CONNECTION].iter().chain(forwarded.headers()) {
        if !entries.iter().any(|entry| same_header(entry, header)) {
            entries.push(*header);
        }
    }
    array_of(cf, entries.into_iter())
}

/// Whether a value of Upgrade can hold what the client sent and the gate did not let pass. A constant is the
/// operator's. `$http_upgrade` is reduced by the gate to what is allowed, but also has a value in
/// subrequests, which are never upgrades.
pub fn may_be_the_clients(value: ngx_str_t) -> bool {
    const KNOWN: [&[u8]; 2] = [b"$websocket_guard_upgrade", b"${websocket_guard_upgrade}"];
    let value = value.as_bytes();
    value.contains(&b'$') && !KNOWN.contains(&value)
}

/// The values of Upgrade in a list that are the operator's own.
pub fn constant_upgrades(entries: &[ngx_keyval_t]) -> impl Iterator<Item = &[u8]> {
    let upgrades = entries.iter().filter(|entry| same_header(entry, &UPGRADE));
    upgrades.map(|entry| entry.value.as_bytes()).filter(|value| !value.contains(&b'$'))
}

fn same_header(a: &ngx_keyval_t, b: &ngx_keyval_t) -> bool {
    a.key.as_bytes().eq_ignore_ascii_case(b.key.as_bytes())
}
