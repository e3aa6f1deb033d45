//! A loop of our own in place of nginx's (`ngx_http_upstream_process_upgraded`), which moves the
//! bytes in pieces of `proxy_buffer_size` and keeps two such buffers for each tunnel.
//!
//! Bytes are read into the worker's buffer and written at once. What the other side does not take
//! is kept, and until it has taken it nothing more is read. Everything else is as in nginx, and the
//! end of a tunnel is nginx's own: its handlers are still there, with empty buffers, and are called
//! when they have nothing left to do but to finalize the request.
//!
//! On their way the bytes are looked at as frames, header by header ([`Lane`]), and where a tunnel ends a
//! side that has had no Close gets one of the guard's ([`Closing`]).

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::{size_of, MaybeUninit};
use core::ptr::{self, NonNull};
use core::slice;

use ngx::ffi::{
    ngx_buf_t, ngx_connection_t, ngx_cycle_t, ngx_http_event_handler_pt, ngx_http_output_filter,
    ngx_http_request_t, ngx_http_upstream_handler_pt, ngx_http_upstream_t, ngx_int_t, ngx_msec_t,
    ngx_pfree, ngx_pool_cleanup_add, u_char, NGX_ERROR, NGX_HTTP_GATEWAY_TIME_OUT,
    NGX_HTTP_REQUEST_TIME_OUT,
};
use ngx::http::HttpModule;
use websocket_guard_core::diagnosis::{End, FrameError};
use websocket_guard_core::frame::{CloseCode, Reserved, Role, Tail};
use websocket_guard_core::http::field;
use websocket_guard_core::http::token::same;
use websocket_guard_core::http::version::HttpVersion;

use super::buffer::{self, Backlog};
use super::clock::{is_past, later, up_to};
use super::closing::{close_frame, fresh_key, Closing, Codes, Farewell, PATIENCE};
use super::end::{conclude, observe, Frames, How};
use super::frames::{Lane, Notice};
use super::leaving;
use super::own::Own;
use super::ping::{Asked, Due};
use super::side::{Broken, Side};
use super::trim;
use super::watch::{Turn, Watch};
use crate::configuration::conf::GuardFilter;
use crate::configuration::tunnels::Drain;
use crate::nginx::{fields, AllocationFailed};
use crate::request::record::{Carried, Record};
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
    from_client: Lane,
    from_backend: Lane,
    /// What it waits for, if anything.
    watch: Cell<Option<Own<Watch>>>,
    /// The end, while it is under way.
    closing: Cell<Option<Own<Closing>>>,
}

// An idle tunnel may not cost much: what was there before, two trackers, and little more.
const _: () = assert!(size_of::<Pump>() <= 96 + 64 + 32);

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
    /// A frame is refused.
    Refuse(FrameError),
}

