use crate::config::testing::{find, parse, parse_with};

use super::*;

/// What `text` becomes with `http` in the http block, `server` in the server and `location` in
/// `location /`.
fn evaluate(http: &str, server: &str, location: &str, text: &str) -> Option<String> {
    let config = format!("http {{ {http} server {{ {server} location / {{ {location} }} }} }}");
    let tree = parse(&config);
    let server =
        tree.http().unwrap().blocks().filter(|node| node.kind() == BlockKind::Server).last();
    let mut locations = server.unwrap().blocks();
    let node = locations.find(|node| node.directive().arg(0) == Some(b"/")).unwrap();
    let value = Variables::new(&tree).evaluate(text.as_bytes(), node).map(Cow::into_owned);
    value.map(|value| String::from_utf8(value).unwrap())
}

/// The same for what it may become, in the order of the text.
fn choices(http: &str, location: &str, text: &str) -> Vec<String> {
    let tree = parse(&format!(
        "http {{ {http} server {{ set $s s; location / {{ {location} }} location /b {{ set $a no; \
         }} }} server {{ set $a other; }} }}"
    ));
    let node = find(&tree, &["http", "server", "location /"]);
    let choices = Variables::new(&tree).choices(text.as_bytes(), node);
    choices.into_iter().map(|choice| String::from_utf8(choice).unwrap()).collect()
}

#[test]
fn what_it_may_be() {
    let map = "map $host $m { hostnames; default a:1; x b:$http_x; *.y c; ~z d; }";
    let values = ["a:1", "b:$http_x", "c", "d"];
    assert_eq!(choices(map, "", "$m"), values);
    assert_eq!(
        choices(map, "", "http://$m:80$uri/x"),
        values.map(|value| format!("http://{value}:80"))
    );
    let twice = "set $a 1; if ($http_x) { set $a 2; } if ($arg_x) { set $a $uri; }";
    assert_eq!(choices("", twice, "$a.x"), ["1.x", "2.x", "$uri.x"]);
    assert_eq!(choices("", "if ($http_x) { set $s t; }", "$s"), ["s", "t"]);

    for (http, location, text) in [
        ("", "", "constant"),
        ("", "", "$http_x"),
        ("", "", "$http_x$s"),
        (map, "", "$uri$m"),
        ("map $http_upgrade $m { default a; ~(?x)y b; }", "", "$m"),
        ("map $host $m { default a; } geo $m { default b; }", "", "$m"),
        ("map $host $m { default a; } split_clients $host $m { * b; }", "", "$m"),
        ("js_import x;", twice, "$a"),
    ] {
        let choices = choices(http, location, text);
        assert_eq!(choices, [] as [&str; 0], "{http} {location} {text}");
    }
    let long: String = (0..1000).map(|i| format!("h{i} v{i};")).collect();
    assert_eq!(choices(&format!("map $host $m {{ {long} }}"), "", "$m").len(), MAX_OPTIONS);
}

#[test]
fn conditions_of_if() {
    let holds = |condition: &str| {
        let tree = parse(&format!(
            "http {{ map $http_upgrade $ws {{ default 1; '' 0; }} server {{ location / {{
             set $a b; if ({condition}) {{ }} }} }} }}"
        ));
        Variables::new(&tree).holds(find(&tree, &["http", "server", "location", "if"]))
    };
    for condition in [
        "$http_upgrade",
        " $http_upgrade ",
        "$http_upgrade = websocket",
        "$http_upgrade = \"websocket\"",
        "$http_upgrade != ''",
        "$http_upgrade ~* ^WebSocket$",
        "$http_upgrade !~ h2c",
        "$http_sec_websocket_key",
        "$http_connection ~* upgrade",
        "$request_method = GET",
        "$ws",
        "$a = b",
    ] {
        assert_eq!(holds(condition), Some(true), "{condition}");
    }
    for condition in [
        "$http_upgrade = ''",
        "$http_upgrade = \"\" ",
        "$http_upgrade != websocket",
        "$http_upgrade !~* websocket",
        "$request_method != GET",
        "$request_method ~ ^(?:POST|PUT)$",
        "$ws = 0",
    ] {
        assert_eq!(holds(condition), Some(false), "{condition}");
    }
    for condition in [
        "$http_x",
        "$cookie_x = y",
        "$arg_x ~ y",
        "$http_upgrade = $http_x",
        "$http_upgrade ~ (?x)websocket",
        // One client sends more than `Upgrade` in it.
        "$http_connection = Upgrade",
        "-f $request_filename",
        "!-e $request_filename",
        "",
        "$",
        "$http_upgrade =",
        "$http_upgrade == websocket",
        "$http_upgrade = a b",
    ] {
        assert_eq!(holds(condition), None, "{condition}");
    }
}

