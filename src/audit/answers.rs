//! What answers a request without a backend, for the diagnoses: the text of the configuration is gone when
//! they are made.

use core::ptr;
use std::collections::HashMap;

use ngx::ffi::{ngx_conf_t, ngx_http_core_srv_conf_t, ngx_str_t};
use websocket_guard_core::config::{Answers, BlockKind, Node};
use websocket_guard_core::diagnosis::OwnSettings;
use websocket_guard_core::words::Place;

use crate::configuration::conf::{LevelAnswers, MergedLevel};
use crate::nginx::bytes;

/// The answering directives of all levels that have any, by the number of the level.
///
/// # Safety
/// The levels must be live.
pub unsafe fn collect(
    cf: &ngx_conf_t,
    levels: &[MergedLevel],
    nodes: &[Option<Node>],
) -> HashMap<u32, LevelAnswers> {
    let mut files: HashMap<Vec<u8>, &'static [u8]> = HashMap::new();
    // The tree has its own copies of the names of files, and goes.
    let mut keep = |place: Place| {
        let file = files.entry(place.file.to_vec()).or_insert_with(|| {
            // SAFETY: the pool lives as long as the configuration, as do the answers.
            unsafe { ngx_str_t::from_bytes(cf.pool, place.file) }.map(bytes).unwrap_or_default()
        });
        Place { file, line: place.line }
    };
    let mut found = HashMap::new();
    let (mut current, mut server): (*const ngx_http_core_srv_conf_t, u32) = (ptr::null(), 0);
    for level in levels {
        // SAFETY: the level is live.
        let number = unsafe { level.conf.as_ref() }.number;
        if !ptr::eq(current, level.server) {
            // A server comes before what is in it.
            (current, server) = (level.server, number);
        }
        let Some(node) = nodes.get(number as usize).copied().flatten() else { continue };
        let answers = Answers::of(node);
        let own = own_settings(node);
        if !answers.is_empty() || own != OwnSettings::default() {
            found.insert(number, LevelAnswers { server, answers: answers.map(&mut keep), own });
        }
    }
    found
}

/// What a location sets itself. An `if` in it sets no headers.
fn own_settings(node: Node) -> OwnSettings {
    let around = || node.ancestors().find(|around| around.kind() != BlockKind::If);
    let Some(node) = (if node.kind() == BlockKind::If { around() } else { Some(node) }) else {
        return OwnSettings::default();
    };
    let sets = |header: &[u8], counts: fn(&[u8]) -> bool| {
        node.own(b"proxy_set_header").any(|it| {
            it.arg(0).is_some_and(|name| name.eq_ignore_ascii_case(header))
                && it.arg(1).is_some_and(counts)
        })
    };
    OwnSettings {
        upgrade: sets(b"Upgrade", |_| true),
        connection: sets(b"Connection", |value| {
            !value.is_empty() && !value.eq_ignore_ascii_case(b"close")
        }),
        http_version: node.own(b"proxy_http_version").next().is_some(),
    }
}
