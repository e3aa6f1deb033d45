//! What is compared: each proxy with its configuration, always one worker or thread on one processor.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::client::Clients;
use crate::files::write;
use crate::process::{free_address, pinned, Server};
use crate::tls;
use crate::Bench;

/// How an nginx does WebSocket in the location `/ws/`. Without the guard the module is not loaded.
#[derive(Clone, Copy, PartialEq)]
pub enum Recipe {
    Hand,
    Guard(Tunnel),
}

/// Who moves the bytes of a tunnel.
#[derive(Clone, Copy, PartialEq)]
pub enum Tunnel {
    /// The guard, by default.
    Pump,
    /// The guard, with each directive that works on frames.
    Features,
    /// The guard, for a protocol that has no frames which it knows.
    NoFrames,
    /// nginx.
    Native,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Nginx(Recipe),
    Haproxy,
    Caddy,
    Apache,
    Direct,
}

#[derive(Clone, Copy)]
pub struct Subject {
    pub name: &'static str,
    pub kind: Kind,
    /// Whether its clients speak TLS.
    pub tls: bool,
}

/// The subject that all others are compared with.
pub const HAND: Subject =
    Subject { name: "hand-written recipe", kind: Kind::Nginx(Recipe::Hand), tls: false };
const HAND_AGAIN: Subject = Subject { name: "the same, second copy", ..HAND };
pub const GUARD: Subject =
    Subject { name: "guard", kind: Kind::Nginx(Recipe::Guard(Tunnel::Pump)), tls: false };
const GUARD_NATIVE: Subject = Subject {
    name: "guard, native tunnel",
    kind: Kind::Nginx(Recipe::Guard(Tunnel::Native)),
    tls: false,
};
pub const GUARD_FEATURES: Subject = Subject {
    name: "guard, every feature on frames",
    kind: Kind::Nginx(Recipe::Guard(Tunnel::Features)),
    tls: false,
};
/// Its clients ask for [`OTHER_PROTOCOL`].
pub const GUARD_NO_FRAMES: Subject = Subject {
    name: "guard, frames not looked at",
    kind: Kind::Nginx(Recipe::Guard(Tunnel::NoFrames)),
    tls: false,
};

pub const PROTOCOL: &str = "websocket";
/// The same bytes as WebSocket, under a name by which nobody knows them.
pub const OTHER_PROTOCOL: &str = "x-echo";

pub const HAPROXY: Subject = Subject { name: "HAProxy", kind: Kind::Haproxy, tls: false };
pub const CADDY: Subject = Subject { name: "Caddy", kind: Kind::Caddy, tls: false };
pub const APACHE: Subject = Subject { name: "Apache httpd", kind: Kind::Apache, tls: false };
const DIRECT: Subject = Subject { name: "no proxy", kind: Kind::Direct, tls: false };

/// nginx in each way, the hand-written recipe first.
pub fn nginxes() -> Vec<Subject> {
    vec![HAND, GUARD, GUARD_NATIVE]
}

/// The same and two more, which tell what frames cost.
pub fn nginxes_and_frames() -> Vec<Subject> {
    let mut subjects = nginxes();
    subjects.extend([GUARD_FEATURES, GUARD_NO_FRAMES]);
    subjects
}

pub fn proxies() -> Vec<Subject> {
    let mut subjects = nginxes();
    subjects.extend([HAPROXY, CADDY, APACHE]);
    subjects
}

pub fn all() -> Vec<Subject> {
    let mut subjects = proxies();
    subjects.insert(1, HAND_AGAIN);
    subjects.push(DIRECT);
    subjects
}

/// A subject that can be measured now.
pub struct Running {
    pub subject: Subject,
    pub address: SocketAddr,
    /// None for no proxy.
    pub server: Option<Server>,
}

