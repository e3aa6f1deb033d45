//! Where nginx calls in when something happens on a tunnel's connections, in place of its own loop.

use ngx::ffi::{ngx_http_request_t, ngx_http_upstream_t, ngx_int_t, NGX_ERROR};
use websocket_guard_core::diagnosis::End;

use super::clock::is_past;
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::How;
use super::pump::Pump;
use super::side::Broken;
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

/// What comes after some bytes were moved.
enum Next {
    Wait,
    End,
    /// A frame is refused, which is the end.
    Refuse(End),
}

/// # Safety
/// `r` must be a live request, as nginx passes it to all of these handlers.
unsafe fn run(r: *mut ngx_http_request_t, direction: Direction, event: Event) {
    // SAFETY: nginx calls the handlers of a request that it has not finalized yet.
    let Some(request) = (unsafe { Request::new(r) }) else { return };
    let (Some(pump), Some(tunnel)) = (Pump::of(&request), Tunnel::of(request)) else { return };
    if pump.is_closing() {
        return pump.accompany(&tunnel);
    }
    if let Some(watch) = pump.watch().filter(|watch| watch.take_due()) {
        let has_ended = pump.attend(&tunnel, watch.get_ref());
        if has_ended {
            return;
        }
        watch.wait();
        if (direction, event) == (Direction::ToBackend, Event::Read) && !pump.may_read(&tunnel) {
            return;
        }
    }
    if event == Event::Write && pump.has_nothing_to_write(&tunnel, direction) {
        return;
    }
    match pump.go_on(&tunnel, direction) {
        Ok(Next::Wait) => {}
        Ok(Next::End) => pump.end(&tunnel, How::Found(tunnel.code()), false),
        Ok(Next::Refuse(end)) => pump.end(&tunnel, How::Known(end), false),
        Err(Broken) => pump.end(&tunnel, How::Found(NGX_ERROR as ngx_int_t), true),
    }
}

impl Pump {
    /// Whether bytes of the client's may go on now. If not, its read handler was called for what was due, or
    /// comes to nothing; in particular no time begins anew.
    fn may_read(&self, tunnel: &Tunnel) -> bool {
        (tunnel.client.is_readable() || self.keeps(Direction::ToBackend))
            && self.backlog(Direction::ToBackend).is_empty()
    }

    /// Moves bytes one way, and looks whether that was the end.
    fn go_on(&self, tunnel: &Tunnel, direction: Direction) -> Result<Next, Broken> {
        if tunnel.timed_out() {
            return Ok(Next::End);
        }
        if self.has_told(tunnel, direction) {
            // What comes after the Close that the client was sent is not for it.
            if let (true, Some(watch)) = (self.discard(tunnel, direction)?, self.watch()) {
                watch.backend_closed.set(true);
            }
        } else if let Some(end) = self.transfer(tunnel, direction, self.stops(direction))? {
            return Ok(Next::Refuse(end));
        } else if self.is_draining() && direction == Direction::ToClient {
            self.tell(tunnel)?;
        }
        if self.is_over(tunnel) || self.is_drained() || self.waits_in_vain(tunnel, direction) {
            return Ok(Next::End);
        }
        self.try_to_ping(tunnel, direction.opposite().sender())?;
        tunnel.watch(self.hold(tunnel))?;
        Ok(Next::Wait)
    }

    /// Does what is due, without waiting for anything again. Returns whether the tunnel has ended.
    #[cold]
    fn attend(&self, tunnel: &Tunnel, watch: &Watch) -> bool {
        if let Some(limits) = watch.limits.as_ref().filter(|it| it.due().is_some_and(is_past)) {
            // What waits is looked at when bytes are moved, right after this.
            limits.forget_due();
        }
        let end = if watch.drain.get().is_due() {
            self.go_on_draining(tunnel, watch)
        } else if watch.is_draining() {
            None
        } else if watch.lifetime.get().is_some_and(is_past) {
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
