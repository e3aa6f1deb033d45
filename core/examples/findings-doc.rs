//! Writes `docs/findings.md` from the catalogue of findings.

use std::{fs, io};

fn main() -> io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/findings.md");
    fs::write(path, websocket_guard_core::findings::page())
}
