//! Moves bytes one way.
//!
//! On their way they are looked at as frames, header by header ([`Lane`](super::frames::Lane)).

use core::ops::Range;

use websocket_guard_core::diagnosis::{End, FrameError, MessageTooLarge};

use super::asked::Asked;
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::observe;
use super::frames::{Halt, Notice, Wants};
use super::limits::Limit;
use super::pump::Pump;
use super::side::Broken;
use crate::nginx::AllocationFailed;
use crate::request::record::Record;

/// How many times a tunnel reads before others have their turn.
const READS: usize = 4;

/// What a look at bytes has found.
pub struct Looked {
    /// Those that are to be passed on.
    pub passed: Range<usize>,
    /// Those behind them that wait.
    pub kept: Range<usize>,
    /// The end of the tunnel, since the frame that they begin with is refused.
    pub refused: Option<End>,
}

impl Looked {
    /// All of so many bytes are passed on.
    fn all(length: usize) -> Self {
        Self { passed: 0..length, kept: length..length, refused: None }
    }

    /// Whether there may be more to read.
    fn goes_on(&self) -> bool {
        self.kept.is_empty() && self.refused.is_none()
    }
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
    /// end of a frame. Returns the end of the tunnel, if a frame is refused.
    pub fn transfer(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        stops: bool,
    ) -> Result<Option<End>, Broken> {
        let (from, to) = tunnel.sides(direction);
        let backlog = self.backlog(direction);
        if direction == Direction::ToClient && to.is_buffered() {
            tunnel.send_header()?;
            if to.is_buffered() {
                return Ok(None);
            }
        }
        backlog.drain(|bytes| to.send(bytes))?;
        let limit = self.limit(direction);
        if let (Some(limit), true) = (limit, backlog.is_empty()) {
            if let Some(end) = self.go_on_with_kept(tunnel, direction, limit, stops)? {
                return Ok(Some(end));
            }
        }
        if !backlog.is_empty() || self.keeps(direction) || !from.is_readable() {
            return Ok(None);
        }

        let lane = self.lane(direction);
        let passes = limit.map_or(Some(u64::MAX), Limit::passes).filter(|_| !stops);
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
            let passes = passes.is_some_and(|most| front == 0 && lane.pass(bytes, most));
            let looked = if passes {
                Looked::all(received)
            } else {
                // SAFETY: `front` bytes were put there, and `received` bytes were read behind them.
                let bytes = unsafe { buffer.written(front + received) };
                self.look(tunnel, direction, bytes, stops)?
            };
            let Range { start, end } = looked.passed;
            if let (Some(limit), false) = (limit, looked.kept.is_empty()) {
                // SAFETY: a look finds no end behind the bytes that it was given.
                let bytes = unsafe { buffer.written(looked.kept.end) };
                limit.kept.copy(bytes.get(looked.kept.clone()).unwrap_or_default(), from.log())?;
            }
            // SAFETY: a look passes on nothing behind the bytes that it was given.
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
                _ if from.is_readable()
                    && looked.goes_on()
                    && !self.has_stopped(direction, stops) =>
                {
                    continue
                }
                _ => {}
            }
            return Ok(looked.refused);
        }
        from.post_read_last();
        Ok(None)
    }

    /// Whether bytes that go no further than to the end of a frame have come there.
    fn has_stopped(&self, direction: Direction, stops: bool) -> bool {
        stops && self.lane(direction).tracker().may_inject()
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
        let limit = self.limit(direction);
        let mut size = limit.and_then(|limit| limit.size.get());
        let mut gate = self.gate(direction);
        let wants =
            Wants { stops, pings: pings.as_ref(), size: size.as_mut(), gate: gate.as_mut() };
        let found = lane.look(bytes, log, wants, |notice| match notice {
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
        let most = size.map_or(u64::MAX, |size| size.limit());
        if let Some(limit) = limit {
            limit.size.set(size);
            if let (Some(pace), Some(gate)) = (&limit.pace, &gate) {
                pace.bucket.set(gate.bucket);
            }
        }
        let (passed, rest) = (found.start..found.end, found.end..found.length);
        let nothing = found.length..found.length;
        let violation = match found.halt {
            None => return Ok(Looked { passed, kept: nothing, refused: None }),
            Some(Halt::TooLarge(size)) => {
                let end = End::MessageTooLarge(MessageTooLarge { sender, size, limit: most });
                return Ok(Looked { passed, kept: rest, refused: Some(end) });
            }
            Some(Halt::TooEarly) => {
                let refused = self.wait_for_room(direction);
                return Ok(Looked { passed, kept: rest, refused });
            }
            Some(Halt::Violation(violation)) => violation,
        };
        let is_end = request.location().is_some_and(|conf| conf.refuses_frames());
        let error = FrameError { sender, violation, is_end };
        if is_end {
            return Ok(Looked { passed, kept: nothing, refused: Some(End::FrameError(error)) });
        }
        let is_first = !self.lane(direction.opposite()).tracker().is_lost();
        lane.give_up();
        if is_first {
            observe(request, End::FrameError(error));
        }
        Ok(Looked { passed: found.start..found.length, kept: nothing, refused: None })
    }

    /// Goes on with what was read before and had to wait, as far as it may pass now.
    #[inline(never)]
    fn go_on_with_kept(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        limit: &Limit,
        stops: bool,
    ) -> Result<Option<End>, Broken> {
        let (_, to) = tunnel.sides(direction);
        let backlog = self.backlog(direction);
        let mut refused = None;
        limit.kept.look(|bytes| {
            let looked = self.look(tunnel, direction, bytes, stops)?;
            let passed = bytes.get(looked.passed).unwrap_or_default();
            if !passed.is_empty() {
                backlog.copy(passed, to.log())?;
            }
            refused = looked.refused;
            Ok::<_, AllocationFailed>(looked.kept)
        })?;
        backlog.drain(|bytes| to.send(bytes))?;
        Ok(refused)
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
        let mut closes = false;
        let mut look = |bytes: &mut [u8]| {
            let found = lane.look(bytes, from.log(), Wants::default(), |notice| {
                closes |= matches!(notice, Notice::Close(_));
            })?;
            if found.halt.is_some() {
                lane.give_up();
            }
            Ok::<_, AllocationFailed>(0..0)
        };
        if let Some(limit) = self.limit(direction) {
            limit.kept.look(&mut look)?;
        }
        let mut buffer = tunnel.borrow_buffer()?;
        for _ in 0..READS {
            if from.is_done() || !from.is_readable() {
                return Ok(closes);
            }
            let front = lane.put_front(buffer.room());
            let Some(bytes) = from.receive(tunnel.room(&mut buffer, front)) else { continue };
            let received = bytes.len();
            // SAFETY: `front` bytes were put there, and `received` bytes were read behind them.
            look(unsafe { buffer.written(front + received) })?;
        }
        from.post_read_last();
        Ok(closes)
    }

    /// Whether one side has closed and the other has all of its bytes, or both have closed.
    pub fn is_over(&self, tunnel: &Tunnel) -> bool {
        match (tunnel.client.is_done(), tunnel.backend.is_done()) {
            (true, true) => true,
            (true, false) => {
                self.backlog(Direction::ToBackend).is_empty() && !self.keeps(Direction::ToBackend)
            }
            (false, true) => self.backlog(Direction::ToClient).is_empty(),
            (false, false) => false,
        }
    }
}
