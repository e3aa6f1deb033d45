//! The upgrade protocols that a location forwards (RFC 9110 section 7.8).
