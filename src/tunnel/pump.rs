//! A loop of our own in place of nginx's (`ngx_http_upstream_process_upgraded`), which moves the
//! bytes in pieces of `proxy_buffer_size` and keeps two such buffers for each tunnel.
//!
//! This is what a tunnel is between two events. Bytes are read into the worker's buffer and written
//! at once (`transfer.rs`). What the other side does not take is kept, and until it has taken it nothing
//! more is read. Everything else is as in nginx, and the end of a tunnel is nginx's own: its handlers are
//! still there, with empty buffers, and are called when they have nothing left to do but to finalize the
//! request.

use core::ffi::c_void;
use core::mem::size_of;
use core::ops::Range;
use core::pin::Pin;
use core::ptr::{self, NonNull};

use ngx::ffi::{ngx_cycle_t, ngx_pool_cleanup_add};
use ngx::http::HttpModule;
use once_cell::unsync::OnceCell;
use websocket_guard_core::frame::{Reserved, Role};

use super::asked::Asked;
use super::buffer::{Backlog, Loan};
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::Frames;
use super::farewell::Closing;
use super::frames::Lane;
use super::limits::Limits;
use super::own::Own;
use super::side::Side;
use super::trim;
use super::upgraded::Handlers;
use super::watch::Watch;
use crate::configuration::conf::GuardFilter;
use crate::nginx::AllocationFailed;
use crate::request::record::Carried;
use crate::request::view::Request;

/// What is needed to move a tunnel's bytes.
pub struct Pump {
    /// nginx's own loop, which ends the tunnel.
    pub nginx: Handlers,
    to_backend: Backlog,
    to_client: Backlog,
    from_client: Lane,
    from_backend: Lane,
    /// What it waits for, if anything.
    watch: OnceCell<Own<Watch>>,
    /// The end, once it is under way.
    pub closing: OnceCell<Own<Closing>>,
}

// An idle tunnel may not cost much: what was there before, two trackers, and little more.
const _: () = assert!(size_of::<Pump>() <= 96 + 64 + 32);

/// Where it is kept. The pump of a tunnel is the filter module's context of its request, from its
/// beginning until nginx finalizes the request; nothing clears the contexts in between.
impl Pump {
    /// Makes the pump of a tunnel in the pool of the backend's connection, which drops it at the end of
    /// the tunnel. The request's pool is mostly full by then and would grow by 4 KiB. Without `reserved`,
    /// the bits that its extensions use, its bytes are no frames.
    pub fn place(
        tunnel: &Tunnel,
        reserved: Option<Reserved>,
    ) -> Result<&'static Self, AllocationFailed> {
        let pump = Self {
            nginx: Handlers::of(tunnel),
            to_backend: Backlog::default(),
            to_client: Backlog::default(),
            from_client: Lane::new(Role::Client, reserved),
            from_backend: Lane::new(Role::Server, reserved),
            watch: OnceCell::new(),
            closing: OnceCell::new(),
        };
        // SAFETY: a connection to a backend has a pool (`ngx_http_upstream_connect`); the memory of a
        // cleanup has the size asked for and nginx's alignment.
        unsafe {
            let pool = (*tunnel.backend.as_ptr()).pool;
            let cleanup = ngx_pool_cleanup_add(pool, size_of::<Self>());
            let cleanup = NonNull::new(cleanup).ok_or(AllocationFailed)?.as_mut();
            let place = cleanup.data.cast::<Self>();
            place.write(pump);
            cleanup.handler = Some(drop_pump);
            trim::opened();
            Ok(&*place)
        }
    }

    /// The pump of a request that is a tunnel.
    #[inline]
    pub fn of(request: &Request) -> Option<&'static Self> {
        // SAFETY: the array has a place for each HTTP module; this one's holds null or a pump.
        unsafe { (*Self::context(request)).cast::<Self>().as_ref() }
    }

    /// It is found by its request from now on.
    pub fn keep(&'static self, request: &Request) {
        // SAFETY: the array has a place for each HTTP module, and nobody else writes into this one's.
        unsafe { *Self::context(request) = ptr::from_ref(self).cast_mut().cast() };
    }

    /// Its connections are about to go.
    pub fn forget(request: &Request) {
        // SAFETY: as in `keep`.
        unsafe { *Self::context(request) = ptr::null_mut() };
    }

    fn context(request: &Request) -> *mut *mut c_void {
        request.raw().ctx.wrapping_add(GuardFilter::module().ctx_index)
    }
}

