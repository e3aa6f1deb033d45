//! Limits to messages that do not hold.

use crate::audit::context::Context;
use crate::audit::model::Proxied;
use crate::audit::problem::Problem;

pub fn limits_let_go<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let origin = proxied.limits_let_go?;
    let what = "limits messages until one frame breaks RFC 6455, and not from then on \
                (\"websocket_guard_frames check\")";
    Some(Problem::new(what).at(origin))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::*;
    use crate::words::SetAt;

    #[test]
    fn limits_that_one_frame_ends() {
        let location = edit(on("/chat"), |p| p.limits_let_go = Some(SetAt::Here(Some(at(12)))));
        assert_eq!(
            lines(location),
            ["websocket_guard: location \"/chat\" limits messages until one frame breaks RFC 6455, and \
              not from then on (\"websocket_guard_frames check\"); remove \"websocket_guard_frames \
              check;\", or write \"websocket_guard_frames strict;\" [limits-let-go] in nginx.conf:12"]
        );
        assert!(names(&[on("/chat")]).is_empty());
    }
}
