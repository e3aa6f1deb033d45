//! Asks a side that is silent whether it is there (RFC 6455 section 5.5.2).

use websocket_guard_core::diagnosis::End;
use websocket_guard_core::frame::Role;

use super::asked::Due;
use super::clock::Moment;
use super::connections::Tunnel;
use super::direction::Direction;
use super::frames::Lane;
use super::pump::Pump;
use super::random::fresh_key;
use super::side::Broken;
use super::watch::Watch;

impl Pump {
    /// Asks the sides that were silent for too long. Returns the end of a tunnel with a side that does not
    /// answer.
    pub fn ask(&self, tunnel: &Tunnel, watch: &Watch) -> Result<Option<End>, Broken> {
        let Some(conf) = tunnel.request.location().and_then(|conf| conf.ping()) else {
            return Ok(None);
        };
        let mut next: Option<Moment> = None;
        for (side, dead) in [(Role::Client, End::ClientDead), (Role::Server, End::BackendDead)] {
            let Some(asked) = watch.asked(side) else { continue };
            let direction = Direction::from(side);
            let (from, _) = tunnel.sides(direction);
            if !self.backlog(direction).is_empty() || self.keeps(direction) {
                // Nobody reads what it sends.
                asked.hear();
            }
            let due = || asked.due(conf, watch.is_ping_pending(side));
            if due() == Due::Dead {
                if !from.is_slow(conf.timeout.unwrap_or(0)) {
                    return Ok(Some(dead));
                }
                asked.be_patient();
            }
            if due() == Due::Ping {
                watch.set_ping_pending(side, true);
                self.try_to_ping(tunnel, watch, side)?;
            }
            let moment = match due() {
                Due::At(moment) => moment,
                Due::Ping | Due::Dead => Moment::later(conf.interval),
            };
            next = Some(next.map_or(moment, |next| next.min(moment)));
        }
        watch.ping.set(next);
        Ok(None)
    }

    /// Sends a Ping that is pending, if there is a place for it now.
    pub fn try_to_ping(&self, tunnel: &Tunnel, watch: &Watch, side: Role) -> Result<(), Broken> {
        let Some(asked) = watch.asked(side).filter(|_| watch.is_ping_pending(side)) else {
            return Ok(());
        };
        let direction = Direction::from(side).opposite();
        let (from, to) = tunnel.sides(direction);
        let (ours, theirs) =
            (self.lane(direction).tracker(), self.lane(direction.opposite()).tracker());
        if ours.is_closed() || ours.is_lost() || theirs.is_lost() || from.is_done() || to.is_done()
        {
            // The time begins anew.
            watch.set_ping_pending(side, false);
            asked.hear();
            return Ok(());
        }
        let backlog = self.backlog(direction);
        if !ours.may_inject() || !backlog.is_empty() || to.is_buffered() {
            return Ok(());
        }
        watch.set_ping_pending(side, false);
        let frame = asked.next((side == Role::Server).then(fresh_key));
        backlog.copy(&frame, to.log())?;
        backlog.drain(|bytes| to.send(bytes))?;
        if !backlog.is_empty() {
            tunnel.watch_write(direction)?;
        }
        Ok(())
    }
}

impl Watch {
    /// How far it is to the end of the frame that is under way, if a Ping waits for that. Else a direction without a
    /// pause might never come to stand between two frames.
    #[inline(always)]
    pub fn next_place(&self, direction: Direction, lane: &Lane) -> Option<usize> {
        let waits = self.is_ping_pending(direction.opposite().sender());
        let remaining = if waits { lane.tracker().remaining() } else { 0 };
        usize::try_from(remaining).ok().filter(|remaining| *remaining > 0)
    }
}
