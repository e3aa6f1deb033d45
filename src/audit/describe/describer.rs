//! What all parts of the description share.

#[cfg(ngx_feature = "pcre")]
use core::ptr;
use std::collections::HashMap;

use ngx::ffi::ngx_array_t;
#[cfg(ngx_feature = "pcre")]
use ngx::ffi::{ngx_http_regex_t, ngx_regex_exec, ngx_str_t};
use typed_arena::Arena;
#[cfg(ngx_feature = "pcre")]
use websocket_guard_core::audit::model::LocationRegex;
use websocket_guard_core::audit::model::{
    Asked, Header, Listener, Location, Rewrite, Subrequest, Upstream, Value,
};
use websocket_guard_core::config::{Node, Variables};
use websocket_guard_core::words::SetAt;

use super::upstreams::Upstreams;
use crate::configuration::conf::MainConf;

/// What is known while a configuration is described.
pub struct Describer<'a> {
    pub main: &'a MainConf,
    pub variables: Variables<'a>,
    pub nodes: Vec<Option<Node<'a>>>,
    pub arenas: &'a Arenas<'a>,
    pub upstreams: &'a Upstreams<'a>,
    /// The header lists that were described, by nginx's array.
    pub lists: HashMap<*const ngx_array_t, &'a [Header<'a>]>,
}

/// What the description refers to and nginx does not hold.
#[derive(Default)]
pub struct Arenas<'a> {
    pub headers: Arena<Header<'a>>,
    pub values: Arena<Value<'a>>,
    pub upstreams: Arena<Upstream<'a>>,
    pub listeners: Arena<Listener<'a>>,
    pub subrequests: Arena<Subrequest<'a>>,
    pub asked: Arena<Asked<'a>>,
    pub rewrites: Arena<Rewrite<'a>>,
    pub texts: Arena<&'a [u8]>,
    pub locations: Arena<Location<'a>>,
    #[cfg(ngx_feature = "pcre")]
    pub regexes: Arena<Regex>,
    pub bytes: Arena<u8>,
}

pub fn origin<'a>(node: Node<'a>, name: &[u8]) -> SetAt<'a> {
    node.inherited(name).map(|found| found.origin()).unwrap_or_default()
}

/// The regular expression of a location.
#[cfg(ngx_feature = "pcre")]
pub struct Regex(pub *mut ngx_http_regex_t);

#[cfg(ngx_feature = "pcre")]
impl LocationRegex for Regex {
    fn matches(&self, uri: &[u8]) -> bool {
        let mut uri = ngx_str_t { len: uri.len(), data: uri.as_ptr().cast_mut() };
        // SAFETY: the expression lives as long as its location; without captures nothing is kept.
        unsafe { ngx_regex_exec((*self.0).regex, &mut uri, ptr::null_mut(), 0) >= 0 }
    }
}
