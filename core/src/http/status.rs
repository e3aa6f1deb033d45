//! Statuses by what they mean to a client.

/// Whether a client goes to another URL with it, if there is a Location header (RFC 9110 section 15.4).
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}
