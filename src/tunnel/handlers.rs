//! Where nginx calls in when something happens on a tunnel's connections, in place of its own loop.

use core::pin::Pin;

use ngx::ffi::{ngx_http_request_t, ngx_http_upstream_t, ngx_int_t, NGX_ERROR};
use websocket_guard_core::diagnosis::End;

use super::clock::Moment;
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::{Ending, How};
use super::pump::Pump;
use super::side::Broken;
use super::transfer::Manner;
use super::upgraded::Handlers;
use super::watch::Watch;
use crate::request::view::Request;

/// Those of a tunnel that has a pump.
pub const HANDLERS: Handlers = Handlers {
    client_read: Some(client_read),
    client_write: Some(client_write),
    backend_read: Some(backend_read),
    backend_write: Some(backend_write),
};

/// What nginx has seen on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Read,
    Write,
}

/// # Safety
/// `r` must be a live request, as nginx passes it to all of these handlers.
#[inline(always)]
unsafe fn run(r: *mut ngx_http_request_t, direction: Direction, event: Event) {
    // SAFETY: nginx calls the handlers of a request that it has not finalized yet.
    let Some(request) = (unsafe { Request::new(r) }) else { return };
    let (Some(pump), Some(tunnel)) = (Pump::of(&request), Tunnel::of(request)) else { return };
    if pump.is_closing() {
        return pump.accompany(&tunnel);
    }
    let watch = pump.watch();
    let busy = watch.filter(|watch| !watch.is_quiet());
    if let Some(watch) = busy {
        let goes_on = pump.look_after(&tunnel, watch, direction, event);
        if !goes_on {
            return;
        }
    }
    if event == Event::Write && pump.has_nothing_to_write(&tunnel, direction) {
        return;
    }
    let moved = match busy {
        Some(watch) => pump.go_on_with(&tunnel, direction, watch.get_ref()),
        None => pump.go_on(&tunnel, direction, watch.map(Pin::get_ref)),
    };
    match moved {
        Ok(()) => {}
        Err(Ending::Over) => pump.end(&tunnel, How::Found(tunnel.code()), false),
        Err(Ending::Refused(end)) => pump.end(&tunnel, How::Known(end), false),
        Err(Ending::Broken) => pump.end(&tunnel, How::Found(NGX_ERROR as ngx_int_t), true),
    }
}

impl Pump {
    /// Whether bytes of the client's may go on now. If not, its read handler was called for what was due, or
    /// comes to nothing; in particular no time begins anew.
    fn may_read(&self, tunnel: &Tunnel) -> bool {
        (tunnel.client.is_readable() || self.keeps(Direction::ToBackend))
            && self.backlog(Direction::ToBackend).is_empty()
    }

    /// Moves bytes one way where nothing else wants to pass, and looks whether that was the end.
    #[inline(always)]
    fn go_on(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        watch: Option<&Watch>,
    ) -> Result<(), Ending> {
        if tunnel.timed_out() {
            return Err(Ending::Over);
        }
        self.transfer(tunnel, direction, Manner::Quiet(watch))?;
        if self.is_over(tunnel) {
            return Err(Ending::Over);
        }
        Ok(tunnel.watch(0)?)
    }

    /// The same where a Ping, a drain or limits may be in the way.
    #[inline(never)]
    fn go_on_with(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        watch: &Watch,
    ) -> Result<(), Ending> {
        if tunnel.timed_out() {
            return Err(Ending::Over);
        }
        let stops = self.stops(direction);
        if !self.has_told(tunnel, direction) {
            self.transfer_with(tunnel, direction, Some(watch), stops)?;
            if stops {
                self.tell(tunnel)?;
            }
        }
        // What comes after the Close that the client was sent is not for it. It is read at once: what nobody
        // reads is not waited for, and a worker that leaves does so when nothing is.
        if self.has_told(tunnel, direction) && self.discard(tunnel, direction)? {
            watch.set_backend_closed();
        }
        if self.is_over(tunnel) || self.is_drained() || self.waits_in_vain(tunnel, direction) {
            return Err(Ending::Over);
        }
        self.try_to_ping(tunnel, watch, direction.opposite().sender())?;
        Ok(tunnel.watch(self.hold(tunnel))?)
    }

    /// Does what is due, if anything is. Returns whether bytes may be moved then.
    #[inline(never)]
    fn look_after(
        &self,
        tunnel: &Tunnel,
        watch: Pin<&Watch>,
        direction: Direction,
        event: Event,
    ) -> bool {
        if !watch.take_due() {
            return true;
        }
        let has_ended = self.attend(tunnel, watch.get_ref());
        if has_ended {
            return false;
        }
        watch.wait();
        (direction, event) != (Direction::ToBackend, Event::Read) || self.may_read(tunnel)
    }

    /// Does what is due, without waiting for anything again. Returns whether the tunnel has ended.
    #[cold]
    fn attend(&self, tunnel: &Tunnel, watch: &Watch) -> bool {
        if let Some(limits) =
            watch.limits.as_ref().filter(|it| it.due().is_some_and(Moment::is_past))
        {
            // What waits is looked at when bytes are moved, right after this.
            limits.forget_due();
        }
        let end = if watch.drain.get().is_some_and(Moment::is_past) {
            self.go_on_draining(tunnel, watch)
        } else if watch.is_draining() {
            None
        } else if watch.lifetime.get().is_some_and(Moment::is_past) {
            Some(End::Lifetime)
        } else {
            match self.ask(tunnel, watch) {
                Ok(end) => end,
                Err(Broken) => {
                    self.end(tunnel, How::Found(NGX_ERROR as ngx_int_t), true);
                    return true;
                }
            }
        };
        if let Some(end) = end {
            self.end(tunnel, How::Known(end), false);
        }
        end.is_some()
    }
}

unsafe extern "C" fn client_read(r: *mut ngx_http_request_t) {
    // SAFETY: nginx passes the request whose handler this is.
    unsafe { run(r, Direction::ToBackend, Event::Read) }
}

unsafe extern "C" fn client_write(r: *mut ngx_http_request_t) {
    // SAFETY: as in `client_read`.
    unsafe { run(r, Direction::ToClient, Event::Write) }
}

unsafe extern "C" fn backend_read(r: *mut ngx_http_request_t, _: *mut ngx_http_upstream_t) {
    // SAFETY: as in `client_read`.
    unsafe { run(r, Direction::ToClient, Event::Read) }
}

unsafe extern "C" fn backend_write(r: *mut ngx_http_request_t, _: *mut ngx_http_upstream_t) {
    // SAFETY: as in `client_read`.
    unsafe { run(r, Direction::ToBackend, Event::Write) }
}
