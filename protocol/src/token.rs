//! Tokens and comma-separated lists (RFC 9110 sections 5.6.1 and 5.6.2).
