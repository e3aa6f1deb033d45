//! A tunnel of a worker that leaves: its client is told to close, and what that one still says is passed
//! on.

use ngx::ffi::ngx_cycle_t;
use websocket_guard_core::diagnosis::End;
use websocket_guard_core::frame::Role;

use super::clock::{up_to, Moment};
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::How;
use super::leaving;
use super::pump::{requests, Pump};
use super::side::Broken;
use super::watch::Watch;
use crate::configuration::tunnels::Drain;
use crate::nginx::AllocationFailed;
use crate::request::view::Request;

/// Has all tunnels of this worker closed, each within the time that its location says.
fn drain_all(cycle: &ngx_cycle_t) {
    requests(cycle).for_each(drain);
}

fn drain(request: Request) {
    let pump = Pump::of(&request);
    let conf = request.location().and_then(|conf| conf.drain());
    let (Some(pump), Some(conf), Some(tunnel)) = (pump, conf, Tunnel::of(request)) else { return };
    if !pump.is_closing() && pump.carried(Role::Client).is_some() {
        // Without memory the tunnel stays, as without this directive.
        let _ = pump.take_turn(&tunnel, conf);
    }
}

impl Pump {
    /// The tunnel is drained when the worker leaves, or soon if it already does.
    pub fn prepare_drain(&self, tunnel: &Tunnel, conf: Drain) -> Result<(), AllocationFailed> {
        if leaving::has_begun() {
            return self.take_turn(tunnel, conf);
        }
        leaving::learn(tunnel.client.log(), drain_all);
        Ok(())
    }

    /// Chooses the moment at which the tunnel is closed, since its worker leaves.
    fn take_turn(&self, tunnel: &Tunnel, conf: Drain) -> Result<(), AllocationFailed> {
        let watch = self.need_watch(tunnel)?;
        if watch.drain.get().is_none() {
            watch.drain.set(Some(Moment::later(up_to(conf.spread))));
            watch.wait();
        }
        Ok(())
    }

    /// Goes on with a drain whose next moment has come. Returns the end of the tunnel, if it has come.
    pub fn go_on_draining(&self, tunnel: &Tunnel, watch: &Watch) -> Option<End> {
        if watch.is_draining() {
            if !self.lane(Direction::ToBackend).tracker().is_closed() {
                leaving::note_unanswered();
            }
            return Some(End::Drained);
        }
        let wait = tunnel.request.location().and_then(|conf| conf.drain());
        watch.set_draining(Moment::later(wait.map_or(0, |drain| drain.wait)));
        self.conclude(tunnel, How::Known(End::Drained));
        leaving::note_drained();
        self.tell(tunnel).is_err().then_some(End::Drained)
    }

    /// Whether the tunnel is being drained.
    #[inline(always)]
    pub fn is_draining(&self) -> bool {
        self.watch().is_some_and(|watch| watch.is_draining())
    }

    /// Whether both sides of a tunnel that is drained have sent their Close, and the backend has that of
    /// the client.
    #[inline(always)]
    pub fn is_drained(&self) -> bool {
        self.watch().is_some_and(|watch| watch.has_backend_closed())
            && self.lane(Direction::ToBackend).tracker().is_closed()
            && self.backlog(Direction::ToBackend).is_empty()
    }

    /// Whether bytes this way go no further than to the end of a frame: the Close of a drain is to follow.
    #[inline(always)]
    pub fn stops(&self, direction: Direction) -> bool {
        direction == Direction::ToClient && self.is_draining()
    }

    /// Whether bytes this way are for a client that was told to close.
    #[inline(always)]
    pub fn has_told(&self, tunnel: &Tunnel, direction: Direction) -> bool {
        self.stops(direction)
            && self.lane(direction).tracker().is_closed()
            && self.backlog(direction).is_empty()
            && !tunnel.client.is_buffered()
    }

    /// Tells the client of a tunnel that is drained to close, once that is possible.
    pub fn tell(&self, tunnel: &Tunnel) -> Result<(), Broken> {
        let code = tunnel.request.location().and_then(|conf| conf.drain()).map(|it| it.code);
        let way = Direction::ToClient;
        let may = self.lane(way).tracker().may_inject();
        if may && self.backlog(way).is_empty() && !tunnel.client.is_buffered() {
            self.send_close(tunnel, way, code)?;
            if !self.backlog(way).is_empty() {
                tunnel.watch_write(way)?;
            }
        }
        Ok(())
    }
}