/// Takes a tunnel over from nginx, which has just set its own handlers and will call its loop once
/// (`ngx_http_upstream_upgrade`). That call finds nothing to move and no room to read into.
///
/// A tunnel that is better left to nginx is. With `looks` its frames are looked at, if it has any.
pub fn start(request: Request, looks: bool) -> Result<(), AllocationFailed> {
    let Some(tunnel) = Tunnel::of(request) else { return Ok(()) };
    let over = tunnel.client.is_done() || tunnel.backend.is_done();
    if over || request.http_version() != HttpVersion::Http11 {
        return Ok(());
    }
    let r = request.as_ptr();
    let u = tunnel.upstream.as_ptr();

    // The worker's buffer stays for ever: it is made with the first tunnel, or else it may come to
    // lie behind the memory of many others, which then could not go back to the system.
    drop(tunnel.borrow_buffer()?);

    let reserved = if looks { tunnel.reserved_bits() } else { None };

    // SAFETY: the request and its upstream are live, and no reference to them is held.
    unsafe {
        let pump = Pump {
            nginx: Handlers {
                client_read: (*r).read_event_handler,
                client_write: (*r).write_event_handler,
                backend_read: (*u).read_event_handler,
                backend_write: (*u).write_event_handler,
            },
            to_backend: Backlog::default(),
            to_client: Backlog::default(),
            from_client: Lane::new(Role::Client, reserved),
            from_backend: Lane::new(Role::Server, reserved),
            watch: Cell::new(None),
            closing: Cell::new(None),
        };
        let pump = place(tunnel.backend, pump)?;
        // What came with the header of the request, and of the answer.
        let leftovers = [
            (Direction::ToBackend, unread(&mut *(*r).header_in)),
            (Direction::ToClient, unread(&mut (*u).buffer)),
        ];
        for (direction, bytes) in leftovers {
            pump.take_leftover(&tunnel, direction, bytes)?;
        }

        // The header's buffer is as large as a read of nginx's loop. Its memory is there for the
        // next connection.
        (*(*r).header_in).pos = (*(*r).header_in).last;
        ngx_pfree((*r).pool, (*u).buffer.start.cast());
        empty(&mut (*u).buffer);
        empty(&mut (*u).from_client);

        if reserved.is_some() {
            pump.begin_watch(&tunnel)?;
        }

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
        pump.keep(&request);
    }
    Ok(())
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

/// Has a tunnel attended to, soon and where nginx calls its handlers.
fn call(request: Request) {
    let pump = Pump::of(&request);
    if let (Some(watch), Some(tunnel)) = (pump.and_then(Pump::watch), Tunnel::of(request)) {
        watch.set_due();
        tunnel.client.post_read();
    }
}

/// Has all tunnels of this worker closed, each within the time that its location says, since it leaves.
fn drain_all(cycle: &ngx_cycle_t) {
    requests(cycle).for_each(drain);
}

/// Has a tunnel closed within the time that its location says, since its worker leaves.
fn drain(request: Request) {
    let pump = Pump::of(&request);
    let conf = request.location().and_then(|conf| conf.drain());
    let (Some(pump), Some(conf), Some(tunnel)) = (pump, conf, Tunnel::of(request)) else { return };
    if !pump.is_closing() && pump.carried(Role::Client).is_some() {
        // Without memory the tunnel stays, as without this directive.
        let _ = pump.begin_drain(&tunnel, conf);
    }
}

/// The requests of a worker that have a pump: those whose connection to the backend has one in its pool.
pub fn requests(cycle: &ngx_cycle_t) -> impl Iterator<Item = Request> + '_ {
    let count = if cycle.connections.is_null() { 0 } else { cycle.connection_n };
    (0..count).filter_map(|n| {
        // SAFETY: a worker has that many connections; one that is open has null or a live pool, whose
        // cleanups are a linked list. Data of a backend's connection is its request.
        unsafe {
            let connection = &*cycle.connections.add(n);
            if connection.fd == -1 {
                return None;
            }
            let mut cleanup = connection.pool.as_ref()?.cleanup;
            while let Some(entry) = cleanup.as_ref() {
                let is_pump = |handler| handler as usize == drop_pump as *const () as usize;
                if entry.handler.is_some_and(is_pump) {
                    return Request::new(connection.data.cast());
                }
                cleanup = entry.next;
            }
            None
        }
    })
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
unsafe fn unread(buffer: &mut ngx_buf_t) -> &mut [u8] {
    // SAFETY: what lies between the two was read from a connection.
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

/// The pump of a tunnel is the filter module's context of its request, from its beginning until nginx
/// finalizes the request; nothing clears the contexts in between.
impl Pump {
    #[inline]
    pub fn of(request: &Request) -> Option<&'static Pump> {
        // SAFETY: the array has a place for each HTTP module; this one's holds null or a pump.
        unsafe { (*Self::place(request)).cast::<Pump>().as_ref() }
    }

    fn keep(&'static self, request: &Request) {
        // SAFETY: as above; the pump lives as long as the backend's connection.
        unsafe { *Self::place(request) = ptr::from_ref(self).cast_mut().cast() };
    }

    /// Its connections are about to go.
    pub fn forget(request: &Request) {
        // SAFETY: as above.
        unsafe { *Self::place(request) = ptr::null_mut() };
    }

    fn place(request: &Request) -> *mut *mut c_void {
        request.raw().ctx.wrapping_add(GuardFilter::module().ctx_index)
    }
}

impl Pump {
    /// What is done in nginx's handlers: moves bytes one way, and looks whether that was the end.
    fn run(&self, tunnel: &Tunnel, direction: Direction) -> Result<Next, Broken> {
        if tunnel.timed_out() {
            return Ok(Next::End);
        }
        if self.has_told(tunnel, direction) {
            // What comes after the Close that the client was sent is not for it.
            if let (true, Some(watch)) = (self.discard(tunnel, direction)?, self.watch()) {
                watch.backend_closed.set(true);
            }
        } else if let Some(error) = self.transfer(tunnel, direction)? {
            return Ok(Next::Refuse(error));
        } else if self.is_draining() && direction == Direction::ToClient {
            self.tell(tunnel)?;
        }
        if self.is_over(tunnel) || self.is_drained() {
            return Ok(Next::End);
        }
        self.try_to_ping(tunnel, direction.opposite().sender())?;
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

    /// The frames that go this way.
    fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::ToBackend => &self.from_client,
            Direction::ToClient => &self.from_backend,
        }
    }

    fn transfer(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
    ) -> Result<Option<FrameError>, Broken> {
        let (from, to, backlog) = self.way(tunnel, direction);
        if direction == Direction::ToClient && to.is_buffered() {
            tunnel.send_header()?;
            if to.is_buffered() {
                return Ok(None);
            }
        }
        backlog.drain(|bytes| to.send(bytes))?;
        if !backlog.is_empty() || !from.is_readable() {
            return Ok(None);
        }

        let lane = self.lane(direction);
        let stops = self.stops(direction);
        let mut buffer = tunnel.borrow_buffer()?;
        for _ in 0..READS {
            let front = if lane.has_front() { lane.put_front(buffer.room()) } else { 0 };
            let Some(bytes) = from.receive(tunnel.room(&mut buffer, front)) else {
                self.let_go(tunnel, direction)?;
                return Ok(None);
            };
            let received = bytes.len();
            if let Some(asked) = self.asked(direction.sender()) {
                asked.hear();
            }
            if direction == Direction::ToClient {
                tunnel.count_received(received);
            }
            let (start, end, error) = if front == 0 && !stops && lane.pass(bytes) {
                (0, received, None)
            } else {
                // SAFETY: what was put in front, and what was received behind it.
                self.look(tunnel, direction, unsafe { buffer.written(front + received) })?
            };
            // SAFETY: as above, or less.
            let bytes = unsafe { buffer.written(end) }.get(start..).unwrap_or_default();
            let sent = to.send(bytes)?;
            match bytes.get(sent..) {
                // OpenSSL has begun to encrypt these bytes and wants to find them in the same
                // place when it is called again (SSL_write(3)).
                // SAFETY: they were received.
                Some([_, ..]) if to.is_tls() => unsafe { backlog.keep(buffer, start + sent, end) },
                Some(rest @ [_, ..]) => backlog.copy(rest, to.log())?,
                _ if from.is_readable() && error.is_none() && !stops => continue,
                _ => {}
            }
            return Ok(error);
        }
        from.post_read_last();
        Ok(None)
    }

    /// The slow way of bytes: which of them are to be passed on, and the frame that is refused.
    #[inline(never)]
    fn look(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        bytes: &mut [u8],
    ) -> Result<(usize, usize, Option<FrameError>), AllocationFailed> {
        let lane = self.lane(direction);
        let sender = direction.sender();
        let request = &tunnel.request;
        let stops = self.stops(direction);
        let asked = self.asked(sender);
        let pings = asked.map(Asked::pings);
        let log = tunnel.client.log();
        let passed = lane.look(bytes, log, stops, pings.as_ref(), |notice| match notice {
            Notice::Close(close) => {
                if let Some(record) = Record::of(request) {
                    record.note_close(request, sender, &close);
                }
            }
            Notice::Ping => {
                if let Some(other) = self.asked(direction.opposite().sender()) {
                    other.note_foreign_ping();
                }
            }
            Notice::Answer(number) => {
                if let Some(asked) = asked {
                    asked.note_answer(number);
                }
            }
        })?;
        let Some(violation) = passed.violation else {
            return Ok((passed.start, passed.end, None));
        };
        let is_end = request.location().is_some_and(|conf| conf.refuses_frames());
        let error = FrameError { sender, violation, is_end };
        if is_end {
            return Ok((passed.start, passed.end, Some(error)));
        }
        let is_first = !self.lane(direction.opposite()).tracker().is_lost();
        lane.give_up();
        if is_first {
            observe(request, End::FrameError(error));
        }
        Ok((passed.start, passed.length, None))
    }

    /// What came before the tunnel began.
    fn take_leftover(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        bytes: &mut [u8],
    ) -> Result<(), AllocationFailed> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (from, to, backlog) = self.way(tunnel, direction);
        let (start, end, error) = self.look(tunnel, direction, bytes)?;
        let passed = bytes.get(start..end).unwrap_or_default();
        if !passed.is_empty() {
            backlog.copy(passed, to.log())?;
        }
        if let Some(error) = error {
            // nginx is still setting up the tunnel, and cannot end it here.
            self.conclude(tunnel, How::Known(End::FrameError(error)));
            self.plan(tunnel, End::FrameError(error), false)?;
            from.post_read();
        }
        Ok(())
    }

    /// If nothing more will come, what was held back is passed on, unless a Close of ours can take its
    /// place.
    fn let_go(&self, tunnel: &Tunnel, direction: Direction) -> Result<(), Broken> {
        let (from, to, backlog) = self.way(tunnel, direction);
        let lane = self.lane(direction);
        if !from.is_done() || !lane.has_front() {
            return Ok(());
        }
        let closes = tunnel.closes() && lane.tracker().may_inject();
        if let Some(held) = lane.take_held().filter(|_| !closes) {
            backlog.copy(held.bytes(), to.log())?;
            backlog.drain(|bytes| to.send(bytes))?;
        }
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

    /// What it waits for, if anything.
    #[inline(always)]
    fn watch(&self) -> Option<&Watch> {
        // SAFETY: a worker has one thread, and it is not replaced before the pump is dropped.
        unsafe { &*self.watch.as_ptr() }.as_deref()
    }

    fn need_watch(&self, tunnel: &Tunnel) -> Result<&Watch, AllocationFailed> {
        if self.watch().is_none() {
            let ping = tunnel.request.location().and_then(|conf| conf.ping());
            let watch = Own::new(Watch::new(tunnel.request, call, ping), tunnel.client.log())?;
            self.watch.set(Some(watch));
        }
        self.watch().ok_or(AllocationFailed)
    }

    /// What the directives want to happen later.
    fn begin_watch(&self, tunnel: &Tunnel) -> Result<(), AllocationFailed> {
        let Some(conf) = tunnel.request.location() else { return Ok(()) };
        if let Some(lifetime) = conf.lifetime().and_then(|it| it.of(&tunnel.request)) {
            let watch = self.need_watch(tunnel)?;
            watch.lifetime.set(Some(later(lifetime)));
            // SAFETY: it lies in memory of its own until it is dropped.
            unsafe { watch.wait() };
        }
        if let Some(ping) = conf.ping() {
            let watch = self.need_watch(tunnel)?;
            watch.ping.set(Some(later(ping.interval)));
            // SAFETY: as above.
            unsafe { watch.wait() };
        }
        match conf.drain() {
            Some(drain) if leaving::has_begun() => self.begin_drain(tunnel, drain)?,
            Some(_) => leaving::learn(tunnel.client.log(), drain_all),
            None => {}
        }
        Ok(())
    }

    /// A side that is asked whether it is there.
    #[inline(always)]
    fn asked(&self, side: Role) -> Option<&Asked> {
        self.watch()?.asked(side)
    }

    /// How long the last Pong of a side took, in milliseconds.
    pub fn round_trip(&self, side: Role) -> Option<ngx_msec_t> {
        self.asked(side)?.round_trip()
    }

    /// Asks the sides that were silent for too long. Returns the end of a tunnel with a side that does not answer.
    fn ask(&self, tunnel: &Tunnel, watch: &Watch) -> Result<Option<End>, Broken> {
        let Some(conf) = tunnel.request.location().and_then(|conf| conf.ping()) else {
            return Ok(None);
        };
        let mut next: Option<ngx_msec_t> = None;
        for (side, dead) in [(Role::Client, End::ClientDead), (Role::Server, End::BackendDead)] {
            let Some(asked) = watch.asked(side) else { continue };
            let (from, _, backlog) = self.way(tunnel, Direction::from(side));
            if !backlog.is_empty() {
                // Nobody reads what it sends.
                asked.hear();
            }
            if asked.due(conf) == Due::Dead {
                if !from.is_slow(conf.timeout.unwrap_or(0)) {
                    return Ok(Some(dead));
                }
                asked.be_patient();
            }
            if asked.due(conf) == Due::Ping {
                asked.set_pending(true);
                self.try_to_ping(tunnel, side)?;
            }
            let moment = match asked.due(conf) {
                Due::At(moment) => moment,
                Due::Ping | Due::Dead => later(conf.interval),
            };
            next = Some(next.map_or(moment, |next| next.min(moment)));
        }
        watch.ping.set(next);
        Ok(None)
    }

    /// Sends a Ping that is pending, if there is a place for it now.
    fn try_to_ping(&self, tunnel: &Tunnel, side: Role) -> Result<(), Broken> {
        let Some(asked) = self.asked(side).filter(|asked| asked.is_pending()) else {
            return Ok(());
        };
        let direction = Direction::from(side).opposite();
        let (from, to, backlog) = self.way(tunnel, direction);
        let (ours, theirs) =
            (self.lane(direction).tracker(), self.lane(direction.opposite()).tracker());
        if ours.is_closed() || ours.is_lost() || theirs.is_lost() || from.is_done() || to.is_done()
        {
            asked.put_off();
            return Ok(());
        }
        if !ours.may_inject() || !backlog.is_empty() || to.is_buffered() {
            return Ok(());
        }
        let frame = asked.next((side == Role::Server).then(fresh_key));
        backlog.copy(&frame, to.log())?;
        backlog.drain(|bytes| to.send(bytes))?;
        if !backlog.is_empty() {
            tunnel.watch_write(direction)?;
        }
        Ok(())
    }

    fn begin_drain(&self, tunnel: &Tunnel, conf: Drain) -> Result<(), AllocationFailed> {
        let watch = self.need_watch(tunnel)?;
        if watch.drain.get() == Turn::Off {
            watch.drain.set(Turn::At(later(up_to(conf.spread))));
            // SAFETY: it lies in memory of its own until it is dropped.
            unsafe { watch.wait() };
        }
        Ok(())
    }

    /// Does what is due. Returns whether the tunnel has ended.
    #[cold]
    fn attend(&self, tunnel: &Tunnel, watch: &Watch) -> bool {
        let end = match watch.drain.get() {
            Turn::At(moment) if is_past(moment) => {
                let wait = tunnel.request.location().and_then(|conf| conf.drain());
                let until = later(wait.map_or(0, |drain| drain.wait));
                watch.drain.set(Turn::Under { until });
                self.conclude(tunnel, How::Known(End::Drained));
                leaving::note_drained();
                self.tell(tunnel).is_err().then_some(End::Drained)
            }
            Turn::Under { until } if is_past(until) => {
                if !self.from_client.tracker().is_closed() {
                    leaving::note_unanswered();
                }
                Some(End::Drained)
            }
            Turn::Under { .. } => None,
            _ if watch.lifetime.get().is_some_and(is_past) => Some(End::Lifetime),
            _ => match self.ask(tunnel, watch) {
                Ok(end) => end,
                Err(Broken) => {
                    self.end(tunnel, How::Found(NGX_ERROR as ngx_int_t), true);
                    return true;
                }
            },
        };
        if let Some(end) = end {
            self.end(tunnel, How::Known(end), false);
            return true;
        }
        // SAFETY: it lies in memory of its own until it is dropped.
        unsafe { watch.wait() };
        false
    }

    #[inline(always)]
    fn is_draining(&self) -> bool {
        self.watch().is_some_and(Watch::is_draining)
    }

    /// Whether both sides of a tunnel that is drained have sent their Close, and the backend has that of the client.
    #[inline(always)]
    fn is_drained(&self) -> bool {
        self.watch().is_some_and(|watch| watch.backend_closed.get())
            && self.from_client.tracker().is_closed()
            && self.to_backend.is_empty()
    }

    /// Whether bytes this way go no further than to the end of a frame: the Close of a drain is to follow.
    #[inline(always)]
    fn stops(&self, direction: Direction) -> bool {
        direction == Direction::ToClient && self.is_draining()
    }

    /// Whether the client of a tunnel that is drained has been told.
    #[inline(always)]
    fn has_told(&self, tunnel: &Tunnel, direction: Direction) -> bool {
        self.stops(direction)
            && self.lane(direction).tracker().is_closed()
            && self.to_client.is_empty()
            && !tunnel.client.is_buffered()
    }

    /// Tells the client of a tunnel that is drained to close, once that is possible.
    fn tell(&self, tunnel: &Tunnel) -> Result<(), Broken> {
        let code = tunnel.request.location().and_then(|conf| conf.drain()).map(|it| it.code);
        let may = self.from_backend.tracker().may_inject();
        if may && self.to_client.is_empty() && !tunnel.client.is_buffered() {
            self.send_close(tunnel, Direction::ToClient, code)?;
        }
        Ok(())
    }

    /// Sends a Close, or keeps what is left of it.
    fn send_close(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        code: Option<CloseCode>,
    ) -> Result<(), Broken> {
        let (_, to, backlog) = self.way(tunnel, direction);
        let key = (direction == Direction::ToBackend).then(fresh_key);
        let frame = close_frame(code, key).ok_or(Broken)?;
        backlog.copy(&frame, to.log())?;
        self.lane(direction).close();
        if let Some(record) = tunnel.record() {
            record.note_own_close(code);
        }
        backlog.drain(|bytes| to.send(bytes))
    }

    /// Whether its end is under way.
    #[inline(always)]
    fn is_closing(&self) -> bool {
        // SAFETY: a worker has one thread, and the reference is not kept.
        unsafe { &*self.closing.as_ptr() }.is_some()
    }

    /// What the frames tell of an end.
    pub fn frames(&self) -> Frames {
        let has_tracked = |sender: Role| !self.lane(Direction::from(sender)).tracker().is_lost();
        Frames {
            client_tracked: has_tracked(Role::Client),
            backend_tracked: has_tracked(Role::Server),
            // Bytes wait for the side that closed later.
            client_first: self.to_client.is_empty(),
        }
    }

    /// What came from one side, if its frames were looked at.
    pub fn carried(&self, sender: Role) -> Option<Carried> {
        let tracker = self.lane(Direction::from(sender)).tracker();
        let carried = Carried { messages: tracker.messages(), bytes: tracker.payload() };
        let is_known = !tracker.is_lost() || carried.messages > 0 || carried.bytes > 0;
        is_known.then_some(carried)
    }

    /// What happens when nothing is left to be moved.
    fn end(&self, tunnel: &Tunnel, how: How, is_failure: bool) {
        let end = self.conclude(tunnel, how);
        // The guard makes these ends; others come from elsewhere.
        let made = |end| matches!(end, End::FrameError(_) | End::Lifetime | End::Drained);
        let accompanied = end.is_some_and(made) || tunnel.closes();
        if let Some(end) = end.filter(|_| accompanied) {
            if self.plan(tunnel, end, is_failure).is_ok() {
                return self.accompany(tunnel);
            }
        }
        self.finish(tunnel, is_failure);
    }

    fn conclude(&self, tunnel: &Tunnel, how: How) -> Option<End> {
        conclude(&tunnel.request, how, Some(self.frames()))
    }

    /// What the two sides are still to be told.
    fn plan(&self, tunnel: &Tunnel, end: End, is_failure: bool) -> Result<(), AllocationFailed> {
        let codes = self.codes(tunnel, end);
        let closing = Closing { is_failure, codes };
        self.closing.set(Some(Own::new(closing, tunnel.client.log())?));
        tunnel.client.stop_timers();
        tunnel.backend.stop_timers();
        tunnel.client.read_within(PATIENCE);
        Ok(())
    }

    /// Who can be told something.
    fn codes(&self, tunnel: &Tunnel, end: End) -> Codes {
        let record = tunnel.request.attempt().and_then(|attempt| attempt.record.get());
        let codes = Codes::of(end, record.and_then(|record| record.first_close()));
        let first_sender = record.and_then(Record::first_close).and_then(|close| close.sender);
        let able = |farewell, side: Side, direction: Direction| {
            let gone = side.is_done() || side.has_failed();
            let may = self.lane(direction).tracker().may_inject();
            match farewell {
                Farewell::Pending { code, .. } if may && !gone => {
                    let its = direction.opposite().sender();
                    Farewell::Pending { code, has_closed: first_sender == Some(its) }
                }
                _ => Farewell::Over,
            }
        };
        Codes {
            client: able(codes.client, tunnel.client, Direction::ToClient),
            backend: able(codes.backend, tunnel.backend, Direction::ToBackend),
            ..codes
        }
    }

    /// Goes on with an end that is under way.
    fn accompany(&self, tunnel: &Tunnel) {
        let Some(mut closing) = self.closing.take() else { return };
        closing.codes = self.bid_both(tunnel, closing.codes);
        let over =
            closing.codes.client == Farewell::Over && closing.codes.backend == Farewell::Over;
        let is_failure = closing.is_failure;
        let goes_on =
            !over && tunnel.client.read_event().timedout() == 0 && tunnel.watch_closing().is_ok();
        self.closing.set(Some(closing));
        if !goes_on {
            self.finish(tunnel, is_failure);
        }
    }

    fn bid_both(&self, tunnel: &Tunnel, mut codes: Codes) -> Codes {
        if codes.backend_first {
            codes.backend = self.bid(tunnel, Direction::ToBackend, codes.backend);
        }
        codes.client = self.bid(tunnel, Direction::ToClient, codes.client);
        codes.backend = self.bid(tunnel, Direction::ToBackend, codes.backend);
        codes
    }

    /// Tells one side that it is over, as far as that is possible now.
    fn bid(&self, tunnel: &Tunnel, direction: Direction, farewell: Farewell) -> Farewell {
        match self.try_to_bid(tunnel, direction, farewell) {
            Ok(farewell) => farewell,
            Err(Broken) => Farewell::Over,
        }
    }

    fn try_to_bid(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        mut farewell: Farewell,
    ) -> Result<Farewell, Broken> {
        let (_, to, backlog) = self.way(tunnel, direction);
        if farewell == Farewell::Over {
            return Ok(farewell);
        }
        if to.is_buffered() {
            tunnel.send_header()?;
            if to.is_buffered() {
                return Ok(farewell);
            }
        }
        backlog.drain(|bytes| to.send(bytes))?;
        if let (Farewell::Pending { code, has_closed }, true) = (farewell, backlog.is_empty()) {
            if !self.lane(direction).tracker().may_inject() {
                return Ok(Farewell::Over);
            }
            farewell = Farewell::Sent { has_closed };
            self.send_close(tunnel, direction, code)?;
        }
        let Farewell::Sent { mut has_closed } = farewell else { return Ok(farewell) };
        has_closed |= self.discard(tunnel, direction.opposite())?;
        let over = backlog.is_empty() && (has_closed || to.is_done());
        Ok(if over { Farewell::Over } else { Farewell::Sent { has_closed } })
    }

    /// Reads what comes from a side and is for nobody any more. Returns whether a Close was in it.
    fn discard(&self, tunnel: &Tunnel, direction: Direction) -> Result<bool, Broken> {
        let (from, _, _) = self.way(tunnel, direction);
        let lane = self.lane(direction);
        let mut buffer = tunnel.borrow_buffer()?;
        let mut closes = false;
        for _ in 0..READS {
            if from.is_done() || !from.is_readable() {
                return Ok(closes);
            }
            let front = lane.put_front(buffer.room());
            let Some(bytes) = from.receive(tunnel.room(&mut buffer, front)) else { continue };
            let received = bytes.len();
            // SAFETY: what was put in front, and what was received behind it.
            let bytes = unsafe { buffer.written(front + received) };
            let passed = lane.look(bytes, from.log(), false, None, |notice| {
                closes |= matches!(notice, Notice::Close(_));
            })?;
            if passed.violation.is_some() {
                lane.give_up();
            }
        }
        from.post_read_last();
        Ok(closes)
    }

    /// Sends what can be sent at once, since both connections are about to be closed.
    pub fn part(&self, tunnel: &Tunnel, end: End) {
        self.bid_both(tunnel, self.codes(tunnel, end));
    }

    /// Leaves the request to nginx, which finalizes it.
    fn finish(&self, tunnel: &Tunnel, is_failure: bool) {
        let nginx = self.nginx;
        tunnel.client.stop_timers();
        tunnel.client.forget_read_timeout();
        if is_failure {
            return nginx.abort(tunnel);
        }
        if !tunnel.timed_out() && !tunnel.client.is_done() && !tunnel.backend.is_done() {
            tunnel.client.set_done();
        }
        nginx.end(tunnel);
    }
}

