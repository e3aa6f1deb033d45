#!/usr/bin/perl

# A recipe by hand whose proxy_pass stands in an if is audited as any other, and one whose proxy_pass stands nowhere is told. A URI of
# proxy_pass that loses the query is told too.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Audit;

my $t = Test::Nginx->new()->has(qw/ http proxy map rewrite /)->plan(21);

audits($t, 'missing-connection',
    '[error] websocket_guard: "if" in location "/if" proxies without "Connection: upgrade"; add "websocket_guard on;" to the location, or set '
        . 'Connection from a map of $http_upgrade',
    ['proxy_pass in an if' => <<'CONF'],
location /if {
    HTTP11 HOST UPGRADE
    if (!-f $request_filename) { #= missing-connection
        PASS
        break;
    }
}
CONF
    ['in an included if' => <<'CONF',
location ~ ^/if { HTTP11 HOST UPGRADE include pass.conf; }
CONF
        files => { 'pass.conf' => "if (\$http_upgrade) { PASS } #= missing-connection\n" }],
    ['with all of the recipe' => <<'CONF'],
location /if { RECIPE if (!-f $request_filename) { PASS break; } }
CONF
    ['without a recipe' => <<'CONF'],
location /if { HTTP11 HOST if (!-f $request_filename) { PASS break; } }
CONF
    ['for plain requests' => <<'CONF'],
location /if { HTTP11 HOST UPGRADE if ($http_upgrade = '') { PASS } }
CONF
);

audits($t, 'no-proxy',
    '[error] websocket_guard: location "/socket.io" sets Upgrade for a backend and has no proxy_pass, nor has anything in it; add a '
        . 'proxy_pass to the location: it does not inherit one',
    ['nowhere' => <<'CONF'],
location /socket.io { #= no-proxy
    RECIPE
}
CONF
    ['around it' => <<'CONF'],
location / {
    PASS
    location /socket.io { RECIPE } #= no-proxy
}
CONF
    ['the remedy' => <<'CONF'],
location /socket.io { RECIPE PASS }
CONF
    ['files' => <<'CONF'],
location /socket.io { RECIPE root html; }
CONF
    ['an answer' => <<'CONF'],
location /socket.io { RECIPE return 204; }
CONF
    ['nested ones proxy' => <<'CONF'],
location /socket.io { RECIPE location /socket.io/1 { PASS } }
CONF
    ['headers for all' => <<'CONF'],
RECIPE
location /files { }
location /ws { PASS }
CONF
);

audits($t, 'variable-uri',
    '[notice] websocket_guard: location "^/app/(.*)/ws$" sends the URI of proxy_pass "http://127.0.0.1:%%PORT_8081%%/app/$1/ws" without the '
        . 'query; add "$is_args$args" to it, or pass the whole URI on with $request_uri',
    ['captures' => <<'CONF'],
location ~ ^/app/(.*)/ws$ {
    websocket_guard on;
    HOST
    proxy_pass http://127.0.0.1:8081/app/$1/ws; #= variable-uri
}
CONF
    ['$uri' => <<'CONF'],
location /ws { RECIPE proxy_pass http://127.0.0.1:8081$uri; } #= variable-uri
CONF
    ['the remedy' => <<'CONF'],
location ~ ^/app/(.*)/ws$ { websocket_guard on; HOST proxy_pass http://127.0.0.1:8081/app/$1/ws$is_args$args; }
CONF
    ['the other remedy' => <<'CONF'],
location ~ ^/app/(.*)/ws$ { websocket_guard on; HOST proxy_pass http://127.0.0.1:8081$request_uri; }
CONF
    ['no URI' => <<'CONF'],
location /ws { RECIPE set $to 127.0.0.1; proxy_pass http://$to:8081; }
CONF
    ['no variables' => <<'CONF'],
location /ws/ { RECIPE proxy_pass http://127.0.0.1:8081/; }
CONF
);
