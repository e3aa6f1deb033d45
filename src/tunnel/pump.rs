//! A loop of our own in place of nginx's (`ngx_http_upstream_process_upgraded`), which moves the
//! bytes in pieces of `proxy_buffer_size` and keeps two such buffers for each tunnel.
//!
//! Bytes are read into the worker's buffer and written at once. What the other side does not take
//! is kept, and until it has taken it nothing more is read. Everything else is as in nginx, and the
//! end of a tunnel is nginx's own: its handlers are still there, with empty buffers, and are called
//! when they have nothing left to do but to finalize the request.

use core::ffi::c_void;
use core::mem::size_of;
use core::ptr::{self, NonNull};
use core::slice;

use ngx::ffi::{
    ngx_buf_t, ngx_connection_t, ngx_http_event_handler_pt, ngx_http_output_filter,
    ngx_http_request_t, ngx_http_upstream_handler_pt, ngx_http_upstream_t, ngx_int_t, ngx_pfree,
    ngx_pool_cleanup_add, u_char, NGX_ERROR,
};
use websocket_guard_core::http::version::HttpVersion;

use super::buffer::{self, Backlog};
use super::side::{Broken, Side};
use super::trim;
use crate::nginx::AllocationFailed;
use crate::request::view::Request;

/// How many times a tunnel reads before others have their turn.
const READS: usize = 4;

/// The longest header of a frame (RFC 6455 section 5.2): room for it lets a message as large as the
/// buffer be read at once.
const FRAME_HEADER: usize = 14;

/// Where buffers without room point to. It is never written to.
static NOTHING: u8 = 0;

/// What is needed to move a tunnel's bytes.
pub struct Pump {
    nginx: Handlers,
    to_backend: Backlog,
    to_client: Backlog,
}

/// What nginx calls when something happens on a tunnel's connections.
#[derive(Clone, Copy)]
struct Handlers {
    client_read: ngx_http_event_handler_pt,
    client_write: ngx_http_event_handler_pt,
    backend_read: ngx_http_upstream_handler_pt,
    backend_write: ngx_http_upstream_handler_pt,
}

const HANDLERS: Handlers = Handlers {
    client_read: Some(client_read),
    client_write: Some(client_write),
    backend_read: Some(backend_read),
    backend_write: Some(backend_write),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToBackend,
    ToClient,
}

/// What comes after some bytes were moved.
enum Next {
    Wait,
    End,
}

/// Takes a tunnel over from nginx, which has just set its own handlers and will call its loop once
/// (`ngx_http_upstream_upgrade`). That call finds nothing to move and no room to read into.
///
/// Returns `None` for a tunnel that is better left to nginx.
pub fn start(request: Request) -> Result<Option<&'static Pump>, AllocationFailed> {
    let Some(tunnel) = Tunnel::of(request) else { return Ok(None) };
    let over = tunnel.client.is_done() || tunnel.backend.is_done();
    if over || request.http_version() != HttpVersion::Http11 {
        return Ok(None);
    }
    let r = request.as_ptr();
    let u = tunnel.upstream.as_ptr();

    // The worker's buffer stays for ever: it is made with the first tunnel, or else it may come to
    // lie behind the memory of many others, which then could not go back to the system.
    drop(tunnel.borrow_buffer()?);

    // SAFETY: the request and its upstream are live, and no reference to them is held.
    unsafe {
        let log = tunnel.client.log();
        let pump = Pump {
            nginx: Handlers {
                client_read: (*r).read_event_handler,
                client_write: (*r).write_event_handler,
                backend_read: (*u).read_event_handler,
                backend_write: (*u).write_event_handler,
            },
            to_backend: Backlog::of(unread(&*(*r).header_in), log)?,
            to_client: Backlog::of(unread(&(*u).buffer), log)?,
        };
        let pump = place(tunnel.backend, pump)?;

        // The header's buffer is as large as a read of nginx's loop. Its memory is there for the
        // next connection.
        (*(*r).header_in).pos = (*(*r).header_in).last;
        ngx_pfree((*r).pool, (*u).buffer.start.cast());
        empty(&mut (*u).buffer);
        empty(&mut (*u).from_client);

        (*r).read_event_handler = HANDLERS.client_read;
        (*r).write_event_handler = HANDLERS.client_write;
        (*u).read_event_handler = HANDLERS.backend_read;
        (*u).write_event_handler = HANDLERS.backend_write;

        for (side, backlog) in
            [(tunnel.client, &pump.to_backend), (tunnel.backend, &pump.to_client)]
        {
            if side.is_readable() || !backlog.is_empty() {
                side.post_read();
            }
        }
        Ok(Some(pump))
    }
}