impl Running {
    pub async fn stop(self) -> Result<()> {
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// Those that speak TLS with their clients, the hand-written recipe first.
pub fn with_tls() -> Vec<Subject> {
    let tls = |subject| Subject { tls: true, ..subject };
    [HAND, GUARD, GUARD_NATIVE, HAPROXY, CADDY].map(tls).to_vec()
}

impl Subject {
    /// Those of its tunnels.
    pub fn clients(self) -> Clients {
        let is_unknown = self.kind == GUARD_NO_FRAMES.kind;
        Clients { tls: self.tls, protocol: if is_unknown { OTHER_PROTOCOL } else { PROTOCOL } }
    }

    pub async fn start(self, bench: &Bench) -> Result<Running> {
        if self.kind == Kind::Direct {
            return Ok(Running { subject: self, address: bench.backend, server: None });
        }
        let address = free_address()?;
        let directory =
            bench.scratch.directory(&format!("{}-{}", self.program(), address.port()))?;
        let file = directory.join("configuration");
        write(&file, &self.configuration(bench, address, &directory))?;
        if self.tls {
            tls::certificate(&directory.join(CERTIFICATE))?;
        }
        let mut command = pinned(bench.proxy_cpu, self.path(bench))?;
        match self.kind {
            Kind::Nginx(_) => command.arg("-p").arg(&directory).arg("-c").arg(&file),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&file),
            Kind::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&file)
                .env("GOMAXPROCS", "1")
                .env("HOME", &directory)
                .env("XDG_CONFIG_HOME", &directory)
                .env("XDG_DATA_HOME", &directory),
            Kind::Apache | Kind::Direct => command.arg("-DFOREGROUND").arg("-f").arg(&file),
        };
        let server =
            Server::start(self.name, self.clients(), command, directory.join("output"), address)
                .await?;
        Ok(Running { subject: self, address, server: Some(server) })
    }

    fn program(self) -> &'static str {
        match self.kind {
            Kind::Nginx(_) => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Caddy => "caddy",
            Kind::Apache => "apache2",
            Kind::Direct => "",
        }
    }

    fn path(self, bench: &Bench) -> &Path {
        match self.kind {
            Kind::Nginx(_) => &bench.nginx,
            _ => Path::new(self.program()),
        }
    }

    /// Its version in its own words.
    pub fn version(self, bench: &Bench) -> Result<String> {
        let argument = if self.kind == Kind::Caddy { "version" } else { "-v" };
        let output = Command::new(self.path(bench)).arg(argument).output().context(self.name)?;
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// The configuration as the report shows it, for ports of no meaning.
    pub fn example(self, bench: &Bench) -> String {
        let address = SocketAddr::from(([127, 0, 0, 1], 8000));
        let example = self.configuration(bench, address, Path::new("/run/bench"));
        let module = bench.module.display().to_string();
        let example = example.replace(&bench.backend.to_string(), "127.0.0.1:9000");
        example.replace(&module, "modules/ngx_http_websocket_guard_module.so")
    }

    pub fn configuration(self, bench: &Bench, address: SocketAddr, directory: &Path) -> String {
        let backend = bench.backend;
        let port = address.port();
        let directory = directory.display();
        match self.kind {
            Kind::Nginx(recipe) => {
                let text = nginx(bench, recipe, address, true);
                if self.tls {
                    let listen = format!("listen {address}");
                    let tls = format!("{listen} ssl;\n        ssl_protocols TLSv1.3;\n        ssl_certificate {CERTIFICATE};\n        ssl_certificate_key {CERTIFICATE}");
                    text.replace(&listen, &tls)
                } else {
                    text
                }
            }
            Kind::Haproxy => format!(
                "global
    nbthread 1
    maxconn {}
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
    timeout tunnel 1h
frontend web
    bind {address}{}
    default_backend websocket
backend websocket
    server backend {backend}
",
                bench.tunnels + 100,
                if self.tls {
                    format!(" ssl crt {directory}/{CERTIFICATE}")
                } else {
                    String::new()
                },
            ),
            Kind::Caddy => format!(
                "{{
    admin off
    auto_https off
}}
{}:{port} {{
    bind 127.0.0.1{}
    reverse_proxy {backend}
}}
",
                if self.tls { "https://" } else { "http://" },
                if self.tls {
                    format!("\n    tls {directory}/{CERTIFICATE} {directory}/{CERTIFICATE}")
                } else {
                    String::new()
                },
            ),
            // mod_proxy keeps a thread for each tunnel.
            Kind::Apache | Kind::Direct => format!(
                "ServerRoot /usr/lib/apache2
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule proxy_module modules/mod_proxy.so
LoadModule proxy_http_module modules/mod_proxy_http.so
LoadModule proxy_wstunnel_module modules/mod_proxy_wstunnel.so
ServerName localhost
Listen {address}
PidFile {directory}/pid
DefaultRuntimeDir {directory}
ErrorLog {directory}/error.log
User www-data
Group www-data
ServerLimit 1
StartServers 1
ThreadLimit {APACHE_THREADS}
ThreadsPerChild {APACHE_THREADS}
MaxRequestWorkers {APACHE_THREADS}
MinSpareThreads 1
MaxSpareThreads {APACHE_THREADS}
ProxyTimeout 3600
ProxyPass / http://{backend}/ upgrade=websocket
",
            ),
        }
    }
}