impl Direction {
    fn opposite(self) -> Self {
        match self {
            Self::ToBackend => Self::ToClient,
            Self::ToClient => Self::ToBackend,
        }
    }

    fn sender(self) -> Role {
        match self {
            Self::ToBackend => Role::Client,
            Self::ToClient => Role::Server,
        }
    }
}

impl From<Role> for Direction {
    fn from(sender: Role) -> Self {
        match sender {
            Role::Client => Self::ToBackend,
            Role::Server => Self::ToClient,
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
pub struct Tunnel {
    request: Request,
    upstream: NonNull<ngx_http_upstream_t>,
    client: Side,
    backend: Side,
}

impl Tunnel {
    pub fn of(request: Request) -> Option<Self> {
        let upstream = request.upstream()?;
        // SAFETY: a request and its upstream have their connections until they are finalized.
        unsafe {
            let client = Side::new(request.raw().connection)?;
            let backend = Side::new((*upstream.as_ptr()).peer.connection)?;
            Some(Self { request, upstream, client, backend })
        }
    }

    /// What nginx will finalize the request with (`ngx_http_upstream_process_upgraded`).
    fn code(&self) -> ngx_int_t {
        if self.client.write_event().timedout() != 0 {
            NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t
        } else if self.timed_out() {
            NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t
        } else {
            0
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
        buffer::borrow(self.read_size()? + Tail::CAPACITY, self.client.log())
    }

    /// How much is read at once.
    fn read_size(&self) -> Result<usize, AllocationFailed> {
        let main = self.request.main_conf().ok_or(AllocationFailed)?;
        Ok(main.buffer_size() + FRAME_HEADER)
    }

    /// The room to read into, behind what was put in front.
    fn room<'b>(&self, buffer: &'b mut buffer::Loan, front: usize) -> &'b mut [MaybeUninit<u8>] {
        let room = buffer.room();
        let size = room.len().saturating_sub(Tail::CAPACITY);
        room.get_mut(front..front + size).unwrap_or_default()
    }

    /// The reserved bits that the tunnel's extensions use; `None` if it does not speak WebSocket.
    fn reserved_bits(&self) -> Option<Reserved> {
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
    fn closes(&self) -> bool {
        self.request.location().is_some_and(|conf| conf.closes())
    }

    /// What the access log will tell.
    fn record(&self) -> Option<&'static Record> {
        Record::of(&self.request)
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
        self.backend.watch_write(conf.send_lowat, Some(conf.send_timeout))?;
        self.backend.watch_read(Some(conf.read_timeout))?;
        self.client.watch_write(core.send_lowat, Some(core.send_timeout))?;
        self.client.watch_read(None)
    }

    /// Waits until one side takes more.
    fn watch_write(&self, direction: Direction) -> Result<(), Broken> {
        let core = self.request.core_location().ok_or(Broken)?;
        // SAFETY: as above.
        let conf = unsafe { (*self.upstream.as_ptr()).conf.as_ref() }.ok_or(Broken)?;
        match direction {
            Direction::ToBackend => {
                self.backend.watch_write(conf.send_lowat, Some(conf.send_timeout))
            }
            Direction::ToClient => {
                self.client.watch_write(core.send_lowat, Some(core.send_timeout))
            }
        }
    }

    /// The same for as long as the end is under way, which has a limit of its own.
    fn watch_closing(&self) -> Result<(), Broken> {
        for side in [self.client, self.backend] {
            side.watch_write(0, None)?;
            side.watch_read(None)?;
        }
        Ok(())
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
    if let (Some(pump), Some(tunnel)) = (Pump::of(&request), Tunnel::of(request)) {
        if pump.is_closing() {
            return pump.accompany(&tunnel);
        }
        if let Some(watch) = pump.watch().filter(|watch| watch.take_due()) {
            if pump.attend(&tunnel, watch) || !tunnel.client.is_readable() {
                return;
            }
        }
        if event == Event::Write && pump.has_nothing_to_write(&tunnel, direction) {
            return;
        }
        match pump.run(&tunnel, direction) {
            Ok(Next::Wait) => {}
            Ok(Next::End) => pump.end(&tunnel, How::Found(tunnel.code()), false),
            Ok(Next::Refuse(error)) => {
                pump.end(&tunnel, How::Known(End::FrameError(error)), false);
            }
            Err(Broken) => pump.end(&tunnel, How::Found(NGX_ERROR as ngx_int_t), true),
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
