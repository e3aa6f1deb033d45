//! Verification of a backend's 101 (RFC 6455 section 4.1).
