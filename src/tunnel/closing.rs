//! The end of a tunnel: a side that has had no Close gets one of the guard's (RFC 6455 section 7), where that
//! is wanted, and then nginx finalizes the request.

use core::pin::Pin;

use websocket_guard_core::diagnosis::End;
use websocket_guard_core::frame::CloseCode;

use super::connections::Tunnel;
use super::direction::Direction;
use super::end::{conclude, Ending, How};
use super::farewell::{close_frame, Closing, Codes, Farewell, PATIENCE};
use super::own::Own;
use super::pump::Pump;
use super::random::fresh_key;
use super::side::{Broken, Side};
use crate::nginx::AllocationFailed;
use crate::request::record::Record;

/// Whether an end is told to a side that has had no Close. Those that the guard makes always are; others come
/// from elsewhere.
fn tells(tunnel: &Tunnel, end: End) -> bool {
    let is_made = matches!(
        end,
        End::FrameError(_)
            | End::MessageTooLarge(_)
            | End::MessageRate(_)
            | End::Lifetime
            | End::Drained
    );
    is_made || tunnel.closes()
}

impl Pump {
    /// What happens when nothing is left to be moved. With `is_failure` nginx is to end the request as
    /// one that failed. The pump may be gone afterwards.
    pub fn end(&self, tunnel: &Tunnel, how: How, is_failure: bool) {
        let end = self.conclude(tunnel, how);
        if let Some(end) = end.filter(|end| tells(tunnel, *end)) {
            if self.plan(tunnel, end, is_failure).is_ok() {
                return self.accompany(tunnel);
            }
        }
        self.finish(tunnel, is_failure);
    }

    /// Notes and reports how the tunnel ended.
    pub fn conclude(&self, tunnel: &Tunnel, how: How) -> Option<End> {
        conclude(&tunnel.request, how, Some(self.frames()))
    }

    /// What the two sides are still to be told.
    pub fn plan(
        &self,
        tunnel: &Tunnel,
        end: End,
        is_failure: bool,
    ) -> Result<(), AllocationFailed> {
        self.closing.get_or_try_init(|| {
            let codes = self.codes(tunnel, end);
            Own::new(Closing::new(is_failure, codes), tunnel.client.log())
        })?;
        tunnel.client.stop_timers();
        tunnel.backend.stop_timers();
        tunnel.client.read_within(PATIENCE);
        Ok(())
    }

    /// Who can be told something.
    fn codes(&self, tunnel: &Tunnel, end: End) -> Codes {
        let record = tunnel.request.attempt().and_then(|attempt| attempt.record.get());
        let codes = Codes::of(end, record.and_then(Record::first_close));
        let first_sender = record.and_then(Record::first_close).and_then(|close| close.sender);
        let able = |farewell, side: Side, direction: Direction| {
            let is_gone = |side: Side| side.is_done() || side.has_failed();
            let tracker = self.lane(direction).tracker();
            let Farewell::Pending { code, .. } = farewell else { return Farewell::Over };
            let has_closed = first_sender == Some(direction.opposite().sender());
            if is_gone(side) || tracker.is_closed() || tracker.is_lost() {
                Farewell::Over
            } else if tracker.may_inject() {
                Farewell::Pending { code, has_closed }
            } else if is_gone(tunnel.sides(direction).0) {
                Farewell::Over
            } else {
                Farewell::Within { code, has_closed }
            }
        };
        Codes {
            client: able(codes.client, tunnel.client, Direction::ToClient),
            backend: able(codes.backend, tunnel.backend, Direction::ToBackend),
            ..codes
        }
    }

    /// Goes on with an end that is under way. The pump may be gone afterwards.
    pub fn accompany(&self, tunnel: &Tunnel) {
        let Some(closing) = self.closing.get() else { return };
        let codes = self.bid_both(tunnel, closing.codes.get());
        closing.codes.set(codes);
        let over = codes.client == Farewell::Over && codes.backend == Farewell::Over;
        let goes_on =
            !over && tunnel.client.read_event().timedout() == 0 && tunnel.watch_closing().is_ok();
        if !goes_on {
            self.finish(tunnel, closing.is_failure);
        }
    }