/// Certificate and key of a proxy that speaks TLS, in its directory.
const CERTIFICATE: &str = "tls.pem";

/// Also the number of tunnels that Apache can hold in these configurations.
pub const APACHE_THREADS: usize = 1100;

/// `/ws/` does WebSocket; `/plain/` is proxied and `/answer/` answered by nginx, neither touched by anyone.
pub fn nginx(bench: &Bench, recipe: Recipe, address: SocketAddr, master: bool) -> String {
    let backend = bench.backend;
    let (load, map, directives) = match recipe {
        Recipe::Hand => (String::new(), HAND_MAP, HAND_DIRECTIVES),
        Recipe::Guard(tunnel) => {
            let directives = match tunnel {
                Tunnel::Pump => "\n            websocket_guard on;",
                Tunnel::Features => GUARD_FEATURE_DIRECTIVES,
                Tunnel::NoFrames => {
                    "\n            websocket_guard on;\n            websocket_guard_upgrade websocket x-echo;"
                }
                Tunnel::Native => {
                    "\n            websocket_guard on;\n            websocket_guard_tunnel native;"
                }
            };
            (format!("load_module {};\n", bench.module.display()), "", directives)
        }
    };
    let master = if master { "on" } else { "off" };
    // Workers of root's nginx would be another user's, who may not use the directories of this run.
    let user = if nix::unistd::Uid::effective().is_root() { "user root;\n" } else { "" };
    format!(
        "{load}{user}daemon off;
master_process {master};
worker_processes 1;
error_log error.log;
pid nginx.pid;
events {{
    worker_connections {};
}}
http {{
    access_log off;
    keepalive_requests 1000000;
{TEMPORARY_PATHS}{map}
    server {{
        listen {address};
        location /ws/ {{{directives}
            proxy_pass http://{backend};
        }}
        location /plain/ {{
            proxy_pass http://{backend};
        }}
        location /answer/ {{
            return 200 ok;
        }}
    }}
}}
",
        bench.connections
    )
}

/// Debian's are root's.
pub const TEMPORARY_PATHS: &str = "    client_body_temp_path temp-body;
    proxy_temp_path temp-proxy;
    fastcgi_temp_path temp-fastcgi;
    uwsgi_temp_path temp-uwsgi;
    scgi_temp_path temp-scgi;
";

pub const HAND_MAP: &str = "    map $http_upgrade $connection_upgrade {
        default upgrade;
        ''      close;
    }
";

/// What `websocket_guard on` stands for.
pub const HAND_DIRECTIVES: &str = "
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            proxy_buffering off;";

/// Every directive on frames, with times that a run does not come to.
pub const GUARD_FEATURE_DIRECTIVES: &str = "
            websocket_guard on;
            websocket_guard_frames strict;
            websocket_guard_ping 10m both timeout=1m;
            websocket_guard_close on;
            websocket_guard_lifetime 1d;
            websocket_guard_drain 10s;";
