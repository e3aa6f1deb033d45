//! What works only with the buffering that mode `on` switches off.

use crate::audit::context::Context;
use crate::audit::model::Proxied;
use crate::audit::problem::Problem;
use crate::text::quoted::Listed;
use crate::words::{Mode, SetAt};

pub fn buffering_needed<'a>(
    context: &Context<'_, 'a>,
    proxied: &Proxied<'a>,
) -> Option<Problem<'a>> {
    let buffering = proxied.buffering?;
    if context.location.mode != Mode::On || buffering.value || buffering.origin != SetAt::Guard {
        return None;
    }
    let prefix = proxied.module.prefix();
    let (names, places): (Vec<String>, Vec<SetAt>) =
        [("store", proxied.store), ("limit_rate", proxied.limit_rate)]
            .into_iter()
            .filter_map(|(name, origin)| Some((format!("{prefix}_{name}"), origin?)))
            .unzip();
    let what = format!(
        "has {} without effect, because \"websocket_guard on\" switches buffering off",
        Listed(&names)
    );
    Some(Problem::new(what).at(*places.first()?))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::*;
    use crate::words::{Mode, SetAt};

    #[test]
    fn what_needs_it() {
        let store = edit(on("/"), |p| p.store = Some(SetAt::Here(Some(at(50)))));
        assert_eq!(
            lines(store),
            ["websocket_guard: location \"/\" has proxy_store without effect, because \
              \"websocket_guard on\" switches buffering off; use \"websocket_guard auto;\" there, \
              which leaves plain requests as they are [buffering-needed] in nginx.conf:50"]
        );
        let both = edit(store, |p| p.limit_rate = Some(SetAt::Above(Some(at(5)))));
        assert!(lines(both)[0].contains("has proxy_store and proxy_limit_rate without effect"));
        // Near: auto leaves buffering alone, and the location may keep it on, or off itself.
        let mut auto = edit(store, |p| p.buffering = default(true));
        auto.mode = Mode::Auto;
        assert!(names(&[auto]).is_empty());
        assert!(names(&[edit(store, |p| p.buffering = here(true, 9))]).is_empty());
        assert!(names(&[edit(store, |p| p.buffering = here(false, 9))]).is_empty());
        assert!(names(&[on("/")]).is_empty());
    }
}
