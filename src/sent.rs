//! The request as it was sent to the backend.

use core::slice;

use ngx::ffi::ngx_http_upstream_t;
use websocket_guard_protocol::handshake::HttpVersion;
use websocket_guard_protocol::token::{trim, Lines};

/// The head of the request that the proxy module made (`ngx_http_proxy_create_request`).
#[derive(Clone, Copy)]
pub struct SentRequest(&'static [u8]);

impl SentRequest {
    /// `None` if nothing was made, or not by the proxy module.
    ///
    /// # Safety
    /// `upstream` must be a live request's.
    pub unsafe fn of(upstream: &ngx_http_upstream_t) -> Option<Self> {
        // SAFETY: the buffers of the request live in its pool, and what was written to them stays
        // there after it is sent.
        let head = unsafe {
            // There is no configuration yet if the address in proxy_pass was not to be made out.
            if upstream.conf.as_ref()?.module.as_bytes() != b"proxy" {
                return None;
            }
            let buffer = upstream.request_bufs.as_ref()?.buf.as_ref()?;
            let length = usize::try_from(buffer.last.offset_from(buffer.start)).ok()?;
            slice::from_raw_parts(buffer.start, length)
        };
        let end = head.windows(4).position(|window| window == b"\r\n\r\n")?;
        head.get(..end).map(Self)
    }

    fn lines(self) -> impl Lines<'static> {
        self.0.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }

    pub fn method(self) -> &'static [u8] {
        self.word(0)
    }

    pub fn uri(self) -> &'static [u8] {
        self.word(1)
    }

    /// The version of HTTP. The preface of HTTP/2 looks like a request, too (RFC 9113 section 3.4).
    pub fn http_version(self) -> HttpVersion {
        match self.word(2) {
            b"HTTP/1.0" => HttpVersion::Http10,
            b"HTTP/2.0" => HttpVersion::Http2,
            _ => HttpVersion::Http11,
        }
    }

    fn word(self, n: usize) -> &'static [u8] {
        let line = self.lines().next().unwrap_or_default();
        line.split(|&byte| byte == b' ').nth(n).unwrap_or_default()
    }

    /// The values of a header, line by line.
    pub fn values(self, name: &'static [u8]) -> impl Lines<'static> {
        self.lines().skip(1).filter_map(move |line| {
            let (key, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
            let value = value.strip_prefix(b":")?;
            key.eq_ignore_ascii_case(name).then(|| trim(value))
        })
    }

    /// The first value of a header.
    pub fn value(self, name: &'static [u8]) -> Option<&'static [u8]> {
        self.values(name).next()
    }
}
