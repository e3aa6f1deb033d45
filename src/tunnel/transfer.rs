//! Moves bytes one way. Most are whole frames of a message, or a part of one, and pass at once; all others are
//! inspected on their way.

use super::connections::Tunnel;
use super::direction::Direction;
use super::end::Ending;
use super::frames::Lane;
use super::inspect::Found;
use super::limits::Limit;
use super::pump::Pump;
use super::watch::Watch;

/// How bytes are moved.
#[derive(Clone, Copy)]
pub enum Manner<'w> {
    /// Nothing waits for its turn between them.
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
        for _ in 0..Tunnel::READS {
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
