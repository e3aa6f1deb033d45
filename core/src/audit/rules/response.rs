//! What of the backend's answer reaches the client.

use crate::audit::model::Proxied;
use crate::audit::problem::Problem;
use crate::text::quoted::Listed;
use crate::text::quoted::Quoted;

use crate::audit::context::Context;

pub fn hidden_response_header<'a>(
    _: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let hidden = proxied.hidden;
    // nginx writes the Connection header of a 101 itself.
    let names: Vec<&str> = [(hidden.upgrade, "Upgrade"), (hidden.accept, "Sec-WebSocket-Accept")]
        .into_iter()
        .filter_map(|(hidden, name)| hidden.then_some(name))
        .collect();
    if names.is_empty() {
        return None;
    }
    let directive = format!("{}_hide_header", proxied.module.prefix());
    Some(
        Problem::new(format!("hides {} from the client ({directive})", Listed(&names)))
            .fix(format!("remove that {directive}"))
            .at(hidden.origin),
    )
}

pub fn response_header_added<'a>(
    _: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let (name, origin) = proxied.added?;
    Some(Problem::new(format!("adds {} to the answer of a handshake", Quoted(name))).at(origin))
}

pub fn intercept_errors<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let setting = proxied.intercept_errors.filter(|setting| setting.value)?;
    if !context.location.error_page {
        return None;
    }
    let directive = format!("{}_intercept_errors", proxied.module.prefix());
    Some(
        Problem::new(format!(
            "answers a refused upgrade with an error_page, which hides the reason ({directive})"
        ))
        .fix(format!("set \"{directive} off;\" in the location"))
        .at(setting.origin),
    )
}

#[cfg(test)]
mod tests {
    use crate::audit::model::{Hidden, ProxyModule};
    use crate::audit::testing::*;
    use crate::words::SetAt;

    #[test]
    fn hidden_headers() {
        let hidden = |upgrade, accept| {
            let origin = SetAt::Here(Some(at(40)));
            edit(on("/chat"), |p| p.hidden = Hidden { upgrade, accept, origin })
        };
        assert_eq!(
            lines(hidden(true, true)),
            ["websocket_guard: location \"/chat\" hides Upgrade and Sec-WebSocket-Accept from the \
              client (proxy_hide_header); remove that proxy_hide_header [hidden-response-header] \
              in nginx.conf:40"]
        );
        assert_eq!(names(&[hidden(false, true)]), ["hidden-response-header"]);
        assert!(names(&[hidden(false, false)]).is_empty());
        let scgi = edit(hidden(true, false), |p| p.module = ProxyModule::Scgi);
        assert!(lines(scgi)[0].contains("scgi_hide_header"));
    }

    #[test]
    fn intercepted_errors() {
        let mut location = edit(on("/chat"), |p| p.intercept_errors = above(true, 6));
        location.error_page = true;
        assert_eq!(names(&[location]), ["intercept-errors"]);
        location.error_page = false;
        assert!(names(&[location]).is_empty());
        let mut location = on("/chat");
        location.error_page = true;
        assert!(names(&[location]).is_empty());
    }
}
