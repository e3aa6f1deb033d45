//! The client's opening handshake (RFC 6455 section 4.2.1).
