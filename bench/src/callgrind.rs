//! Instructions in user space, counted by valgrind.

use std::path::Path;
use std::process::Command;

use crate::error::{read, Error, Result};

/// Puts valgrind in front of a program; its counts land in `output`.
pub fn arguments(command: &mut Command, output: &Path) {
    let mut file = std::ffi::OsString::from("--callgrind-out-file=");
    file.push(output);
    command.args(["--tool=callgrind", "--vgdb=no", "--quiet"]).arg(file);
}

/// All that the program has executed.
pub fn total(output: &Path) -> Result<f64> {
    let text = read(output)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
    total
        .and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| Error::new(format!("no totals in {}", output.display())))
}