#[test]
fn what_may_tell_upgrades() {
    let tree = parse("http { map $http_upgrade $ws { default 1; } server { set $a b; } }");
    let variables = Variables::new(&tree);
    for text in ["$uri$http_upgrade", "${http_connection}", "$ws", "$scheme-$a", "${"] {
        assert!(variables.may_tell_upgrades(text.as_bytes()), "{text}");
    }
    for text in ["", "upgrade", "$scheme$proxy_host$request_uri", "$http_x$cookie_y"] {
        assert!(!variables.may_tell_upgrades(text.as_bytes()), "{text}");
    }
}

fn map(map: &str) -> Option<String> {
    evaluate(map, "", "", "$x")
}

#[test]
fn texts() {
    for (text, expected) in [
        ("", Some("")),
        ("upgrade", Some("upgrade")),
        ("$http_upgrade", Some("websocket")),
        ("a-${http_upgrade}s", Some("a-websockets")),
        ("$request_method $server_protocol", Some("GET HTTP/1.1")),
        ("$websocket_guard_upgrade/$websocket_guard_connection", Some("websocket/upgrade")),
        ("$http_sec_websocket_version", Some("13")),
        ("$http_connection", Some("Upgrade")),
        ("x$http_connection", None),
        ("$http_sec_websocket_key", None),
        ("$host", None),
        ("$cookie_a", None),
        ("$1", None),
        ("$", None),
        ("${http_upgrade", None),
        ("${http_upgrade-}", None),
        ("a$-", None),
    ] {
        assert_eq!(evaluate("", "", "", text).as_deref(), expected, "{text}");
    }
}

