//! nginx's four handlers of a tunnel (`ngx_http_upstream_upgrade`), which are its own loop.

use ngx::ffi::{
    ngx_connection_t, ngx_http_event_handler_pt, ngx_http_upstream_handler_pt, u_char, NGX_ERROR,
};

use super::connections::Tunnel;

/// What nginx calls when something happens on a tunnel's connections.
#[derive(Clone, Copy)]
pub struct Handlers {
    pub client_read: ngx_http_event_handler_pt,
    pub client_write: ngx_http_event_handler_pt,
    pub backend_read: ngx_http_upstream_handler_pt,
    pub backend_write: ngx_http_upstream_handler_pt,
}

impl Handlers {
    /// Those that a tunnel has.
    pub fn of(tunnel: &Tunnel) -> Self {
        let (r, u) = (tunnel.request.as_ptr(), tunnel.upstream.as_ptr());
        // SAFETY: the request of a tunnel and its upstream are live until nginx finalizes it.
        unsafe {
            Self {
                client_read: (*r).read_event_handler,
                client_write: (*r).write_event_handler,
                backend_read: (*u).read_event_handler,
                backend_write: (*u).write_event_handler,
            }
        }
    }

    /// Has nginx call these.
    pub fn install(self, tunnel: &Tunnel) {
        let (r, u) = (tunnel.request.as_ptr(), tunnel.upstream.as_ptr());
        // SAFETY: as in `of`; no reference to the request or its upstream is held here.
        unsafe {
            (*r).read_event_handler = self.client_read;
            (*r).write_event_handler = self.client_write;
            (*u).read_event_handler = self.backend_read;
            (*u).write_event_handler = self.backend_write;
        }
    }

    /// nginx finds an eof or a timeout, logs it, and finalizes the request.
    pub fn end(self, tunnel: &Tunnel) {
        if let Some(handler) = self.client_read {
            // SAFETY: it is the handler that nginx had for this request, which is live.
            unsafe { handler(tunnel.request.as_ptr()) };
        }
    }

    /// nginx finds that the backend cannot be written to, and finalizes the request with an error.
    pub fn abort(self, tunnel: &Tunnel) {
        let (r, u) = (tunnel.request.as_ptr(), tunnel.upstream.as_ptr());
        // SAFETY: the request, its upstream and their connections are live; the pump has left the buffer
        // empty, and the byte that nginx finds in it is never read, since the send fails before.
        unsafe {
            let backend = tunnel.backend.as_ptr();
            (*u).from_client.last = (*u).from_client.pos.add(1);
            (*(*backend).write).set_ready(1);
            (*backend).send = Some(fail_to_send);
            if let Some(handler) = self.backend_write {
                handler(r, u);
            }
        }
    }
}

/// In place of a connection's `send`, for [`Handlers::abort`].
unsafe extern "C" fn fail_to_send(_: *mut ngx_connection_t, _: *mut u_char, _: usize) -> isize {
    NGX_ERROR as isize
}
