//! Reads a made-up configuration with many locations, and says what that costs:
//! `cargo run --release -p websocket-guard-core --example parse-large [LOCATIONS]`

use std::fmt::Write;
use std::time::Instant;
use std::{env, fs};

use websocket_guard_core::config::{BlockKind, Files, Tree, Variables};

struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, _: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        None
    }
}

fn main() {
    let count = env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(50_000);
    let text = configuration(count);
    println!("{count} locations, {} bytes", text.len());

    let before = resident();
    let start = Instant::now();
    let tree = Tree::parse(b"nginx.conf", text, &mut NoFiles);
    println!("read: {:?}, {} KiB beside the text", start.elapsed(), resident() - before);

    let start = Instant::now();
    let variables = Variables::new(&tree);
    println!("variables: {:?}", start.elapsed());

    let start = Instant::now();
    let mut blocks = tree.blocks();
    let mut known = 0;
    let places: Vec<_> = tree.root().blocks().flat_map(|node| node.blocks()).collect();
    let servers = places.iter().filter(|node| node.kind() == BlockKind::Server);
    for location in servers.flat_map(|server| server.blocks()) {
        let place = location.place();
        let Some(location) = blocks.next(place.file, place.line) else { continue };
        let values = location.own(b"proxy_set_header").filter_map(|header| header.arg(1));
        known += values.filter_map(|value| variables.evaluate(value, location)).count();
        known += usize::from(location.inherited(b"auth_request").is_some());
    }
    println!("lookups: {:?}, {known} known", start.elapsed());
}

fn configuration(count: usize) -> Vec<u8> {
    let mut text = String::from(
        "events {}\nhttp {\n  map $http_upgrade $connection_upgrade { default upgrade; '' close; }\n",
    );
    text.push_str("  server {\n    listen 80;\n    auth_request /auth;\n");
    for number in 0..count {
        let _ = write!(
            text,
            "    location /ws/{number} {{
      proxy_pass http://127.0.0.1:8080;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
      proxy_buffering off;
    }}
"
        );
    }
    text.push_str("  }\n}\n");
    text.into_bytes()
}

/// What this process has in memory, in KiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