// The expectations of the two tables were compared with what nginx answers.
const MAPS: &[(&str, Option<&str>)] = &[
    ("map $http_upgrade $x { default upgrade; '' close; }", Some("upgrade")),
    ("map $http_upgrade $x { '' close; }", Some("")),
    ("map $http_upgrade $x { WebSocket 'Upgrade'; default close; }", Some("Upgrade")),
    ("map $http_upgrade $x { \\websocket yes; volatile; }", Some("yes")),
    ("map $http_upgrade $x { '~^websocket$' a; default b; }", Some("a")),
    ("map $http_upgrade $x { '~^WebSocket$' a; default b; }", Some("b")),
    ("map $http_upgrade $x { '~*^WebSocket$' a; default b; }", Some("a")),
    ("map $http_upgrade $x { ~sock a; websocket b; }", Some("b")),
    ("map $http_upgrade $x { ~t$ a; ~^w b; }", Some("a")),
    ("map $http_upgrade $x { ~ a; default b; }", Some("a")),
    ("map $http_upgrade $x { '~[a-z]{9}' a; default b; }", Some("a")),
    ("map $http_upgrade $x { '~(?!a)' a; default b; }", None),
    ("map $http_upgrade $x { '~(?!a)' b; default b; }", Some("b")),
    ("map $http_upgrade $x { '~^(?:w|x)(?i:EB)\\w+$' a; default b; }", Some("a")),
    ("map $http_upgrade $x { default $request_method; }", Some("GET")),
    ("map $http_upgrade $x { default $host; }", None),
    ("map $http_upgrade:$request_method $x { websocket:get a; default b; }", Some("a")),
    ("map $http_upgrade $x { hostnames; *.socket a; websocket b; }", Some("b")),
    ("map $http_upgrade. $x { hostnames; websocket b; }", Some("b")),
    ("map $http_upgrade. $x { websocket b; default c; }", Some("c")),
    ("map a.$http_upgrade $x { hostnames; *.websocket b; default c; }", None),
    ("map a.$http_upgrade $x { *.websocket b; default c; }", Some("c")),
    ("map '' $x { '' a; default b; }", Some("a")),
    ("map '' $x { ~ a; default b; }", Some("b")),
    ("map $http_connection $x { ~*upgrade upgrade; default close; }", Some("upgrade")),
    ("map $http_connection $x { upgrade upgrade; default close; }", None),
    ("map $http_connection $x { default $http_connection; }", Some("Upgrade")),
    ("map $host $x { default upgrade; }", Some("upgrade")),
    ("map $host $x { a upgrade; default close; }", None),
    ("map $host $x { a upgrade; ~b upgrade; default upgrade; }", Some("upgrade")),
    ("map $http_sec_websocket_key $x { '' close; default upgrade; }", Some("upgrade")),
    ("map $http_upgrade $y { default a; } map $y $x { a b; default c; }", Some("b")),
    ("map $http_upgrade $x { default a; } map $host $x { default b; }", Some("b")),
    ("map $http_upgrade $x { default $x; }", None),
    ("map $http_upgrade $y { default $x; } map $y $x { default $y; }", None),
    ("map $http_upgrade $x { default a b; }", None),
    ("geo $x { default a; }", None),
    ("map $http_upgrade $x { default a; } geo $x { default b; }", None),
    ("map $http_upgrade $x { default a; } split_clients $host $x { * b; }", None),
    ("map $http_upgrade $x { default a; } server { set $x b; }", None),
    ("map $http_upgrade $x { default a; } server { auth_request_set $x b; }", None),
    ("map $http_upgrade $x { default a; } server { server_name ~^(?<x>.); }", None),
    ("map $http_upgrade $x { default a; } server { server_name ~^(?<y>.); }", Some("a")),
    ("map $http_upgrade $x { default a; } server { proxy_cache_bypass $x 1; }", Some("a")),
    ("map $http_upgrade $x { default a; } include gone;", None),
];

#[test]
fn maps() {
    for &(text, expected) in MAPS {
        assert_eq!(map(text).as_deref(), expected, "{text}");
    }
}

const SETS: &[(&str, &str, Option<&str>)] = &[
    ("set $x a;", "", Some("a")),
    ("", "set $x a;", Some("a")),
    ("set $x a;", "set $x b;", Some("b")),
    ("set $y b;", "set $x a$y;", Some("ab")),
    ("", "set $y b; set $x a$y$http_upgrade;", Some("abwebsocket")),
    ("", "set $x a$y; set $y b;", None),
    ("set $x a$y;", "set $y b;", None),
    ("", "set $x a; if ($host) { set $x b; }", None),
    ("", "if ($host) { set $x b; }", None),
    ("", "if ($host) { break; } set $x b;", None),
    ("", "rewrite ^/a /b break; set $x b;", None),
    ("", "set $x b; if ($host) { set $y b; }", Some("b")),
    ("", "set $x a; set $x b;", None),
    ("set $x a; if ($host) { set $x b; }", "", None),
    ("location /b { set $x b; }", "", None),
    ("location /b { set $x b; }", "set $x a;", Some("a")),
    ("location /b { set $x b; } set $x a;", "", None),
    ("", "set $x a; location /b { set $x b; }", Some("a")),
    ("location /b { set $y b; } set $x $y;", "", None),
    ("", "set $x $x;", None),
    ("", "set $x a; auth_request_set $x b;", None),
    ("", "set $x a; access_by_lua_file x.lua;", None),
    ("", "set $x a; js_content f.x;", None),
    ("", "set $x $host;", None),
];

#[test]
fn sets() {
    for &(server, location, expected) in SETS {
        let value = evaluate("", server, location, "$x");
        assert_eq!(value.as_deref(), expected, "{server} / {location}");
    }
}

#[test]
fn a_map_does_not_depend_on_a_set() {
    let both = "map $y $x { a b; default c; }";
    assert_eq!(evaluate(both, "set $y a;", "", "$x"), None);
}

