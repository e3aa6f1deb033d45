//! The load-time audit: describes the merged configuration to the rules, and logs what they say.

mod answers;
mod describe;
mod files;

use ngx::ffi::{ngx_conf_t, NGX_LOG_INFO};
use websocket_guard_core::audit::{audit, summaries};

use crate::configuration::conf::{MainConf, MergedLevel};
use crate::configuration::sockets;
use crate::configuration::words::nginx_level;
use crate::nginx::delivery::{self, Delivery};

/// Audits the configuration, if any of it is guarded, checked or a recipe by hand.
///
/// # Safety
/// Must be called from `postconfiguration`, with all levels below `http {}`.
pub unsafe fn run(cf: &mut ngx_conf_t, main: &mut MainConf, levels: &[MergedLevel]) {
    if !main.audited || !delivery::is_wanted() {
        return;
    }
    let Some(tree) = files::read(cf) else { return };
    // SAFETY: the levels of a configuration that is being read are live.
    let nodes = unsafe { describe::nodes(levels, main.created, &tree) };
    // SAFETY: this is postconfiguration, and these are all levels.
    main.answers = unsafe { answers::collect(cf, levels, &nodes) };
    // SAFETY: this is postconfiguration, and these are all levels.
    main.sockets = unsafe { sockets::collect(cf, levels, &nodes) };
    let with_summaries = delivery::is_visible(cf, NGX_LOG_INFO);
    // SAFETY: this is postconfiguration, and these are all levels.
    let reports = unsafe {
        describe::describe(cf, main, levels, &tree, nodes, |site| {
            let mut delivery = Delivery::new(cf);
            for report in audit(site, |level| delivery::is_visible(cf, nginx_level(level))) {
                delivery.write(nginx_level(report.level), report.line());
            }
            for summary in with_summaries.then(|| summaries(site)).into_iter().flatten() {
                delivery.write(NGX_LOG_INFO, summary.line());
            }
            delivery.finish()
        })
    };
    main.reports = reports;
}
