//! Takes a tunnel over from nginx.

use websocket_guard_core::http::version::HttpVersion;

use super::clock::Moment;
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::How;
use super::handlers::HANDLERS;
use super::inspect::Looked;
use super::pump::Pump;
use crate::nginx::AllocationFailed;
use crate::request::view::Request;

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

    // The worker's buffer stays for ever: it is made with the first tunnel, or else it may come to
    // lie behind the memory of many others, which then could not go back to the system.
    drop(tunnel.borrow_buffer()?);

    let reserved = if looks { tunnel.reserved_bits() } else { None };
    let pump = Pump::place(&tunnel, reserved)?;
    if reserved.is_some() {
        pump.begin_watch(&tunnel)?;
    }
    for direction in Direction::BOTH {
        // SAFETY: it is asked for once each way, and the buffers are emptied below.
        pump.take_leftover(&tunnel, direction, unsafe { tunnel.leftover(direction) })?;
    }
    tunnel.empty_buffers();

    HANDLERS.install(&tunnel);
    for direction in Direction::BOTH {
        let (from, _) = tunnel.sides(direction);
        from.free_tls_buffer();
        let waits = !pump.backlog(direction).is_empty() || pump.keeps(direction);
        if from.is_readable() || waits {
            from.post_read();
        }
    }
    pump.keep(&request);
    Ok(())
}

impl Pump {
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
        let (from, to) = tunnel.sides(direction);
        let Looked { passed, kept, refused } = self.look(tunnel, direction, bytes, false)?;
        let passed = bytes.get(passed).unwrap_or_default();
        if !passed.is_empty() {
            self.backlog(direction).copy(passed, to.log())?;
        }
        if let (Some(limit), false) = (self.limit(direction), kept.is_empty()) {
            limit.kept.copy(bytes.get(kept).unwrap_or_default(), from.log())?;
        }
        if let Some(end) = refused {
            // nginx is still setting up the tunnel, and cannot end it here.
            self.conclude(tunnel, How::Known(end));
            self.plan(tunnel, end, false)?;
            from.post_read();
        }
        Ok(())
    }

    /// What the directives want to happen later.
    fn begin_watch(&self, tunnel: &Tunnel) -> Result<(), AllocationFailed> {
        let Some(conf) = tunnel.request.location() else { return Ok(()) };
        if let Some(lifetime) = conf.lifetime().and_then(|it| it.of(&tunnel.request)) {
            let watch = self.need_watch(tunnel)?;
            watch.lifetime.set(Some(Moment::later(lifetime)));
            watch.wait();
        }
        if let Some(ping) = conf.ping() {
            let watch = self.need_watch(tunnel)?;
            watch.ping.set(Some(Moment::later(ping.interval)));
            watch.wait();
        }
        if conf.max_message().is_some() || conf.message_rate().is_some() {
            self.need_watch(tunnel)?;
        }
        if let Some(drain) = conf.drain() {
            self.prepare_drain(tunnel, drain)?;
        }
        Ok(())
    }
}