#[test]
fn the_variables_of_another_server_do_not_matter() {
    let tree = parse(
        "http { server { set $x a; location / { if ($y) { } location /n { } } }
                server { set $x b; } }",
    );
    let variables = Variables::new(&tree);
    let server = ["http", "server", "location", "if", "location /n"];
    for path in [&server[..2], &server[..3], &server[..4]] {
        let value = variables.evaluate(b"$x", find(&tree, path));
        assert_eq!(value.as_deref(), Some(&b"a"[..]), "{path:?}");
    }
    let nested = find(&tree, &["http", "server", "location", "location /n"]);
    assert_eq!(variables.evaluate(b"$x", nested).as_deref(), Some(&b"a"[..]));
    assert_eq!(variables.evaluate(b"$x", tree.root()), None);
}

#[test]
fn a_set_is_not_inherited_by_nested_locations() {
    let tree = parse("http { server { location / { set $x a; location /n { } } } }");
    let variables = Variables::new(&tree);
    let nested = find(&tree, &["http", "server", "location", "location"]);
    assert_eq!(variables.evaluate(b"$x", nested), None);
}

#[test]
fn a_map_may_include_its_entries() {
    let tree = parse_with(
        "http { map $http_upgrade $x { include entries; default b; } }",
        &[("entries", "websocket a;")],
    );
    let http = find(&tree, &["http"]);
    assert_eq!(Variables::new(&tree).evaluate(b"$x", http).as_deref(), Some(&b"a"[..]));
}

#[test]
fn conditions() {
    let http = "
        map $http_upgrade $by_upgrade { default 1; '' 0; }
        map $http_connection $by_connection { upgrade 1; '~*upgrade' yes; default 0; }
        map $http_sec_websocket_key $by_key { default $http_sec_websocket_key; '' 0; }
        map $cookie_session $by_cookie { default 1; '' 0; }";
    let tree = parse(&format!("http {{ {http} }}"));
    let variables = Variables::new(&tree);
    for (text, expected) in [
        ("", Some(false)),
        ("0", Some(false)),
        ("00", Some(true)),
        ("$http_upgrade", Some(true)),
        ("$http_connection", Some(true)),
        ("$http_sec_websocket_key", Some(true)),
        ("$http_sec_websocket_key$host", Some(true)),
        ("$by_upgrade", Some(true)),
        ("$by_connection", Some(true)),
        ("$by_key", Some(true)),
        ("$by_cookie", Some(false)),
        ("$cookie_nocache$arg_nocache", Some(false)),
        ("$http_pragma", None),
        ("0$host", None),
        ("$nothing", None),
    ] {
        let set = variables.is_set_for_upgrade(text.as_bytes(), tree.root());
        assert_eq!(set, expected, "{text}");
    }
    assert_eq!(variables.evaluate(b"$by_cookie", tree.root()), None);
}

#[test]
fn values_that_grow_come_to_an_end() {
    let mut http = String::from("map a $m0 { default 0123456789; }");
    for number in 1..200 {
        let value = format!("$m{}", number - 1).repeat(50);
        http += &format!("map a $m{number} {{ default '{value}'; }}");
    }
    http += "map a $loop { default '";
    http += &"$loop".repeat(500);
    http += "'; }";
    let tree = parse(&format!("http {{ {http} }}"));
    let variables = Variables::new(&tree);
    let value = variables.evaluate(b"$m1", tree.root()).unwrap();
    assert_eq!(value.len(), 500);
    for text in [&b"$m9"[..], b"$m199", b"$loop"] {
        assert_eq!(variables.evaluate(text, tree.root()), None);
    }

    let mut sets = String::new();
    for number in (1..200).rev() {
        sets += &format!("set $s{} '{}';", number + 1, format!("$s{number}").repeat(100));
    }
    let tree = parse(&format!("http {{ server {{ {sets} }} }}"));
    let server = find(&tree, &["http", "server"]);
    assert_eq!(Variables::new(&tree).evaluate(b"$s200", server), None);
}
