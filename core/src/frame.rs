//! The frames of an open tunnel (RFC 6455 section 5), without its sockets.
//!
//! A proxy that passes bytes on as they come can know what they are, and can put control frames of
//! its own between them. Each direction has a [`Tracker`], which is shown all of its bytes and
//! reads headers only: payload is skipped, neither copied nor unmasked. Nothing here allocates or
//! panics, whatever a peer sends.
//!
//! # One read
//!
//! ```
//! use websocket_guard_core::frame::{Event, Options, Pings, Refusal, Step, Tail, Tracker};
//!
//! /// What one side of a tunnel sends.
//! struct Direction {
//!     tracker: Tracker,
//!     // Where a tunnel must be small: in a box, and none while there is no tail.
//!     tail: Option<Tail>,
//!     pings: Pings,
//!     strict: bool,
//! }
//!
//! impl Direction {
//!     /// `buffer` begins with the bytes of the tail, and ends with what was just read.
//!     fn pass_on(&mut self, buffer: &mut [u8], send: &mut dyn FnMut(&[u8])) -> Result<(), Refusal> {
//!         if self.tail.is_none() && self.tracker.pass(buffer, u64::MAX) {
//!             send(buffer);
//!             return Ok(());
//!         }
//!         let start = self.tail.take().map_or(0, |tail| tail.passed());
//!         let (mut at, mut end) = (0, buffer.len());
//!         let mut refused = Ok(());
//!         while at < end {
//!             let mut options = Options { pings: Some(&self.pings), size: None };
//!             match self.tracker.step(&buffer[at..end], &mut options) {
//!                 Ok(Step { event, length, .. }) => match event {
//!                     Event::OwnPong(number) => {
//!                         self.pings.answer(number);
//!                         // Where a read may hold very many, the rest is better moved once.
//!                         buffer.copy_within(at + length..end, at);
//!                         end -= length;
//!                     }
//!                     Event::Incomplete { held } => {
//!                         self.tail = Some(Tail::new(&buffer[at..end], held));
//!                         if !held {
//!                             at = end;
//!                         }
//!                         break;
//!                     }
//!                     // Here is where a Close is remembered, a Ping counted, a rate kept.
//!                     _ => at += length,
//!                 },
//!                 Err(refusal) if self.strict => {
//!                     refused = Err(refusal);
//!                     break;
//!                 }
//!                 Err(_) => self.tracker.give_up(),
//!             }
//!         }
//!         send(&buffer[start..at]);
//!         refused
//!     }
//! }
//! # use websocket_guard_core::frame::{Reserved, Role};
//! # let tracker = Tracker::new(Role::Server, Reserved::NONE);
//! # let pings = Pings::new(*b"a secret");
//! # let mut direction = Direction { tracker, tail: None, pings, strict: true };
//! # let mut sent = Vec::new();
//! # direction.pings.next(None);
//! # let mut bytes = b"\x81\x01a\x8a\x0ca secret\0\0\0\x01\x01\x02b".to_vec();
//! # direction.pass_on(&mut bytes, &mut |bytes| sent.extend_from_slice(bytes)).unwrap();
//! # assert_eq!(sent, b"\x81\x01a\x01\x02b");
//! # assert_eq!(direction.pings.outstanding(), 0);
//! ```
//!
//! - **Most reads** are a message in one frame, or a part of one, with nothing to look at:
//!   [`Tracker::pass`] knows them by less than twenty instructions. The loop behind it belongs in a
//!   function of its own that is not inlined. Who needs to know when a message ends compares
//!   [`Tracker::messages`] with what it was: `pass` never takes more than one message.
//! - **Tail.** A frame that is not there as far as it must be ([`Event::Incomplete`]) is looked at
//!   again, from its first byte, when more has come. Its bytes, at most [`Tail::CAPACITY`], are kept
//!   and put in front of what is read next. What is *held* is a header that is not complete (of a
//!   Close, its code too: else one with a wrong code would be half sent when it is refused), and a
//!   Pong while it may still be ours. Everything else is passed on when
//!   it comes, and is not passed on again ([`Tail::passed`]). What is held when the sender ends its
//!   side is passed on as it is.
//! - **Refusal.** A frame that breaks a rule or exceeds a limit is refused when its header is there,
//!   and a Close when its code is. Nothing of it was passed on, so that a Close may take its place.
//!   [`Tracker::give_up`] lets it and all that follows pass. Whether texts and the reasons of
//!   Closes are UTF-8 is left to the peers.
//! - **Stopping.** Nobody must step over all that was read. What was stepped over is to be passed
//!   on; the rest can wait, be it for a rate or an injection, and is stepped over later.
//!
//! # Putting a frame in between
//!
//! [`Tracker::may_inject`] speaks of the end of what was stepped over and not held. So it is true
//! of what was *sent* as soon as the backlog, which holds what was stepped over and could not be
//! sent, is empty. A direction that is busy may end a read within a frame again and again: who has
//! something to inject stops at the first step after which it is possible, sends up to there, then
//! the frame, then goes on with the rest. If the other side does not take all up to there, the rest
//! stays behind the backlog, not stepped over, and comes after the frame.
//!
//! What [`control`] makes to a backend is masked, with a fresh key; to a client it is not. After a
//! Close of ours the direction is closed by [`Tracker::close`].
//!
//! # Pings of our own
//!
//! [`Pings`] are those to one side; their Pongs are in what that side sends, and are cut out. A peer
//! may answer only the last of two Pings, so that each answer is one for all Pings before it.

mod close;
pub mod control;
mod header;
mod mask;
mod opcode;
mod pings;
pub mod rate;
mod reserved;
mod short;
mod tail;
#[cfg(test)]
mod tests;
mod tracker;
mod violation;

pub use close::CloseCode;
pub use header::Header;
pub use mask::{mask, Mask};
pub use opcode::{Control, Data, OpCode};
pub use pings::Pings;
pub use reserved::Reserved;
pub use short::Short;
pub use tail::Tail;
pub use tracker::{DataFrame, Event, MessageSize, Options, Refusal, Role, Step, Tracker};
pub use violation::Violation;
