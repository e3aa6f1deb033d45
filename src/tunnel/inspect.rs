//! Bytes that are looked at frame by frame ([`Lane`](super::frames::Lane)), and what becomes of them.

use core::ops::Range;

use websocket_guard_core::diagnosis::{End, FrameError, MessageTooLarge};
use websocket_guard_core::frame::Tracker;

use super::asked::Asked;
use super::buffer::Loan;
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::{observe, Ending};
use super::frames::{Halt, Notice, Wants};
use super::limits::Limit;
use super::pump::Pump;
use super::side::Broken;
use crate::nginx::AllocationFailed;
use crate::request::record::Record;

/// What a look at bytes has found.
pub struct Looked {
    /// Those that are to be passed on.
    pub passed: Range<usize>,
    /// Those behind them that wait.
    pub kept: Range<usize>,
    /// The end of the tunnel, since the frame that they begin with is refused.
    pub refused: Option<End>,
}

/// Whether bytes that were looked at stand in the way of more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// There is something to wait for.
    Wait,
}

impl Pump {
    /// Passes on what may be of bytes that are looked at frame by frame.
    ///
    /// # Safety
    /// So many bytes must have been written into the buffer.
    #[inline(never)]
    pub unsafe fn inspect(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        buffer: &mut Loan,
        length: usize,
        stops: bool,
    ) -> Result<Found, Ending> {
        let (from, to) = tunnel.sides(direction);
        // SAFETY: they were written, as the contract above says.
        let bytes = unsafe { buffer.written(length) };
        let looked = self.look(tunnel, direction, bytes, stops)?;
        if let (Some(limit), false) = (self.limit(direction), looked.kept.is_empty()) {
            let kept = bytes.get(looked.kept.clone()).unwrap_or_default();
            limit.kept.copy(kept, from.log())?;
        }
        let Range { start, end } = looked.passed;
        let sent = start + to.send(bytes.get(start..end).unwrap_or_default())?;
        let is_sent = sent >= end;
        if !is_sent {
            // SAFETY: a look passes on nothing behind the bytes that it was given.
            unsafe { self.keep_rest(to, direction, buffer, sent..end)? };
        }
        if let Some(end) = looked.refused {
            return Err(Ending::Refused(end));
        }
        let goes_on = is_sent && looked.kept.is_empty() && !self.has_stopped(direction, stops);
        Ok(if goes_on { Found::Nothing } else { Found::Wait })
    }

    /// Whether bytes that go no further than to the end of a frame have come there. Behind a Close nothing
    /// goes on, be it one of ours.
    #[inline(always)]
    pub fn has_stopped(&self, direction: Direction, stops: bool) -> bool {
        let has_come = |tracker: Tracker| tracker.may_inject() || tracker.is_closed();
        stops && has_come(self.lane(direction).tracker())
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
        let is_end = request.location().is_some_and(|conf| conf.refuses_frames(sender));
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
    pub fn go_on_with_kept(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        limit: &Limit,
        stops: bool,
    ) -> Result<(), Ending> {
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
        refused.map_or(Ok(()), |end| Err(Ending::Refused(end)))
    }

    /// Since nothing more will come, what was held back is passed on, unless a Close of ours can take its
    /// place.
    #[cold]
    #[inline(never)]
    pub fn let_go(&self, tunnel: &Tunnel, direction: Direction) -> Result<(), Broken> {
        let (_, to) = tunnel.sides(direction);
        let lane = self.lane(direction);
        if !lane.has_front() {
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
        for _ in 0..Tunnel::READS {
            if from.is_done() || !from.is_readable() {
                return Ok(closes);
            }
            let front = lane.put_front(buffer.whole());
            let room = buffer.room(front);
            let Some(bytes) = from.receive(room) else { continue };
            let received = bytes.len();
            // SAFETY: `front` bytes were put there, and `received` bytes were read behind them.
            look(unsafe { buffer.written(front + received) })?;
        }
        from.post_read_last();
        Ok(closes)
    }
}
