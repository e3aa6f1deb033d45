//! Versions of HTTP

use ngx::ffi::ngx_uint_t;
use websocket_guard_core::http::version::HttpVersion;

/// A version of HTTP as nginx keeps it: major * 1000 + minor.
pub fn http_version(version: ngx_uint_t) -> HttpVersion {
    let [major, minor] = [version / 1000, version % 1000].map(|n| u16::try_from(n).unwrap_or(0));
    HttpVersion::new(major, minor)
}
