//! Moves bytes one way.
//!
//! On their way they are looked at as frames, header by header ([`Lane`](super::frames::Lane)).

use websocket_guard_core::diagnosis::{End, FrameError};

use super::asked::Asked;
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::observe;
use super::frames::Notice;
use super::pump::Pump;
use super::side::Broken;
use crate::nginx::AllocationFailed;
use crate::request::record::Record;

/// How many times a tunnel reads before others have their turn.
const READS: usize = 4;

/// What a look at bytes has found: which of them are to be passed on, and the frame that is refused.
pub struct Looked {
    pub start: usize,
    pub end: usize,
    pub refused: Option<FrameError>,
}

impl Pump {
    /// Whether a chance to write changes nothing: with nearly each read comes one.
    pub fn has_nothing_to_write(&self, tunnel: &Tunnel, direction: Direction) -> bool {
        let (from, to) = tunnel.sides(direction);
        self.backlog(direction).is_empty()
            && !from.is_readable()
            && !to.is_buffered()
            && to.awaits_no_write()
    }

    /// Moves what there is, as far as the other side takes it. With `stops` it goes no further than to the
    /// end of a frame. Returns the frame that is refused.
    pub fn transfer(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        stops: bool,
    ) -> Result<Option<FrameError>, Broken> {
        let (from, to) = tunnel.sides(direction);
        let backlog = self.backlog(direction);
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
        let mut buffer = tunnel.borrow_buffer()?;
        for _ in 0..READS {
            let front = if lane.has_front() { lane.put_front(buffer.room()) } else { 0 };
            let room = tunnel.room(&mut buffer, front);
            let place = self.next_place(direction).filter(|place| *place <= room.len());
            let room =
                room.get_mut(..place.unwrap_or(usize::MAX).min(room.len())).unwrap_or_default();
            let Some(bytes) = from.receive(room) else {
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
            let Looked { start, end, refused } = if front == 0 && !stops && lane.pass(bytes) {
                Looked { start: 0, end: received, refused: None }
            } else {
                // SAFETY: `front` bytes were put there, and `received` bytes were read behind them.
                let bytes = unsafe { buffer.written(front + received) };
                self.look(tunnel, direction, bytes, stops)?
            };
            // SAFETY: a look finds no end behind the bytes that it was given.
            let bytes = unsafe { buffer.written(end) }.get(start..).unwrap_or_default();
            let sent = to.send(bytes)?;
            match bytes.get(sent..) {
                // OpenSSL has begun to encrypt these bytes and wants to find them in the same
                // place when it is called again (SSL_write(3)).
                // SAFETY: all bytes up to `end` were written.
                Some([_, ..]) if to.is_tls() => unsafe { backlog.keep(buffer, start + sent, end) },
                Some(rest @ [_, ..]) => backlog.copy(rest, to.log())?,
                // The Ping goes first.
                _ if place == Some(received) => break,
                _ if from.is_readable() && refused.is_none() && !stops => continue,
                _ => {}
            }
            return Ok(refused);
        }
        from.post_read_last();
        Ok(None)
    }

    /// The slow way of bytes, frame by frame.
    #[inline(never)]
    pub fn look(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        bytes: &mut [u8],
        stops: bool,
    ) -> Result<Looked, AllocationFailed> {
        let lane = self.lane(direction);
        let sender = direction.sender();
        let request = &tunnel.request;
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
        let (start, end) = (passed.start, passed.end);
        let Some(violation) = passed.violation else {
            return Ok(Looked { start, end, refused: None });
        };
        let is_end = request.location().is_some_and(|conf| conf.refuses_frames());
        let error = FrameError { sender, violation, is_end };
        if is_end {
            return Ok(Looked { start, end, refused: Some(error) });
        }
        let is_first = !self.lane(direction.opposite()).tracker().is_lost();
        lane.give_up();
        if is_first {
            observe(request, End::FrameError(error));
        }
        Ok(Looked { start, end: passed.length, refused: None })
    }

    /// If nothing more will come, what was held back is passed on, unless a Close of ours can take its
    /// place.
    fn let_go(&self, tunnel: &Tunnel, direction: Direction) -> Result<(), Broken> {
        let (from, to) = tunnel.sides(direction);
        let lane = self.lane(direction);
        if !from.is_done() || !lane.has_front() {
            return Ok(());
        }
        let closes = tunnel.closes() && lane.tracker().may_inject();
        if let Some(held) = lane.take_held().filter(|_| !closes) {
            let backlog = self.backlog(direction);
            backlog.copy(held.bytes(), to.log())?;
            backlog.drain(|bytes| to.send(bytes))?;
        }
        Ok(())
    }

    /// Reads what comes from a side and is for nobody any more. Returns whether a Close was in it.
    pub fn discard(&self, tunnel: &Tunnel, direction: Direction) -> Result<bool, Broken> {
        let (from, _) = tunnel.sides(direction);
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
            // SAFETY: `front` bytes were put there, and `received` bytes were read behind them.
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

    /// Whether one side has closed and the other has all of its bytes, or both have closed.
    pub fn is_over(&self, tunnel: &Tunnel) -> bool {
        match (tunnel.client.is_done(), tunnel.backend.is_done()) {
            (true, true) => true,
            (true, false) => self.backlog(Direction::ToBackend).is_empty(),
            (false, true) => self.backlog(Direction::ToClient).is_empty(),
            (false, false) => false,
        }
    }
}