/// # Safety
/// Called by nginx with the pump of the pool that it destroys.
unsafe extern "C" fn drop_pump(pump: *mut c_void) {
    // SAFETY: `Pump::place` has written it there, and nginx runs a cleanup once.
    unsafe { pump.cast::<Pump>().drop_in_place() };
    trim::ended();
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

/// What belongs to one direction.
impl Pump {
    /// What one side sent and the other has not taken.
    pub fn backlog(&self, direction: Direction) -> &Backlog {
        match direction {
            Direction::ToBackend => &self.to_backend,
            Direction::ToClient => &self.to_client,
        }
    }

    /// The frames that go this way.
    pub fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::ToBackend => &self.from_client,
            Direction::ToClient => &self.from_backend,
        }
    }

    /// Keeps the bytes of this range, which a side has not taken.
    ///
    /// # Safety
    /// They must have been written into the buffer.
    #[cold]
    #[inline(never)]
    pub unsafe fn keep_rest(
        &self,
        to: Side,
        direction: Direction,
        buffer: &mut Loan,
        Range { start, end }: Range<usize>,
    ) -> Result<(), AllocationFailed> {
        let backlog = self.backlog(direction);
        // SAFETY: the bytes were written, as the contract above says.
        unsafe {
            if to.is_tls() {
                // OpenSSL has begun to encrypt these bytes and wants to find them in the same
                // place when it is called again (SSL_write(3)).
                backlog.keep(buffer, start, end);
                return Ok(());
            }
            let rest = buffer.written(end).get(start..).unwrap_or_default();
            backlog.copy(rest, to.log())
        }
    }
}

/// What it waits for.
impl Pump {
    /// What it waits for, if anything.
    #[inline(always)]
    pub fn watch(&self) -> Option<Pin<&Watch>> {
        self.watch.get().map(Own::pinned)
    }

    /// The same; it is made if there is none.
    pub fn need_watch(&self, tunnel: &Tunnel) -> Result<Pin<&Watch>, AllocationFailed> {
        let log = tunnel.client.log();
        let watch = self.watch.get_or_try_init(|| {
            let conf = tunnel.request.location();
            let ping = conf.and_then(|conf| conf.ping());
            let limits =
                conf.and_then(Limits::of).map(|limits| Own::new(limits, log)).transpose()?;
            Own::new(Watch::new(tunnel.request, attend_soon, ping, limits), log)
        })?;
        Ok(watch.pinned())
    }

    /// A side that is asked whether it is there.
    #[inline(always)]
    pub fn asked(&self, side: Role) -> Option<&Asked> {
        self.watch()?.get_ref().asked(side)
    }

    /// Whether its end is under way.
    #[inline(always)]
    pub fn is_closing(&self) -> bool {
        self.closing.get().is_some()
    }
}

/// Has a tunnel attended to, soon and where nginx calls its handlers.
fn attend_soon(request: Request) {
    let pump = Pump::of(&request);
    if let (Some(watch), Some(tunnel)) = (pump.and_then(Pump::watch), Tunnel::of(request)) {
        watch.set_due();
        tunnel.client.post_read();
    }
}

/// What is known of it at its end.
impl Pump {
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

    /// How long the last Pong of a side took, in milliseconds.
    pub fn round_trip(&self, side: Role) -> Option<u32> {
        self.asked(side)?.round_trip()
    }
}
