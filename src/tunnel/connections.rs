//! A request that is a tunnel: nginx's two connections, what its location sets for them, and the memory
//! that its bytes are read into.

use core::ptr::{self, NonNull};
use core::slice;

use ngx::ffi::{
    ngx_buf_t, ngx_http_output_filter, ngx_http_upstream_conf_t, ngx_http_upstream_t, ngx_int_t,
    ngx_msec_t, ngx_pfree, NGX_ERROR, NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_REQUEST_TIME_OUT,
};
use websocket_guard_core::frame::Reserved;
use websocket_guard_core::http::field;
use websocket_guard_core::http::token::same;

use super::buffer;
use super::direction::Direction;
use super::side::{Broken, Side};
use crate::nginx::{fields, AllocationFailed};
use crate::request::record::Record;
use crate::request::view::Request;

/// The longest header of a frame (RFC 6455 section 5.2): room for it lets a message as large as the
/// buffer be read at once.
const FRAME_HEADER: usize = 14;

/// Where buffers without room point to. It is never written to.
static NOTHING: u8 = 0;

/// A request that is a tunnel, while nginx is in one of its handlers: until then it cannot be finalized.
pub struct Tunnel {
    pub request: Request,
    pub upstream: NonNull<ngx_http_upstream_t>,
    pub client: Side,
    pub backend: Side,
}

impl Tunnel {
    /// How many times it is read from before others have their turn.
    pub const READS: usize = 4;

    /// `None` if the request has no upstream, or has lost a connection.
    pub fn of(request: Request) -> Option<Self> {
        let upstream = request.upstream()?;
        // SAFETY: a request and its upstream have their connections until they are finalized.
        unsafe {
            let client = Side::new(request.raw().connection)?;
            let backend = Side::new((*upstream.as_ptr()).peer.connection)?;
            Some(Self { request, upstream, client, backend })
        }
    }

    /// Where bytes come from, and where they go to.
    pub fn sides(&self, direction: Direction) -> (Side, Side) {
        match direction {
            Direction::ToBackend => (self.client, self.backend),
            Direction::ToClient => (self.backend, self.client),
        }
    }

    /// What nginx will finalize the request with (`ngx_http_upstream_process_upgraded`).
    pub fn code(&self) -> ngx_int_t {
        if self.client.write_event().timedout() != 0 {
            NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t
        } else if self.timed_out() {
            NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t
        } else {
            0
        }
    }

    /// Whether a limit of time has passed that ends a tunnel.
    pub fn timed_out(&self) -> bool {
        self.client.write_event().timedout() != 0
            || self.backend.read_event().timedout() != 0
            || self.backend.write_event().timedout() != 0
    }

    /// The 101 goes before the tunnel's bytes, should it not have been sent yet.
    pub fn send_header(&self) -> Result<(), Broken> {
        // SAFETY: the request is live.
        match unsafe { ngx_http_output_filter(self.request.as_ptr(), ptr::null_mut()) } {
            rc if rc == NGX_ERROR as ngx_int_t => Err(Broken),
            _ => {
                self.client.free_tls_buffer();
                Ok(())
            }
        }
    }

    /// The worker's buffer, to read into.
    #[inline(always)]
    pub fn borrow_buffer(&self) -> Result<buffer::Loan, AllocationFailed> {
        let main = self.request.main_conf().ok_or(AllocationFailed)?;
        buffer::borrow(main.buffer_size() + FRAME_HEADER, self.client.log())
    }

    /// What came with the header of the request or of the answer, and belongs to the tunnel.
    ///
    /// # Safety
    /// The bytes must be done with before they are asked for again, and before [`Tunnel::empty_buffers`].
    pub unsafe fn leftover<'b>(&self, direction: Direction) -> &'b mut [u8] {
        // SAFETY: the request of a tunnel and its upstream are live. nginx writes into these buffers
        // no more, and there is one reference to their bytes at a time.
        unsafe {
            match direction {
                Direction::ToBackend => unread(&*(*self.request.as_ptr()).header_in),
                Direction::ToClient => unread(&(*self.upstream.as_ptr()).buffer),
            }
        }
    }