    fn bid_both(&self, tunnel: &Tunnel, mut codes: Codes) -> Codes {
        if codes.backend_first {
            codes.backend = self.bid(tunnel, Direction::ToBackend, codes.backend, codes.client);
        }
        codes.client = self.bid(tunnel, Direction::ToClient, codes.client, codes.backend);
        codes.backend = self.bid(tunnel, Direction::ToBackend, codes.backend, codes.client);
        codes
    }

    /// Tells one side that it is over, as far as that is possible now.
    fn bid(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        farewell: Farewell,
        other: Farewell,
    ) -> Farewell {
        match self.try_to_bid(tunnel, direction, farewell, other) {
            Ok(farewell) => farewell,
            Err(Broken) => Farewell::Over,
        }
    }

    fn try_to_bid(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        mut farewell: Farewell,
        other: Farewell,
    ) -> Result<Farewell, Broken> {
        let (from, to) = tunnel.sides(direction);
        let backlog = self.backlog(direction);
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
        if let Farewell::Within { code, has_closed } = farewell {
            let watch = self.watch().map(Pin::get_ref);
            if let Err(Ending::Broken) = self.transfer_with(tunnel, direction, watch, true) {
                return Err(Broken);
            }
            let tracker = self.lane(direction).tracker();
            if tracker.is_closed() || tracker.is_lost() {
                return Ok(Farewell::Over);
            } else if !tracker.may_inject() {
                return Ok(if from.is_done() { Farewell::Over } else { farewell });
            }
            farewell = Farewell::Pending { code, has_closed };
        }
        if let (Farewell::Pending { code, has_closed }, true) = (farewell, backlog.is_empty()) {
            farewell = Farewell::Sent { has_closed };
            self.send_close(tunnel, direction, code)?;
        }
        let Farewell::Sent { mut has_closed } = farewell else { return Ok(farewell) };
        // What it sends may be the rest of a frame that the other one waits for.
        if !matches!(other, Farewell::Within { .. }) {
            has_closed |= self.discard(tunnel, direction.opposite())?;
        }
        let over = backlog.is_empty() && (has_closed || to.is_done());
        Ok(if over { Farewell::Over } else { Farewell::Sent { has_closed } })
    }

    /// Sends a Close, or keeps what is left of it. There must be a place for it.
    pub fn send_close(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        code: Option<CloseCode>,
    ) -> Result<(), Broken> {
        let key = (direction == Direction::ToBackend).then(fresh_key);
        let frame = close_frame(code, key).ok_or(Broken)?;
        let (_, to) = tunnel.sides(direction);
        let backlog = self.backlog(direction);
        backlog.copy(&frame, to.log())?;
        self.lane(direction).close();
        if let Some(record) = tunnel.record() {
            record.note_own_close(code);
        }
        backlog.drain(|bytes| to.send(bytes))
    }

    /// Tells the sides what can be sent at once, where that is wanted, since both connections are about to be
    /// closed.
    pub fn part(&self, tunnel: &Tunnel, end: End) {
        if tells(tunnel, end) {
            self.bid_both(tunnel, self.codes(tunnel, end));
        }
    }

    /// Leaves the request to nginx, which finalizes it. The pump is gone afterwards.
    fn finish(&self, tunnel: &Tunnel, is_failure: bool) {
        let nginx = self.nginx;
        tunnel.client.stop_timers();
        tunnel.client.forget_read_timeout();
        for direction in [Direction::ToBackend, Direction::ToClient] {
            let (_, to) = tunnel.sides(direction);
            if to.is_tls() && !self.backlog(direction).is_empty() {
                to.give_up();
            }
        }
        if is_failure {
            return nginx.abort(tunnel);
        }
        if !tunnel.timed_out() && !tunnel.client.is_done() && !tunnel.backend.is_done() {
            tunnel.client.set_done();
        }
        nginx.end(tunnel);
    }
}
