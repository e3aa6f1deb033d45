//! The frames of one direction of a tunnel, and the slow way of bytes that are more than payload.

use core::cell::Cell;
use core::mem::MaybeUninit;

use ngx::ffi::ngx_log_t;
use websocket_guard_core::frame::control::Close;
use websocket_guard_core::frame::rate::{Bucket, Rate};
use websocket_guard_core::frame::{
    Data, DataFrame, Event, Header, MessageSize, OpCode, Options, Pings, Refusal, Reserved, Role,
    Step, Tail, Tracker, Violation,
};

use super::own::Own;
use crate::nginx::AllocationFailed;

/// The frames of one direction.
pub struct Lane {
    tracker: Cell<Tracker>,
    /// The bytes of a frame that is not there as far as it must be.
    tail: Cell<Option<Own<Tail>>>,
}

/// What is to be passed on of some bytes.
pub struct Passed {
    pub start: usize,
    pub end: usize,
    /// How many bytes are left, with those behind the end, when Pongs were cut out.
    pub length: usize,
    /// Why no more of them is.
    pub halt: Option<Halt>,
}

/// What stands in the way of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It breaks a rule.
    Violation(Violation),
    /// With it its message would have so many bytes of payload, which is too much.
    TooLarge(u64),
    /// It begins a message, and it is too early for one.
    TooEarly,
}

/// What bytes are looked at for, besides the rules.
#[derive(Default)]
pub struct Wants<'a> {
    /// To go no further than to the first place where a frame of ours may follow.
    pub stops: bool,
    /// Pings whose Pongs are cut out.
    pub pings: Option<&'a Pings>,
    /// How large messages may be. Where there is a limit, it must always be given.
    pub size: Option<&'a mut MessageSize>,
    /// How often there may be one.
    pub gate: Option<&'a mut Gate>,
}

/// What lets messages pass, one after the other.
pub struct Gate {
    pub bucket: Bucket,
    pub rate: Rate,
    /// In milliseconds.
    pub now: u64,
}

/// What is worth to be known of the frames that pass.
pub enum Notice<'b> {
    Close(Close<'b>),
    Ping,
    /// The Pong of a Ping of the guard's.
    Answer(u32),
}

impl Lane {
    /// A direction in which nothing was sent yet; without `reserved` it has no frames.
    pub fn new(sender: Role, reserved: Option<Reserved>) -> Self {
        let mut tracker = Tracker::new(sender, reserved.unwrap_or(Reserved::ANY));
        if reserved.is_none() {
            tracker.give_up();
        }
        Self { tracker: Cell::new(tracker), tail: Cell::new(None) }
    }

    /// Where the direction stands.
    pub fn tracker(&self) -> Tracker {
        self.tracker.get()
    }

    /// A Close of ours was sent this way.
    pub fn close(&self) {
        self.change(Tracker::close);
    }

    fn change(&self, change: impl FnOnce(&mut Tracker)) {
        let mut tracker = self.tracker.get();
        change(&mut tracker);
        self.tracker.set(tracker);
    }

    /// Whether all of the bytes can be passed on without a closer look. No message in one frame that begins
    /// with them has more than `limit` bytes of payload.
    #[inline(always)]
    pub fn pass(&self, bytes: &[u8], limit: u64) -> bool {
        // SAFETY: a worker has one thread, and the reference is not kept.
        unsafe { &mut *self.tracker.as_ptr() }.pass(bytes, limit)
    }

    /// Whether there are bytes to be put in front of those that are read next.
    #[inline(always)]
    pub fn has_front(&self) -> bool {
        // SAFETY: a worker has one thread, and the reference is not kept.
        unsafe { &*self.tail.as_ptr() }.is_some()
    }

    /// Puts them there, and tells how many they are.
    pub fn put_front(&self, room: &mut [MaybeUninit<u8>]) -> usize {
        // SAFETY: a worker has one thread, and the reference is not kept.
        let Some(tail) = (unsafe { &*self.tail.as_ptr() }) else { return 0 };
        for (to, from) in room.iter_mut().zip(tail.bytes()) {
            to.write(*from);
        }
        tail.bytes().len()
    }

