//! The request as it was sent to the backend.

use core::slice;

use ngx::ffi::ngx_http_upstream_t;
use websocket_guard_core::http::head::Head;

/// The head of the request that the proxy module made (`ngx_http_proxy_create_request`); `None` if
/// nothing was made, or not by the proxy module.
///
/// # Safety
/// `upstream` must be a live request's.
pub unsafe fn sent_head(upstream: &ngx_http_upstream_t) -> Option<Head<'static>> {
    // SAFETY: the buffers of the request live in its pool, and what was written to them stays there
    // after it is sent.
    let request = unsafe {
        // There is no configuration yet if the address in proxy_pass was not to be made out.
        if upstream.conf.as_ref()?.module.as_bytes() != b"proxy" {
            return None;
        }
        let buffer = upstream.request_bufs.as_ref()?.buf.as_ref()?;
        let length = usize::try_from(buffer.last.offset_from(buffer.start)).ok()?;
        slice::from_raw_parts(buffer.start, length)
    };
    Some(Head::new(request))
}