    /// Leaves nothing in nginx's buffers, and no room either: a call of its loop does nothing. The
    /// header's buffer is as large as a read of nginx's loop; its memory is there for the next connection.
    pub fn empty_buffers(&self) {
        let (r, u) = (self.request.as_ptr(), self.upstream.as_ptr());
        // SAFETY: the request of a tunnel and its upstream are live; the buffer of the upstream was made in
        // the request's pool (`ngx_http_upstream_process_header`), and nothing else points into it.
        unsafe {
            (*(*r).header_in).pos = (*(*r).header_in).last;
            ngx_pfree((*r).pool, (*u).buffer.start.cast());
            empty(&mut (*u).buffer);
            empty(&mut (*u).from_client);
        }
    }

    /// The reserved bits that the tunnel's extensions use; `None` if it does not speak WebSocket.
    pub fn reserved_bits(&self) -> Option<Reserved> {
        // SAFETY: the upstream belongs to the live request, and so do its headers.
        let upstream: &'static ngx_http_upstream_t = unsafe { &*self.upstream.as_ptr() };
        let [mut upgrade, extensions] = field::find(
            fields(&upstream.headers_in.headers),
            ["Upgrade", "Sec-WebSocket-Extensions"],
        );
        let speaks = upgrade.next().is_some_and(|protocol| same(protocol, b"websocket"));
        speaks.then(|| Reserved::negotiated(extensions))
    }

    /// Whether an end that comes from elsewhere is told to the other side.
    pub fn closes(&self) -> bool {
        self.request.location().is_some_and(|conf| conf.closes())
    }

    /// What the access log will tell.
    pub fn record(&self) -> Option<&'static Record> {
        Record::of(&self.request)
    }

    /// For `$upstream_bytes_received`.
    pub fn count_received(&self, bytes: usize) {
        // SAFETY: an upstream has a state once it was connected.
        unsafe {
            if let Some(state) = (*self.upstream.as_ptr()).state.as_mut() {
                state.bytes_received += bytes as ngx::ffi::off_t;
            }
        }
    }

    /// The limits of time of the backend's side.
    fn upstream_conf(&self) -> Result<&ngx_http_upstream_conf_t, Broken> {
        // SAFETY: the upstream's configuration outlives it.
        unsafe { (*self.upstream.as_ptr()).conf.as_ref() }.ok_or(Broken)
    }

    /// Waits for whatever may happen next. Traffic in either direction starts the idle time anew, which
    /// begins so many milliseconds later where a message is held back for that long.
    #[inline(always)]
    pub fn watch(&self, hold: ngx_msec_t) -> Result<(), Broken> {
        for direction in Direction::BOTH {
            let (_, to) = self.sides(direction);
            if !to.takes() {
                self.watch_write(direction)?;
            }
        }
        let idle = self.upstream_conf()?.read_timeout.saturating_add(hold);
        self.backend.watch_read(Some(idle))?;
        self.client.watch_read(None)
    }

    /// Waits until one side takes more.
    #[inline(never)]
    pub fn watch_write(&self, direction: Direction) -> Result<(), Broken> {
        match direction {
            Direction::ToBackend => {
                let conf = self.upstream_conf()?;
                self.backend.watch_write(conf.send_lowat, Some(conf.send_timeout))
            }
            Direction::ToClient => {
                let core = self.request.core_location().ok_or(Broken)?;
                self.client.watch_write(core.send_lowat, Some(core.send_timeout))
            }
        }
    }

    /// Waits as [`Tunnel::watch`] does while the end is under way, which has a limit of its own.
    pub fn watch_closing(&self) -> Result<(), Broken> {
        for side in [self.client, self.backend] {
            side.watch_write(0, None)?;
            side.watch_read(None)?;
        }
        Ok(())
    }
}

/// # Safety
/// `buffer` must be one in memory whose bytes nobody else reads or writes.
unsafe fn unread<'b>(buffer: &ngx_buf_t) -> &'b mut [u8] {
    // SAFETY: what lies between the two was read from a connection, and is the caller's alone.
    unsafe {
        match usize::try_from(buffer.last.offset_from(buffer.pos)) {
            Ok(length) if length > 0 => slice::from_raw_parts_mut(buffer.pos, length),
            _ => &mut [],
        }
    }
}

/// nginx takes a buffer for set up if it has a start.
fn empty(buffer: &mut ngx_buf_t) {
    let nothing = ptr::addr_of!(NOTHING).cast_mut();
    buffer.start = nothing;
    buffer.pos = nothing;
    buffer.last = nothing;
    buffer.end = nothing;
}
