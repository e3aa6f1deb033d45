//! Moves bytes one way.
//!
//! On their way they are looked at as frames, header by header ([`Lane`](super::frames::Lane)).

use core::ops::Range;

use websocket_guard_core::diagnosis::{End, FrameError, MessageTooLarge};
use websocket_guard_core::frame::Tracker;

use super::asked::Asked;
use super::buffer::Loan;
use super::connections::Tunnel;
use super::direction::Direction;
use super::end::observe;
use super::frames::{Halt, Lane, Notice, Wants};
use super::limits::Limit;
use super::pump::Pump;
use super::side::{Broken, Side};
use super::watch::Watch;
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

/// Why a tunnel cannot go on.
pub enum Ending {
    /// A side has closed and the other has all of its bytes, or a limit of nginx's has passed.
    Over,
    /// A frame is refused.
    Refused(End),
    Broken,
}

impl From<Broken> for Ending {
    fn from(Broken: Broken) -> Self {
        Self::Broken
    }
}

impl From<AllocationFailed> for Ending {
    fn from(_: AllocationFailed) -> Self {
        Self::Broken
    }
}

/// How bytes are moved.
#[derive(Clone, Copy)]
pub enum Manner<'w> {
    /// Nothing waits, be it for a place among them.
    Quiet(Option<&'w Watch>),
    /// With `stops` they go no further than to the end of a frame.
    Careful { watch: Option<&'w Watch>, stops: bool },
}

impl<'w> Manner<'w> {
    #[inline(always)]
    fn watch(self) -> Option<&'w Watch> {
        let (Self::Quiet(watch) | Self::Careful { watch, .. }) = self;
        watch
    }

    #[inline(always)]
    fn stops(self) -> bool {
        matches!(self, Self::Careful { stops: true, .. })
    }

    /// How far it is to a place that a frame of ours waits for.
    #[inline(always)]
    fn next_place(self, direction: Direction, lane: &Lane) -> Option<usize> {
        match self {
            Self::Quiet(_) => None,
            // What is behind it must not be read yet, or else it would be lost for those who look at
            // frames.
            Self::Careful { stops: true, .. } => Some(lane.missing()).filter(|length| *length > 0),
            Self::Careful { watch, .. } => watch?.next_place(direction, lane),
        }
    }
}

/// Whether bytes that were looked at stand in the way of more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// There is something to wait for.
    Wait,
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

    /// Moves what there is where something may wait for a place among it. With `stops` it goes no further than
    /// to the end of a frame.
    #[inline(never)]
    pub fn transfer_with(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        watch: Option<&Watch>,
        stops: bool,
    ) -> Result<(), Ending> {
        self.transfer(tunnel, direction, Manner::Careful { watch, stops })
    }

    /// Moves what there is, as far as the other side takes it.
    // Most of it is gone where it is compiled for `Quiet`, which is for nearly every event of a worker.
    #[inline(always)]
    pub fn transfer(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        manner: Manner,
    ) -> Result<(), Ending> {
        let (from, to) = tunnel.sides(direction);
        let (watch, stops) = (manner.watch(), manner.stops());
        let limit = watch.and_then(|watch| watch.limit(direction.sender()));
        if !self.is_free(tunnel, direction, limit) {
            self.make_way(tunnel, direction, limit, stops)?;
            if !self.is_free(tunnel, direction, limit) {
                return Ok(());
            }
        }
        if !from.is_readable() || self.has_stopped(direction, stops) {
            return Ok(());
        }

        let lane = self.lane(direction);
        let passes = limit.map_or(Some(u64::MAX), Limit::passes).filter(|_| !stops);
        let mut buffer = tunnel.borrow_buffer()?;
        for _ in 0..READS {
            let front = if lane.has_front() { lane.put_front(buffer.whole()) } else { 0 };
            let room = buffer.room(front);
            let place = manner.next_place(direction, lane);
            let place = place.filter(|place| *place <= room.len());
            let room =
                room.get_mut(..place.unwrap_or(usize::MAX).min(room.len())).unwrap_or_default();
            let Some(bytes) = from.receive(room) else {
                if from.is_done() {
                    self.let_go(tunnel, direction)?;
                }
                return Ok(());
            };
            let received = bytes.len();
            if let Some(asked) = watch.and_then(|watch| watch.asked(direction.sender())) {
                asked.hear();
            }
            if direction == Direction::ToClient {
                tunnel.count_received(received);
            }
            let passes = match passes {
                Some(most) if front == 0 => lane.pass(bytes, most),
                _ => false,
            };
            if passes {
                let sent = to.send(bytes)?;
                if sent < received {
                    // SAFETY: these bytes were read into the buffer.
                    unsafe { self.keep_rest(to, direction, &mut buffer, sent..received)? };
                    return Ok(());
                }
            } else {
                // SAFETY: `front` bytes were put there, and `received` bytes were read behind them.
                let found = unsafe {
                    self.inspect(tunnel, direction, &mut buffer, front + received, stops)?
                };
                if found == Found::Wait {
                    return Ok(());
                }
            }
            // A Ping that waits for this place goes first.
            if place == Some(received) {
                break;
            }
            if !from.is_readable() {
                return Ok(());
            }
        }
        from.post_read_last();
        Ok(())
    }

    /// Whether nothing that came this way before waits yet.
    #[inline(always)]
    fn is_free(&self, tunnel: &Tunnel, direction: Direction, limit: Option<&Limit>) -> bool {
        let is_header_sent = direction == Direction::ToBackend || !tunnel.client.is_buffered();
        is_header_sent
            && self.backlog(direction).is_empty()
            && !limit.is_some_and(|limit| !limit.kept.is_empty())
    }

    /// Moves what came this way before.
    #[cold]
    #[inline(never)]
    fn make_way(
        &self,
        tunnel: &Tunnel,
        direction: Direction,
        limit: Option<&Limit>,
        stops: bool,
    ) -> Result<(), Ending> {
        let (_, to) = tunnel.sides(direction);
        if direction == Direction::ToClient && to.is_buffered() {
            tunnel.send_header()?;
            if to.is_buffered() {
                return Ok(());
            }
        }
        let backlog = self.backlog(direction);
        backlog.drain(|bytes| to.send(bytes))?;
        match limit {
            Some(limit) if backlog.is_empty() => {
                self.go_on_with_kept(tunnel, direction, limit, stops)
            }
            _ => Ok(()),
        }
    }

    /// Keeps the bytes of this range, which a side has not taken.
    ///
    /// # Safety
    /// They must have been written into the buffer.
    #[cold]
    #[inline(never)]
    unsafe fn keep_rest(
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

    /// Passes on what may be of bytes that are looked at frame by frame.
    ///
    /// # Safety
    /// So many bytes must have been written into the buffer.
    #[inline(never)]
    unsafe fn inspect(
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
    fn has_stopped(&self, direction: Direction, stops: bool) -> bool {
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
    fn go_on_with_kept(
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
    fn let_go(&self, tunnel: &Tunnel, direction: Direction) -> Result<(), Broken> {
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
        for _ in 0..READS {
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

    /// Whether one side has closed and the other has all of its bytes, or both have closed.
    #[inline(always)]
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