/// Moves the pump into the pool of the backend's connection, which drops it at the end of the
/// tunnel. The request's pool is mostly full by now and would grow by 4 KiB.
fn place(backend: Side, pump: Pump) -> Result<&'static Pump, AllocationFailed> {
    // SAFETY: a connection to a backend has a pool (`ngx_http_upstream_connect`); the memory of a
    // cleanup has the size asked for and nginx's alignment.
    unsafe {
        let cleanup = ngx_pool_cleanup_add((*backend.as_ptr()).pool, size_of::<Pump>());
        let cleanup = NonNull::new(cleanup).ok_or(AllocationFailed)?.as_mut();
        let place = cleanup.data.cast::<Pump>();
        place.write(pump);
        cleanup.handler = Some(drop_pump);
        trim::opened();
        Ok(&*place)
    }
}

/// # Safety
/// Called by nginx with the pool's pump.
unsafe extern "C" fn drop_pump(pump: *mut c_void) {
    // SAFETY: guaranteed by the caller.
    unsafe { pump.cast::<Pump>().drop_in_place() };
    trim::ended();
}

/// # Safety
/// `buffer` must be one in memory.
unsafe fn unread(buffer: &ngx_buf_t) -> &[u8] {
    // SAFETY: what lies between the two was read from a connection.
    unsafe {
        match usize::try_from(buffer.last.offset_from(buffer.pos)) {
            Ok(length) if length > 0 => slice::from_raw_parts(buffer.pos, length),
            _ => &[],
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

impl Pump {
    /// What is done in nginx's handlers: moves bytes one way, and looks whether that was the end.
    fn run(&self, tunnel: &Tunnel, direction: Direction) -> Result<Next, Broken> {
        if tunnel.timed_out() {
            return Ok(Next::End);
        }
        self.transfer(tunnel, direction)?;
        if self.is_over(tunnel) {
            return Ok(Next::End);
        }
        tunnel.watch()?;
        Ok(Next::Wait)
    }

    /// Whether a chance to write changes nothing: with nearly each read comes one.
    fn has_nothing_to_write(&self, tunnel: &Tunnel, direction: Direction) -> bool {
        let (from, to, backlog) = self.way(tunnel, direction);
        backlog.is_empty() && !from.is_readable() && !to.is_buffered() && to.awaits_no_write()
    }

    /// Where bytes come from, where they go to, and what is still on its way.
    fn way(&self, tunnel: &Tunnel, direction: Direction) -> (Side, Side, &Backlog) {
        match direction {
            Direction::ToBackend => (tunnel.client, tunnel.backend, &self.to_backend),
            Direction::ToClient => (tunnel.backend, tunnel.client, &self.to_client),
        }
    }

    fn transfer(&self, tunnel: &Tunnel, direction: Direction) -> Result<(), Broken> {
        let (from, to, backlog) = self.way(tunnel, direction);
        if direction == Direction::ToClient && to.is_buffered() {
            tunnel.send_header()?;
            if to.is_buffered() {
                return Ok(());
            }
        }
        backlog.drain(|bytes| to.send(bytes))?;
        if !backlog.is_empty() || !from.is_readable() {
            return Ok(());
        }

        let mut buffer = tunnel.borrow_buffer()?;
        for _ in 0..READS {
            let Some(bytes) = from.receive(buffer.room()) else { return Ok(()) };
            if direction == Direction::ToClient {
                tunnel.count_received(bytes.len());
            }
            let (sent, end) = (to.send(bytes)?, bytes.len());
            match bytes.get(sent..) {
                // OpenSSL has begun to encrypt these bytes and wants to find them in the same
                // place when it is called again (SSL_write(3)).
                // SAFETY: they were received.
                Some([_, ..]) if to.is_tls() => unsafe { backlog.keep(buffer, sent, end) },
                Some(rest @ [_, ..]) => backlog.copy(rest, to.log())?,
                _ if from.is_readable() => continue,
                _ => {}
            }
            return Ok(());
        }
        from.post_read_last();
        Ok(())
    }

    /// Whether one side has closed and the other has all of its bytes, or both have closed.
    fn is_over(&self, tunnel: &Tunnel) -> bool {
        match (tunnel.client.is_done(), tunnel.backend.is_done()) {
            (true, true) => true,
            (true, false) => self.to_backend.is_empty(),
            (false, true) => self.to_client.is_empty(),
            (false, false) => false,
        }
    }
}

impl Handlers {
    /// nginx finds an eof or a timeout, logs it, and finalizes the request.
    fn end(&self, tunnel: &Tunnel) {
        if let Some(handler) = self.client_read {
            // SAFETY: it is the handler that nginx had for this request.
            unsafe { handler(tunnel.request.as_ptr()) };
        }
    }

    /// nginx finds that the backend cannot be written to, and finalizes the request with an error.
    fn abort(&self, tunnel: &Tunnel) {
        let r = tunnel.request.as_ptr();
        let u = tunnel.upstream.as_ptr();
        // SAFETY: the request is live. The byte is never sent.
        unsafe {
            let backend = tunnel.backend.as_ptr();
            (*u).from_client.last = (*u).from_client.pos.add(1);
            (*(*backend).write).set_ready(1);
            (*backend).send = Some(send_nothing);
            if let Some(handler) = self.backend_write {
                handler(r, u);
            }
        }
    }
}

/// A `send` that fails, for [`Handlers::abort`].
unsafe extern "C" fn send_nothing(_: *mut ngx_connection_t, _: *mut u_char, _: usize) -> isize {
    NGX_ERROR as isize
}

impl From<AllocationFailed> for Broken {
    fn from(_: AllocationFailed) -> Self {
        Broken
    }
}

/// A request that is a tunnel.
struct Tunnel {
    request: Request,
    upstream: NonNull<ngx_http_upstream_t>,
    client: Side,
    backend: Side,
}

impl Tunnel {
    fn of(request: Request) -> Option<Self> {
        let upstream = request.upstream()?;
        // SAFETY: a request and its upstream have their connections until they are finalized.
        unsafe {
            let client = Side::new(request.raw().connection)?;
            let backend = Side::new((*upstream.as_ptr()).peer.connection)?;
            Some(Self { request, upstream, client, backend })
        }
    }

    fn timed_out(&self) -> bool {
        self.client.write_event().timedout() != 0
            || self.backend.read_event().timedout() != 0
            || self.backend.write_event().timedout() != 0
    }

    /// The 101 goes before the tunnel's bytes, should it not have been sent yet.
    fn send_header(&self) -> Result<(), Broken> {
        // SAFETY: the request is live.
        match unsafe { ngx_http_output_filter(self.request.as_ptr(), ptr::null_mut()) } {
            rc if rc == NGX_ERROR as ngx_int_t => Err(Broken),
            _ => Ok(()),
        }
    }

    fn borrow_buffer(&self) -> Result<buffer::Loan, AllocationFailed> {
        let main = self.request.main_conf().ok_or(AllocationFailed)?;
        buffer::borrow(main.buffer_size() + FRAME_HEADER, self.client.log())
    }

    /// For `$upstream_bytes_received`.
    fn count_received(&self, bytes: usize) {
        // SAFETY: an upstream has a state once it was connected.
        unsafe {
            if let Some(state) = (*self.upstream.as_ptr()).state.as_mut() {
                state.bytes_received += bytes as ngx::ffi::off_t;
            }
        }
    }

    /// Waits for whatever may happen next. Traffic in either direction starts the idle time anew.
    fn watch(&self) -> Result<(), Broken> {
        let core = self.request.core_location().ok_or(Broken)?;
        // SAFETY: the upstream's configuration outlives it.
        let conf = unsafe { (*self.upstream.as_ptr()).conf.as_ref() }.ok_or(Broken)?;
        self.backend.watch_write(conf.send_lowat, conf.send_timeout)?;
        self.backend.watch_read(Some(conf.read_timeout))?;
        self.client.watch_write(core.send_lowat, core.send_timeout)?;
        self.client.watch_read(None)
    }
}

/// What nginx has seen on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Read,
    Write,
}

/// # Safety
/// `r` must be a live request, as nginx passes it to all of these handlers.
unsafe fn run(r: *mut ngx_http_request_t, direction: Direction, event: Event) {
    // SAFETY: guaranteed by the caller.
    let Some(request) = (unsafe { Request::new(r) }) else { return };
    let pump = request.attempt().and_then(|attempt| attempt.pump.get());
    if let (Some(pump), Some(tunnel)) = (pump, Tunnel::of(request)) {
        if event == Event::Write && pump.has_nothing_to_write(&tunnel, direction) {
            return;
        }
        // The pump is gone when nginx has finalized the request.
        let nginx = pump.nginx;
        match pump.run(&tunnel, direction) {
            Ok(Next::Wait) => {}
            Ok(Next::End) => nginx.end(&tunnel),
            Err(Broken) => nginx.abort(&tunnel),
        }
    }
}

unsafe extern "C" fn client_read(r: *mut ngx_http_request_t) {
    // SAFETY: called by nginx.
    unsafe { run(r, Direction::ToBackend, Event::Read) }
}

unsafe extern "C" fn client_write(r: *mut ngx_http_request_t) {
    // SAFETY: called by nginx.
    unsafe { run(r, Direction::ToClient, Event::Write) }
}

unsafe extern "C" fn backend_read(r: *mut ngx_http_request_t, _: *mut ngx_http_upstream_t) {
    // SAFETY: called by nginx.
    unsafe { run(r, Direction::ToClient, Event::Read) }
}

unsafe extern "C" fn backend_write(r: *mut ngx_http_request_t, _: *mut ngx_http_upstream_t) {
    // SAFETY: called by nginx.
    unsafe { run(r, Direction::ToBackend, Event::Write) }
}
