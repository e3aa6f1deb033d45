//! The processes that serve the configuration, and what they may hold.

use core::ptr;

use ngx::ffi::{
    ngx_conf_t, ngx_core_conf_t, ngx_core_module, ngx_event_conf_t, ngx_event_core_module,
    ngx_events_module,
};
use websocket_guard_core::audit::model::Site;
use websocket_guard_core::config::Tree;

/// # Safety
/// Must be called from `postconfiguration`.
pub unsafe fn describe<'a>(cf: &ngx_conf_t, tree: &'a Tree, site: &mut Site<'a>) {
    // SAFETY: the configurations of core modules stand in the cycle by their index; that of the event
    // module is null without an events block before http.
    let (core, events) = unsafe {
        let contexts = (*cf.cycle).conf_ctx;
        let core = *contexts.add((*ptr::addr_of!(ngx_core_module)).index);
        let events = *contexts.add((*ptr::addr_of!(ngx_events_module)).index);
        let events = events.cast::<*mut *mut ngx_event_conf_t>().as_ref().and_then(|list| {
            (*list.add((*ptr::addr_of!(ngx_event_core_module)).ctx_index)).as_ref()
        });
        (core.cast::<ngx_core_conf_t>().as_ref(), events)
    };
    if let Some(core) = core {
        site.workers = u64::try_from(core.worker_processes).unwrap_or(1).max(1);
        site.open_files = u64::try_from(core.rlimit_nofile).ok().or_else(file_limit);
        site.worker_shutdown_timeout = core.shutdown_timeout != usize::MAX
            || tree.root().own(b"worker_shutdown_timeout").next().is_some();
        // One that stands behind `http {}` is not read yet.
        site.shutdown_limit = Some(core.shutdown_timeout)
            .filter(|&it| it != usize::MAX && it != 0)
            .map(|it| it as u64);
    }
    let root = tree.root();
    site.open_files_place =
        root.own(b"worker_rlimit_nofile").next_back().map(|directive| directive.place());
    let block = root.blocks().find(|block| block.directive().name() == b"events");
    site.worker_connections_place = block.map(|block| {
        let directive = block.own(b"worker_connections").next_back();
        directive.map_or(block.place(), |directive| directive.place())
    });
    if let Some(events) = events {
        const DEFAULT_CONNECTIONS: u64 = 512;
        site.worker_connections = match events.connections {
            usize::MAX => DEFAULT_CONNECTIONS,
            connections => connections as u64,
        };
    }
}

/// How many files a process may open.
fn file_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is live for the call.
    (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0).then_some(limit.rlim_cur)
}