    /// How many bytes of the frame that is under way have not come yet, if it is under way.
    pub fn missing(&self) -> usize {
        // SAFETY: a worker has one thread, and the reference is not kept.
        let tail = unsafe { &*self.tail.as_ptr() };
        match tail.as_ref().filter(|tail| tail.passed() > 0) {
            // A part of a control frame was passed on, with its header.
            Some(tail) => Header::parse(tail.bytes()).map_or(0, |(header, size)| {
                (size + header.length as usize).saturating_sub(tail.bytes().len())
            }),
            None => usize::try_from(self.tracker().remaining()).unwrap_or(usize::MAX),
        }
    }

    /// The bytes that are held back, when nothing more will come.
    pub fn take_held(&self) -> Option<Own<Tail>> {
        self.tail.take().filter(|tail| tail.passed() == 0)
    }

    /// Looks at bytes, those put in front included, frame by frame.
    #[inline(never)]
    pub fn look(
        &self,
        bytes: &mut [u8],
        log: *mut ngx_log_t,
        wants: Wants,
        mut notice: impl FnMut(Notice),
    ) -> Result<Passed, AllocationFailed> {
        let mut tracker = self.tracker.get();
        let start = self.tail.take().map_or(0, |tail| tail.passed());
        // Up to where they were looked at, and how many of those before are not cut out. The latter stand in
        // front; all others are moved once, at the most: a peer can send nothing but Pongs.
        let (mut at, mut end) = (0, 0);
        let mut halt = None;
        let Wants { stops, pings, size, mut gate } = wants;
        let mut options = Options { pings, size };
        while let Some(rest @ [_, ..]) = bytes.get(at..) {
            if stops && end > 0 && end >= start && tracker.may_inject() {
                break;
            }
            if let (Some(gate), true) = (&mut gate, tracker.is_at_boundary()) {
                if begins_message(rest) && !gate.bucket.has_room(gate.rate, gate.now) {
                    halt = Some(Halt::TooEarly);
                    break;
                }
            }
            match tracker.step(rest, &mut options) {
                Ok(Step { event: Event::Incomplete { held }, .. }) => {
                    self.tail.set(Some(Own::new(Tail::new(rest, held), log)?));
                    if !held {
                        let length = rest.len();
                        bytes.copy_within(at.., end);
                        (at, end) = (at + length, end + length);
                    }
                    break;
                }
                Ok(Step { event, length, .. }) => {
                    match event {
                        Event::Data(DataFrame { opcode: Data::Text | Data::Binary, .. }) => {
                            if let Some(gate) = &mut gate {
                                gate.bucket.take();
                            }
                        }
                        Event::Close(close) => notice(Notice::Close(close)),
                        Event::Ping(_) => notice(Notice::Ping),
                        Event::OwnPong(number) => {
                            notice(Notice::Answer(number));
                            at += length;
                            continue;
                        }
                        _ => {}
                    }
                    if at != end {
                        bytes.copy_within(at..at + length, end);
                    }
                    (at, end) = (at + length, end + length);
                }
                Err(refusal) => {
                    halt = Some(match refusal {
                        Refusal::Violation(violation) => Halt::Violation(violation),
                        Refusal::TooLarge(size) => Halt::TooLarge(size),
                    });
                    break;
                }
            }
        }
        self.tracker.set(tracker);
        let rest = bytes.len() - at;
        if at != end {
            bytes.copy_within(at.., end);
        }
        Ok(Passed { start, end: end.max(start), length: end + rest, halt })
    }

    /// Looks at no more frames.
    pub fn give_up(&self) {
        self.change(Tracker::give_up);
    }
}

/// Whether a frame is the first of a message.
fn begins_message(frame: &[u8]) -> bool {
    let opcode = frame.first().and_then(|&first| OpCode::of(first));
    matches!(opcode, Some(OpCode::Data(Data::Text | Data::Binary)))
}
