//! HTTP/1.1 heads, as much of them as the load and its backend read.

/// The length of the head at the start of `bytes`, once it is complete.
pub fn head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of a header; lines are split in a head that `head` has found.
pub fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
