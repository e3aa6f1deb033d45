//! Instructions in user space, counted by valgrind.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{anyhow, Result};

use crate::files::read;

/// Puts valgrind in front of a program; its counts land in `output`.
pub fn arguments(command: &mut Command, output: &Path) {
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(output);
    command.args(["--tool=callgrind", "--vgdb=no", "--quiet"]).arg(file);
}

#[derive(Debug, PartialEq)]
pub struct Count {
    pub total: f64,
    /// In functions with sha1 in their name: valgrind's processor has no instructions for it, today's real ones have.
    pub sha1: f64,
    /// In the heap's own functions.
    pub heap: f64,
}

/// The functions of glibc's heap, without what the compiler adds to their names.
const HEAP: [&str; 15] = [
    "malloc",
    "calloc",
    "realloc",
    "free",
    "posix_memalign",
    "_mid_memalign",
    "_int_memalign",
    "_int_malloc",
    "_int_realloc",
    "_int_free",
    "unlink_chunk",
    "malloc_consolidate",
    "sysmalloc",
    "systrim",
    "alloc_perturb",
];

/// What a function is counted for.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Sha1,
    Heap,
}

impl Part {
    fn of(function: &str) -> Option<Self> {
        if function.to_ascii_lowercase().contains("sha1") {
            return Some(Self::Sha1);
        }
        let name = function.split(['.', '\'']).next().unwrap_or_default();
        HEAP.contains(&name).then_some(Self::Heap)
    }
}

impl Count {
    /// What a program has executed.
    pub fn read(output: &Path) -> Result<Self> {
        Self::parse(&read(output)?).ok_or_else(|| anyhow!("no totals in {}", output.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut count = Self { total: f64::NAN, sha1: 0.0, heap: 0.0 };
        let mut parts = HashMap::new();
        let mut inside = None;
        let mut called = false;
        for line in text.lines() {
            if let Some(total) = line.strip_prefix("totals:") {
                count.total = total.trim().parse().ok()?;
            } else if let Some(function) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
                // "(12) name" the first time, be it of a caller or of one that is called; "(12)" from then on.
                let (number, name) = function.split_once(' ').unwrap_or((function, ""));
                if let Some(part) = Part::of(name) {
                    parts.insert(number, part);
                }
                if line.starts_with("fn=") {
                    inside = parts.get(number).copied();
                }
            } else if line.starts_with("calls=") {
                called = true;
            } else if line
                .starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
            {
                // The line after a call has the cost of what was called.
                let own = !std::mem::take(&mut called);
                if let (true, Some(part)) = (own, inside) {
                    let cost: f64 = line.split(' ').nth(1)?.parse().ok()?;
                    match part {
                        Part::Sha1 => count.sha1 += cost,
                        Part::Heap => count.heap += cost,
                    }
                }
            }
        }
        (!count.total.is_nan()).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cost_of_parts() {
        let text = "version: 1\npositions: line\nevents: Ir\n\nfn=(1) main\n0 5\ncfn=(2) sha1::compress\ncalls=1 0\n0 30\n\
                    fn=(2)\n0 9\nfn=(3) SHA1_Update\n+2 7\ncfn=(4) memcpy\ncalls=2 0\n* 14\nfn=(2)\n-1 1\n\
                    fn=(5) _int_free\n0 4\ncfn=(6) unlink_chunk.constprop.0\ncalls=1 0\n0 3\nfn=(6)\n0 3\n\
                    fn=(7) mallocator\n0 8\n\ntotals: 81\n";
        assert_eq!(Count::parse(text), Some(Count { total: 81.0, sha1: 17.0, heap: 7.0 }));
        assert_eq!(Count::parse("fn=(1) main\n0 5\n"), None);
    }
}
