//! Which origins may open a WebSocket (RFC 6454, RFC 6455 section 10.2).
