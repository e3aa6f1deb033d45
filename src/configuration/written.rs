//! What the directives of one level say, before it is merged with the levels above.

use core::ptr::NonNull;

use ngx::ffi::{ngx_msec_t, ngx_str_t};
use websocket_guard_core::findings::FindingSet;
use websocket_guard_core::handshake::origin::OriginPolicy;
use websocket_guard_core::handshake::upgrade::Protocols;
use websocket_guard_core::handshake::Strictness;
use websocket_guard_core::words::Mode;

use crate::configuration::tunnels::{Drain, Lifetime, MaxMessage, MessageRate, PingConf};
use crate::configuration::words::{Forwarded, LogLevel, TunnelLoop};

/// What is written in one level: `None` where a directive does not stand in it, `Some(None)` where it says `off`
/// or `any`.
///
#[derive(Clone, Copy, Default)]
pub struct Written {
    /// The line that opens the level.
    pub opened: Opening,
    /// The level's number among the configurations of locations, in the order of the text.
    pub number: u32,
    /// `websocket_guard`
    pub mode: Option<Mode>,
    /// `websocket_guard_timeout`, in milliseconds
    pub timeout: Option<ngx_msec_t>,
    /// `websocket_guard_tunnel`
    pub tunnel: Option<TunnelLoop>,
    /// `websocket_guard_close`
    pub close: Option<bool>,
    /// `websocket_guard_frames`: whether they must keep to the rules
    pub strict_frames: Option<bool>,
    /// `websocket_guard_ping`
    pub ping: Option<Option<PingConf>>,
    /// `websocket_guard_max_message`
    pub max_message: Option<Option<MaxMessage>>,
    /// `websocket_guard_message_rate`
    pub message_rate: Option<Option<MessageRate>>,
    /// `websocket_guard_lifetime`
    pub lifetime: Option<Option<Lifetime>>,
    /// `websocket_guard_drain`
    pub drain: Option<Option<Drain>>,
    /// `websocket_guard_upgrade`
    pub protocols: Option<NonNull<Protocols>>,
    /// `websocket_guard_forwarded`
    pub forwarded: Option<Forwarded>,
    /// `websocket_guard_handshake`
    pub strictness: Option<Strictness>,
    /// `websocket_guard_origin`
    pub origin: Option<Option<NonNull<OriginPolicy>>>,
    /// `websocket_guard_log`
    pub log: Option<LogLevel>,
    /// `websocket_guard_ignore`
    pub ignore: Option<FindingSet>,
}

impl Written {
    /// Whether the level says anything of what the guard shall do.
    pub fn asks(&self) -> bool {
        self.timeout.is_some()
            || self.tunnel.is_some()
            || self.close.is_some()
            || self.strict_frames.is_some()
            || self.ping.is_some()
            || self.max_message.is_some()
            || self.message_rate.is_some()
            || self.lifetime.is_some()
            || self.drain.is_some()
            || self.forwarded.is_some()
            || self.strictness.is_some()
            || self.origin.is_some()
    }

    /// What the level asks for and cannot have, since it leaves its tunnels to nginx's loop.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.tunnel != Some(TunnelLoop::Native) {
            return None;
        }
        let asked = [
            ("websocket_guard_close", self.close == Some(true)),
            ("websocket_guard_frames", self.strict_frames == Some(true)),
            ("websocket_guard_ping", self.ping.flatten().is_some()),
            ("websocket_guard_max_message", self.max_message.flatten().is_some()),
            ("websocket_guard_message_rate", self.message_rate.flatten().is_some()),
            ("websocket_guard_lifetime", self.lifetime.flatten().is_some()),
            ("websocket_guard_drain", self.drain.flatten().is_some()),
        ];
        asked.into_iter().find_map(|(name, is_asked)| is_asked.then_some(name))
    }
}

/// A line that ends with a `{`.
#[derive(Clone, Copy, Default)]
pub struct Opening {
    /// The name of the file, which lives as long as the configuration.
    pub file: ngx_str_t,
    /// The number of the line, from 1.
    pub line: u32,
}
