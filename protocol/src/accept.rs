//! `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2).
