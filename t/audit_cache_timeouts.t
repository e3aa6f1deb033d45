#!/usr/bin/perl

# What the audit says about caches in front of a WebSocket, and about the limits that cut a tunnel.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Audit;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi cache map /)->plan(47);

# ---- cache-on ------------------------------------------------------------------------------------

audits($t, 'cache-on',
    '[warn] websocket_guard: location "/ws" may answer a handshake from its cache (proxy_cache); add '
        . '"websocket_guard auto;" to the location, or "proxy_cache_bypass $http_upgrade;" and '
        . '"proxy_no_cache $http_upgrade;"',
    ['in the location' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
server {
    listen 127.0.0.1:8080;
    location /ws {
        RECIPE
        proxy_cache all; #= cache-on
        PASS
    }
}
CONF
    ['inherited by a nested regex location, with a bypass for something else' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
server {
    listen 127.0.0.1:8080;
    proxy_cache all; #= cache-on
    location /app/ {
        proxy_cache_bypass $cookie_session $arg_fresh;
        PASS
        location ~ ^/app/ws { RECIPE PASS }
    }
}
CONF
    ['a map that is 0 for an upgrade, in an included file' => <<'CONF',
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
map $http_upgrade $plain { default 0; '' 1; }
include server.conf;
server {
    listen 127.0.0.1:8082;
}
CONF
        files => { 'server.conf' => <<'CONF' }],
server {
    listen 127.0.0.1:8080;
    location /ws {
        RECIPE
        proxy_cache all; #= cache-on
        proxy_cache_bypass $plain;
        PASS
    }
}
CONF
    ['of uwsgi' => <<'CONF',
uwsgi_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
server {
    listen 127.0.0.1:8080;
    location /ws {
        websocket_guard check;
        uwsgi_read_timeout 1h;
        uwsgi_cache_key $request_uri;
        uwsgi_cache all; #= cache-on
        uwsgi_pass 127.0.0.1:8081;
    }
}
CONF
        line => '[warn] websocket_guard: location "/ws" may answer a handshake from its cache (uwsgi_cache); set '
            . '"websocket_guard auto;" in the location, or "uwsgi_cache_bypass $http_upgrade;" and '
            . '"uwsgi_no_cache $http_upgrade;"'],
    ['a key of their own' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
map $http_upgrade $kind { default 1; '' 0; }
server {
    listen 127.0.0.1:8080;
    location /one { RECIPE proxy_cache all; proxy_cache_key $http_upgrade$host$request_uri; PASS }
    location /two { RECIPE proxy_cache all; proxy_cache_key "$kind $host $request_uri"; PASS }
    location /three {
        RECIPE proxy_cache_key "$host $request_uri $http_accept";
        proxy_cache all; #= cache-on
        PASS
    }
}
CONF
    ['upgrades go past it' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
map $http_upgrade $upgrades { default 1; '' 0; }
proxy_cache all;
server {
    listen 127.0.0.1:8080;
    location /one { RECIPE proxy_cache_bypass $http_upgrade; PASS }
    location /two { RECIPE proxy_cache_bypass $cookie_session $upgrades; PASS }
    location /three { RECIPE proxy_cache_bypass $http_sec_websocket_key; PASS }
}
CONF
    ['who knows whether they do' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
map $remote_addr $local { default 0; 127.0.0.1 1; }
server {
    listen 127.0.0.1:8080;
    location /ws { RECIPE proxy_cache all; proxy_cache_bypass $local; PASS }
}
CONF
    ['a zone for others only' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
map $http_upgrade $zone { default off; '' all; }
server {
    listen 127.0.0.1:8080;
    location /ws { RECIPE proxy_cache $zone; PASS }
}
CONF
    ['switched off in the location' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
proxy_cache all;
server {
    listen 127.0.0.1:8080;
    location /ws { RECIPE proxy_cache off; PASS }
}
CONF
    ['the guard takes care of it' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
server {
    listen 127.0.0.1:8080;
    location /ws { websocket_guard auto; HOST proxy_cache all; PASS }
}
CONF
);

# ---- cache-disabled ------------------------------------------------------------------------------

audits($t, 'cache-disabled',
    '[warn] websocket_guard: location "/ws" stores nothing in its proxy_cache, because "websocket_guard on" switches '
        . 'buffering off; use "websocket_guard auto;" there, which leaves plain requests as they are',
    ['in the location' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
server {
    listen 127.0.0.1:8080;
    location /ws {
        websocket_guard on;
        HOST
        proxy_cache all; #= cache-disabled
        PASS
    }
}
CONF
    ['inherited by a nested regex location' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
proxy_cache all; #= cache-disabled
server {
    listen 127.0.0.1:8080;
    HOST
    location /app/ {
        PASS
        location ~ ^/app/ws { websocket_guard on; PASS }
    }
}
CONF
    ['of uwsgi, in an included file' => <<'CONF',
uwsgi_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
uwsgi_cache_key $request_uri;
server {
    listen 127.0.0.1:8080;
    location /ws { websocket_guard on; include cache.conf; uwsgi_pass 127.0.0.1:8081; }
}
CONF
        files => { 'cache.conf' => "uwsgi_cache all; #= cache-disabled\n" }],
    ['auto' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
server {
    listen 127.0.0.1:8080;
    location /ws { websocket_guard auto; HOST proxy_cache all; PASS }
}
CONF
    ['buffering is wanted' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
server {
    listen 127.0.0.1:8080;
    location /ws { websocket_guard on; HOST proxy_buffering on; proxy_cache all; PASS }
}
CONF
    ['no cache in the location' => <<'CONF'],
proxy_cache_path %%TESTDIR%%/cache keys_zone=all:1m;
proxy_cache all;
server {
    listen 127.0.0.1:8080;
    location /ws { websocket_guard on; HOST proxy_cache off; PASS }
    location /page { PASS }
}
CONF
);

# ---- buffering-needed ----------------------------------------------------------------------------

audits($t, 'buffering-needed',
    '[warn] websocket_guard: location "/ws" has proxy_store without effect, because "websocket_guard on" switches buffering '
        . 'off; use "websocket_guard auto;" there, which leaves plain requests as they are',
    ['a store' => <<'CONF'],
location /ws { websocket_guard on;
    proxy_store on; #= buffering-needed
    PASS
}
CONF
    ['a rate, inherited from an included file by a nested location' => <<'CONF',
include rate.conf;
location /app/ {
    PASS
    location ~ ^/app/ws { websocket_guard on; PASS }
}
CONF
        files => { 'rate.conf' => "\nproxy_limit_rate 100k; #= buffering-needed\n" },
        line => '[warn] websocket_guard: location "^/app/ws" has proxy_limit_rate without effect, because "websocket_guard on" '
            . 'switches buffering off; use "websocket_guard auto;" there, which leaves plain requests as they are'],
    ['both, of uwsgi' => <<'CONF',
location /ws { websocket_guard on;
    uwsgi_store %%TESTDIR%%/store$uri; #= buffering-needed
    uwsgi_limit_rate 1m;
    uwsgi_pass 127.0.0.1:8081;
}
CONF
        line => '[warn] websocket_guard: location "/ws" has uwsgi_store and uwsgi_limit_rate without effect, because '
            . '"websocket_guard on" switches buffering off; use "websocket_guard auto;" there, which leaves plain requests as '
            . 'they are'],
    ['auto' => <<'CONF'],
location /ws { websocket_guard auto; websocket_guard_forwarded host; proxy_store on; proxy_limit_rate 1m; PASS }
CONF
    ['buffering is wanted' => <<'CONF'],
location /ws { websocket_guard on; proxy_buffering on; proxy_store on; proxy_limit_rate 1m; PASS }
CONF
    ['neither is on there' => <<'CONF'],
proxy_store on;
proxy_limit_rate 1m;
location /ws { websocket_guard on; proxy_store off; proxy_limit_rate 0; PASS }
location /page { PASS }
CONF
);

# ---- short-read-timeout --------------------------------------------------------------------------

audits($t, 'short-read-timeout',
    '[warn] websocket_guard: location "/ws" cuts a tunnel that is silent for 60s (proxy_read_timeout); set '
        . '"proxy_read_timeout 1h;", or put "websocket_guard on;" in its place',
    ['in the location' => <<'CONF'],
location /ws {
    VERSION HEADERS
    proxy_read_timeout 60s; #= short-read-timeout
    PASS
}
CONF
    ['by default, nested, in an included file' => "include ws.conf;\n",
        files => { 'ws.conf' => <<'CONF' },
location /app/ {
    PASS
    location ~ ^/app/ws { #= short-read-timeout
        VERSION HEADERS PASS
    }
}
CONF
        line => '[warn] websocket_guard: location "^/app/ws" cuts a tunnel that is silent for 60s (proxy_read_timeout, '
            . 'by default); add "websocket_guard on;" to the location, or "proxy_read_timeout 1h;"'],
    ['inherited by two' => <<'CONF',
proxy_read_timeout 500ms; #= short-read-timeout
location /one { VERSION HEADERS PASS }
location /two { VERSION HEADERS PASS }
CONF
        line => '[warn] websocket_guard: location "/one" (and in another location) cuts a tunnel that is silent for 500ms '
            . '(proxy_read_timeout); add "websocket_guard on;" to the location, or "proxy_read_timeout 1h;"'],
    ['own, where the guard must not touch it' => <<'CONF',
location = /ws {
    websocket_guard on;
    HOST
    proxy_read_timeout 30; #= short-read-timeout
    PASS
}
CONF
        line => '[warn] websocket_guard: location "/ws" cuts a tunnel that is silent for 30s (proxy_read_timeout); '
            . 'remove the proxy_read_timeout or add "websocket_guard_timeout 1h;", or have the application send pings '
            . 'more often'],
    ['a little longer' => <<'CONF'],
proxy_read_timeout 10s;
location /ws { VERSION HEADERS proxy_read_timeout 61s; PASS }
CONF
    ['the guard replaces it' => <<'CONF'],
HOST
proxy_read_timeout 10s;
location /on { websocket_guard on; PASS }
location /auto { websocket_guard auto; PASS }
CONF
    ['who sets the guard to it means it' => <<'CONF'],
HOST
location /ws { websocket_guard on; websocket_guard_timeout 20s; PASS }
location /beside { websocket_guard auto; websocket_guard_timeout 20s; proxy_read_timeout 10s; PASS }
CONF
    ['that of another module, and another timeout' => <<'CONF'],
uwsgi_read_timeout 5s;
location /ws { RECIPE proxy_send_timeout 5s; proxy_connect_timeout 5s; PASS }
CONF
);

# ---- low-send-timeout ----------------------------------------------------------------------------

audits($t, 'low-send-timeout',
    '[warn] websocket_guard: location "/ws" cuts a client that does not read for 5s (send_timeout); raise '
        . 'send_timeout to at least 10s, better 60s',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    send_timeout 5s; #= low-send-timeout
    PASS
}
CONF
    ['inherited by nested and regex locations, from an included file' => <<'CONF',
include timeouts.conf;
location /app/ {
    PASS
    location /app/ws { RECIPE PASS }
}
location ~ ^/ws { websocket_guard on; HOST PASS }
CONF
        files => { 'timeouts.conf' => "client_body_timeout 5s;\nsend_timeout 9999ms; #= low-send-timeout\n" },
        line => '[warn] websocket_guard: location "/app/ws" (and in another location) cuts a client that does not read for 9999ms '
            . '(send_timeout); raise send_timeout to at least 10s, better 60s'],
    ['just enough' => <<'CONF'],
send_timeout 2s;
location /ws { RECIPE send_timeout 10s; PASS }
CONF
    ['the timeout of the client that sends' => <<'CONF'],
client_header_timeout 5s;
client_body_timeout 5s;
location /ws { RECIPE PASS }
CONF
    ['of a location that is not for WebSocket' => <<'CONF'],
location /ws { RECIPE PASS }
location /page { send_timeout 2s; PASS }
CONF
);
