//! What the messages of a tunnel may be: how large, and how often the client may send one. Only where a
//! directive asks for it.

use core::cell::Cell;

use websocket_guard_core::frame::rate::Bucket;
use websocket_guard_core::frame::{MessageSize, Role};

use super::buffer::Backlog;
use super::clock::Moment;
use super::frames::Gate;
use crate::configuration::conf::LocationConf;
use crate::configuration::tunnels::MessageRate;

/// The limits of both sides.
pub struct Limits {
    client: Limit,
    backend: Limit,
}

/// What one side's messages may be.
pub struct Limit {
    /// How large, and how large the one is that is on its way.
    pub size: Cell<Option<MessageSize>>,
    /// How often.
    pub pace: Option<Pace>,
    /// What was read from that side and has not been looked at: a message that waits, or one that is refused.
    pub kept: Backlog,
}

/// How often a side may send a message, and how often it did.
pub struct Pace {
    pub conf: MessageRate,
    pub bucket: Cell<Bucket>,
    /// When a message that waits is to be looked at.
    pub due: Cell<Option<Moment>>,
}

impl Limits {
    /// Those of a location, if it has any.
    pub fn of(conf: &LocationConf) -> Option<Self> {
        let (size, rate) = (conf.max_message(), conf.message_rate());
        if size.is_none() && rate.is_none() {
            return None;
        }
        let limit = |is_limited: bool, rate: Option<MessageRate>| {
            let size = size.filter(|_| is_limited).map(|it| MessageSize::new(it.size));
            Limit { size: Cell::new(size), pace: rate.map(Pace::new), kept: Backlog::default() }
        };
        Some(Self {
            client: limit(size.is_some_and(|it| it.client), rate),
            backend: limit(size.is_some_and(|it| it.backend), None),
        })
    }

    /// Those of one side.
    #[inline(always)]
    pub fn of_sender(&self, sender: Role) -> &Limit {
        match sender {
            Role::Client => &self.client,
            Role::Server => &self.backend,
        }
    }

    /// Whether messages may have to wait.
    pub fn are_paced(&self) -> bool {
        self.client.pace.is_some() || self.backend.pace.is_some()
    }

    /// When a message that waits is to be looked at, if one does.
    pub fn due(&self) -> Option<Moment> {
        self.client.pace.as_ref()?.due.get()
    }

    /// That moment has come.
    pub fn forget_due(&self) {
        if let Some(pace) = &self.client.pace {
            pace.due.set(None);
        }
    }
}

impl Limit {
    /// The most that a message in one frame may have to pass without a closer look, in bytes of payload;
    /// `None` if each one has to be looked at.
    #[inline(always)]
    pub fn passes(&self) -> Option<u64> {
        match self.pace {
            Some(_) => None,
            None => Some(self.size.get().map_or(u64::MAX, |size| size.limit())),
        }
    }
}

impl Pace {
    fn new(conf: MessageRate) -> Self {
        Self {
            conf,
            bucket: Cell::new(Bucket::new(Moment::now().milliseconds() as u64)),
            due: Cell::new(None),
        }
    }

    /// What lets a message pass now.
    pub fn gate(&self) -> Gate {
        Gate {
            bucket: self.bucket.get(),
            rate: self.conf.rate,
            now: Moment::now().milliseconds() as u64,
        }
    }
}
