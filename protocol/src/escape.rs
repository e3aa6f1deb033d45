//! Untrusted bytes in a log line.
