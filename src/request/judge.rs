//! What there is to say against a request that asks for an upgrade (RFC 6455 section 4.2.1). The gate
//! acts on it in a guarded location; elsewhere a diagnosis tells it.

use websocket_guard_core::diagnosis::{Asks, Dropped, Gate};
use websocket_guard_core::handshake::origin::Own;
use websocket_guard_core::handshake::upgrade::{first_that_can_be_listed, WEBSOCKET};
use websocket_guard_core::handshake::{self, Action, Violation};
use websocket_guard_core::http::field::{Fields, Values};
use websocket_guard_core::http::token::same;
use websocket_guard_core::words::Mode;

use crate::configuration::conf::LocationConf;
use crate::nginx::bytes;
use crate::request::attempt::Checked;
use crate::request::view::Request;

/// The opening handshake of a request.
pub type Handshake<F> = handshake::Request<Values<'static, F>>;

/// Checks a request that has an Upgrade header, as the location would in mode `on`.
pub fn check<F: Fields<'static>>(
    request: &Request,
    conf: &'static LocationConf,
    handshake: &Handshake<F>,
) -> Checked {
    let upgrade = &handshake.upgrade;
    let listed = conf.protocols();
    let asks = match listed.select(upgrade.clone()) {
        allowed if allowed.has_websocket() => Asks::WebSocket,
        allowed if !allowed.is_empty() => Asks::Listed,
        // A handshake is one even where no location would forward it.
        _ => Asks::Other,
    };
    let name = (asks == Asks::Other).then(|| first_that_can_be_listed(upgrade.clone())).flatten();
    let dropped = name.map(|name| Dropped { name, listed });
    Checked {
        asks,
        upgrade: upgrade.clone().next().unwrap_or_default(),
        dropped: dropped.filter(|dropped| {
            handshake.violation(same(dropped.name, WEBSOCKET.as_bytes())).is_none()
        }),
        method: bytes(request.raw().method_name),
        gate: examine(request, conf, handshake, asks),
    }
}

fn examine<F: Fields<'static>>(
    request: &Request,
    conf: &'static LocationConf,
    handshake: &Handshake<F>,
    asks: Asks,
) -> Gate<'static> {
    let violation = handshake.violation(asks == Asks::WebSocket);
    let upgrades = matches!(asks, Asks::WebSocket | Asks::Listed);
    let goes_on = match violation {
        Some(violation) => mode_action(conf, &violation) == Action::Forward,
        None => true,
    };
    if upgrades && goes_on {
        if let Some(policy) = conf.origin() {
            let own = Own { scheme: Some(request.scheme()), host: bytes(request.host()) };
            if let Err(denied) = policy.check(request.values("Origin"), &own) {
                return Gate::OriginDenied { denied, allowed: policy.words() };
            }
        }
    }
    match violation {
        Some(violation) if upgrades || violation == Violation::Http2Upgrade => {
            Gate::Violated(violation)
        }
        _ => Gate::Passed,
    }
}

/// `auto` refuses no handshake but one that nginx itself refuses from 1.31.0 on.
pub fn mode_action(conf: &LocationConf, violation: &Violation) -> Action {
    match (conf.mode(), violation) {
        (Mode::On, _) | (_, Violation::Http2Upgrade) => violation.action(conf.strictness()),
        _ => Action::PlainHttp,
    }
}
