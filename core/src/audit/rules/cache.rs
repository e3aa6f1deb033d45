//! The cache in front of the backend.

use crate::audit::model::{Proxied, Value};
use crate::audit::problem::Problem;
use crate::words::{Mode, SetAt};

use crate::audit::context::Context;

pub fn cache_on<'a>(_: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let cache = proxied.cache.filter(|cache| !cache.keyed)?;
    for condition in cache.bypass {
        match condition {
            Value::Guard | Value::Variable { upgrade: None, .. } => return None,
            // What counts as true for nginx (`ngx_http_test_predicates`).
            Value::Constant(value) | Value::Variable { upgrade: Some(value), .. } => {
                if !matches!(*value, b"" | b"0") {
                    return None;
                }
            }
        }
    }
    let prefix = proxied.module.prefix();
    Some(
        Problem::new(format!("may answer a handshake from its cache ({prefix}_cache)"))
            .fix(format!(
                "add \"websocket_guard auto;\" to the location, or \"{prefix}_cache_bypass \
                 $http_upgrade;\" and \"{prefix}_no_cache $http_upgrade;\""
            ))
            .at(cache.origin),
    )
}

pub fn cache_disabled<'a>(context: &Context<'_, 'a>, proxied: &Proxied<'a>) -> Option<Problem<'a>> {
    let cache = proxied.cache?;
    let buffering = proxied.buffering?;
    if context.location.mode != Mode::On || buffering.value || buffering.origin != SetAt::Guard {
        return None;
    }
    Some(
        Problem::new(format!(
            "stores nothing in its {}_cache, because \"websocket_guard on\" switches buffering off",
            proxied.module.prefix()
        ))
        .at(cache.origin),
    )
}

#[cfg(test)]
mod tests {
    use crate::audit::model::Cache;
    use crate::audit::testing::*;
    use crate::words::{Mode, SetAt};

    fn cache(bypass: &[&'static str]) -> Option<Cache<'static>> {
        Some(Cache { origin: SetAt::Here(Some(at(50))), keyed: false, bypass: values(bypass) })
    }

    #[test]
    fn a_cache_that_answers_handshakes() {
        let with = |bypass: &[&'static str]| edit(by_hand("/"), |p| p.cache = cache(bypass));
        assert_eq!(
            lines(with(&[])),
            ["websocket_guard: location \"/\" may answer a handshake from its cache (proxy_cache); \
              add \"websocket_guard auto;\" to the location, or \"proxy_cache_bypass \
              $http_upgrade;\" and \"proxy_no_cache $http_upgrade;\" [cache-on] in nginx.conf:50"]
        );
        assert_eq!(names(&[with(&["$cookie_a", "0", ""])]), ["cache-on"]);
        for bypass in ["$http_upgrade", "1", "$somewhere", "guard"] {
            assert!(names(&[with(&["$cookie_a", bypass])]).is_empty(), "{bypass}");
        }
        assert!(names(&[by_hand("/")]).is_empty());
        let keyed = edit(with(&[]), |p| p.cache = p.cache.map(|it| Cache { keyed: true, ..it }));
        assert!(names(&[keyed]).is_empty());
    }

    #[test]
    fn a_cache_that_stores_nothing() {
        let on = edit(on("/"), |p| p.cache = cache(&["guard"]));
        assert_eq!(names(&[on]), ["cache-disabled"]);
        // Near: auto leaves buffering alone, and the location may keep it on, or off itself.
        let mut auto = edit(on, |p| p.buffering = default(true));
        auto.mode = Mode::Auto;
        assert!(names(&[auto]).is_empty());
        assert!(names(&[edit(on, |p| p.buffering = here(true, 9))]).is_empty());
        assert!(names(&[edit(on, |p| p.buffering = here(false, 9))]).is_empty());
    }
}
