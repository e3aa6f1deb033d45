#!/usr/bin/perl

# What the audit says about the headers that a location sends to the backend.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Audit;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi map unix /)->plan(112);

# ---- missing-upgrade -----------------------------------------------------------------------------

audits($t, 'missing-upgrade',
    '[error] websocket_guard: location "/ws" proxies without the Upgrade header; set "websocket_guard on;" in the '
        . 'location, or "proxy_set_header Upgrade $http_upgrade;"',
    ['in the location' => <<'CONF'],
location /ws { #= missing-upgrade
    websocket_guard check;
    HTTP11 CONNECTION HOST PASS
}
CONF
    ['a regex location in an included file, headers of the server' => <<'CONF',
websocket_guard check;
HTTP11 CONNECTION HOST
include ws.conf;
CONF
        files => { 'ws.conf' => "\nlocation ~ ^/ws/ { #= missing-upgrade\n PASS }\n" }],
    ['nested, headers of the location around it' => <<'CONF'],
location /app/ {
    HTTP11 CONNECTION HOST PASS
    location = /app/ws { #= missing-upgrade
        websocket_guard check;
        PASS
    }
}
CONF
    ['the name in small letters' => <<'CONF'],
location /ws { websocket_guard check; HTTP11 CONNECTION HOST proxy_set_header upgrade $http_upgrade; PASS }
CONF
    ['the header is inherited' => <<'CONF'],
RECIPE
location /ws { websocket_guard check; PASS }
CONF
    ['the guard sets it' => <<'CONF'],
location /ws { websocket_guard on; CONNECTION HOST PASS }
location /auto { websocket_guard auto; CONNECTION HOST PASS }
CONF
    ['nothing says that it is for WebSocket' => <<'CONF'],
location /ws { HTTP11 CONNECTION HOST PASS }
CONF
);

# ---- missing-connection --------------------------------------------------------------------------

audits($t, 'missing-connection',
    '[error] websocket_guard: location "/ws" proxies without "Connection: upgrade"; set "websocket_guard on;" in '
        . 'the location, or set Connection from a map of $http_upgrade',
    ['in the location' => <<'CONF'],
location /ws { #= missing-connection
    websocket_guard check;
    HTTP11 UPGRADE HOST PASS
}
CONF
    ['a recipe by hand, nested, in an included file' => "include ws.conf;\n",
        files => { 'ws.conf' => <<'CONF' }],
location /app/ {
    PASS
    location ~ ^/app/ws { #= missing-connection
        HTTP11 UPGRADE HOST PASS
    }
}
CONF
    ['inherited by two' => <<'CONF'],
HTTP11 UPGRADE HOST
websocket_guard check;
location = /one { #= missing-connection
    PASS
}
location ^~ /two { #= missing-connection
    PASS
}
CONF
    ['the guard adds it' => <<'CONF'],
location /ws { websocket_guard auto; UPGRADE HOST PASS }
CONF
    ['what is sent is not known' => <<'CONF'],
location /ws { HTTP11 UPGRADE HOST proxy_set_header Connection $arg_connection; PASS }
CONF
    ['uwsgi has no such headers' => <<'CONF'],
location /ws { websocket_guard check; uwsgi_read_timeout 1h; uwsgi_pass 127.0.0.1:8081; }
CONF
);

# ---- headers-dropped -----------------------------------------------------------------------------

audits($t, 'headers-dropped',
    '[error] websocket_guard: location "/ws" has its own proxy_set_header and thereby loses Upgrade, Connection and '
        . 'Host, set above it; set "websocket_guard on;" in the location, or repeat the lost proxy_set_header lines '
        . 'in it',
    ['of the server' => <<'CONF'],
RECIPE
location /ws {
    websocket_guard check;
    proxy_set_header X-Real-IP $remote_addr; #= headers-dropped
    PASS
}
CONF
    # The first of the location's own is where they are lost.
    ['nested, only one of them' => <<'CONF',
websocket_guard check;
location /app/ {
    RECIPE PASS
    location ~ /socket$ {
        proxy_set_header Upgrade $http_upgrade; #= headers-dropped
        HOST
        PASS
    }
}
CONF
        line => '[error] websocket_guard: location "/socket$" has its own proxy_set_header and thereby loses '
            . 'Connection, set above it; add "websocket_guard on;" to the location, or repeat the lost '
            . 'proxy_set_header lines in it'],
    ['by an included file' => <<'CONF',
RECIPE
location /ws {
    websocket_guard check;
    include proxy.conf;
    PASS
}
CONF
        files => { 'proxy.conf' => "# for all\n\nproxy_set_header X-Real-IP \$remote_addr; #= headers-dropped\n" }],
    ['nothing of use is lost' => <<'CONF'],
HTTP11
proxy_set_header Upgrade "";
proxy_set_header Connection close;
location /ws { #= missing-upgrade missing-connection
    websocket_guard check;
    HOST PASS
}
CONF
    ['all of them are repeated' => <<'CONF'],
RECIPE
location /ws { websocket_guard check; UPGRADE CONNECTION HOST proxy_set_header X-Real-IP $remote_addr; PASS }
CONF
    ['the guard keeps them' => <<'CONF'],
RECIPE
location /ws { websocket_guard on; proxy_set_header X-Real-IP $remote_addr; PASS }
CONF
    ['another directive of the location' => <<'CONF'],
RECIPE
location /ws { websocket_guard check; proxy_hide_header X-Powered-By; PASS }
CONF
);

# ---- connection-wrong ----------------------------------------------------------------------------

my $keepalive_fix = 'add "websocket_guard auto;" to the location, which sends that with plain requests only';
my $connection_fix = 'remove the "proxy_set_header Connection" and use "websocket_guard on;", which sends what each '
    . 'request needs';

audits($t, 'connection-wrong',
    qq{[error] websocket_guard: location "/ws" sends Connection "close" for an upgrade, without the token "upgrade"; $keepalive_fix},
    ['a constant' => <<'CONF'],
location /ws {
    HTTP11 UPGRADE HOST
    proxy_set_header Connection close; #= connection-wrong
    PASS
}
CONF
    ['empty, inherited by two' => <<'CONF',
HTTP11 UPGRADE HOST
proxy_set_header Connection ""; #= connection-wrong
location /ws { websocket_guard check; PASS }
location ~ ^/other { websocket_guard check; PASS }
CONF
        line => '[error] websocket_guard: location "/ws" (and in another location) sends Connection "" for an upgrade, without '
            . qq{the token "upgrade"; @{[$keepalive_fix =~ s!add (.*?) to the!set $1 in the!r]}}],
    ['own, where the guard must not touch it' => <<'CONF'],
location /ws {
    websocket_guard on;
    HOST
    proxy_set_header Connection "keep-alive"; #= connection-wrong
    PASS
}
CONF
    ['a map that forgets websocket' => <<'CONF',
map $http_upgrade $mapped { default upgrade; websocket keep-alive; '' ''; }
server {
    listen 127.0.0.1:8080;
    location /app/ {
        PASS
        location ~ ^/app/ws {
            HTTP11 UPGRADE HOST
            proxy_set_header Connection $mapped; #= connection-wrong
            PASS
        }
    }
}
CONF
        line => '[error] websocket_guard: location "^/app/ws" sends Connection "$mapped" (that is, "keep-alive") for '
            . qq{an upgrade, without the token "upgrade"; $connection_fix}],
    ['a map without a default, in an included file' => <<'CONF',
include map.conf;
server {
    listen 127.0.0.1:8080;
    location /ws {
        HTTP11 UPGRADE HOST
        proxy_set_header Connection $mapped; #= connection-wrong
        PASS
    }
}
CONF
        files => { 'map.conf' => "map \$http_upgrade \$mapped { h2c upgrade; ~^web\$ upgrade; }\n" }],
    ['a map of a map' => <<'CONF'],
map $http_upgrade $first { default 0; ~*^websocket$ 1; }
map $first $second { 0 upgrade; 1 close; }
server {
    listen 127.0.0.1:8080;
    location /ws {
        HTTP11 UPGRADE HOST
        proxy_set_header Connection $second; #= connection-wrong
        PASS
    }
}
CONF
    ['other values with the token' => <<'CONF'],
location /one { HTTP11 UPGRADE HOST proxy_set_header Connection $http_connection; PASS }
location /two { HTTP11 UPGRADE HOST proxy_set_header Connection "keep-alive, Upgrade"; PASS }
location /three { HTTP11 UPGRADE HOST proxy_set_header Connection "keep-alive, $connection_upgrade"; PASS }
CONF
    ['maps that yield it' => <<'CONF'],
map $http_upgrade $one { default close; ~*^web upgrade; }
map $http_upgrade $two { default close; WebSocket $three; }
map $http_connection $three { default close; ~*upgrade Upgrade; }
server {
    listen 127.0.0.1:8080;
    location /one { HTTP11 UPGRADE HOST proxy_set_header Connection $one; PASS }
    location /two { HTTP11 UPGRADE HOST proxy_set_header Connection $two; PASS }
    location /three { HTTP11 UPGRADE HOST proxy_set_header Connection $three; PASS }
}
CONF
    ['a map of two variables, and one whose entries are included' => <<'CONF',
map "$http_upgrade:$http_connection" $one { default close; "~*^websocket:.*upgrade" upgrade; }
map $http_upgrade $two { include entries.conf; }
server {
    listen 127.0.0.1:8080;
    location /one { HTTP11 UPGRADE HOST proxy_set_header Connection $one; PASS }
    location /two { HTTP11 UPGRADE HOST proxy_set_header Connection $two; PASS }
}
CONF
        files => { 'entries.conf' => "default upgrade;\n'' close;\n" }],
    ['set, where there is an upgrade' => <<'CONF'],
location /ws {
    set $asked close;
    if ($http_upgrade) {
        set $asked upgrade;
    }
    HTTP11 UPGRADE HOST
    proxy_set_header Connection $asked;
    PASS
}
CONF
    ['a map of what nobody knows' => <<'CONF'],
map $remote_addr $mapped { default close; 127.0.0.1 upgrade; }
server {
    listen 127.0.0.1:8080;
    location /ws { HTTP11 UPGRADE HOST proxy_set_header Connection $mapped; PASS }
}
CONF
    ['inherited, where the guard replaces it' => <<'CONF'],
proxy_set_header Connection "";
HOST
location /on { websocket_guard on; PASS }
location /auto { websocket_guard auto; PASS }
CONF
);

# ---- connection-hardcoded ------------------------------------------------------------------------

audits($t, 'connection-hardcoded',
    qq{[notice] websocket_guard: location "/ws" sends "Connection: upgrade" on plain requests too; $connection_fix},
    ['a recipe by hand' => <<'CONF'],
location /ws {
    HTTP11 UPGRADE HOST
    proxy_set_header Connection upgrade; #= connection-hardcoded
    PASS
}
CONF
    ['inherited from an included file' => <<'CONF',
include proxy.conf;
location /app/ {
    location ~ ^/app/ws { websocket_guard check; PASS }
}
CONF
        files => { 'proxy.conf' => <<'CONF' }],
HTTP11 UPGRADE HOST
proxy_set_header Connection "Upgrade"; #= connection-hardcoded
CONF
    ['one of two tokens' => <<'CONF'],
location = /ws {
    websocket_guard on;
    HOST
    proxy_set_header Connection "keep-alive, Upgrade"; #= connection-hardcoded
    PASS
}
CONF
    ['a map' => <<'CONF'],
location /ws { RECIPE PASS }
CONF
    ['inherited, where the guard replaces it' => <<'CONF'],
HOST
proxy_set_header Connection upgrade;
location /ws { websocket_guard on; PASS }
CONF
    ['another token that begins so' => <<'CONF'],
location /ws {
    HTTP11 UPGRADE HOST
    proxy_set_header Connection upgraded; #= connection-wrong
    PASS
}
CONF
);

# ---- upgrade-wrong -------------------------------------------------------------------------------

my $upgrade_fix = 'remove the "proxy_set_header Upgrade" and use "websocket_guard on;", or set it to $http_upgrade';

audits($t, 'upgrade-wrong',
    qq{[error] websocket_guard: location "/ws" sends Upgrade "h2c", which does not name websocket; $upgrade_fix},
    ['a constant' => <<'CONF'],
location /ws {
    websocket_guard check;
    HTTP11 CONNECTION HOST
    proxy_set_header Upgrade h2c; #= upgrade-wrong
    PASS
}
CONF
    ['empty, inherited by a nested location' => <<'CONF'],
websocket_guard check;
location /app/ {
    HTTP11 CONNECTION HOST
    proxy_set_header Upgrade ""; #= upgrade-wrong
    location /app/ws { PASS }
}
CONF
    ['own, where the guard must not touch it' => <<'CONF'],
location ~ ^/ws {
    websocket_guard auto;
    HOST
    proxy_set_header Upgrade ""; #= upgrade-wrong
    PASS
}
CONF
    ['a map that misspells it' => <<'CONF',
map $http_upgrade $mapped { default ''; web-socket websocket; }
include server.conf;
server {
    listen 127.0.0.1:8082;
}
CONF
        files => { 'server.conf' => <<'CONF' },
server {
    listen 127.0.0.1:8080;
    location /ws {
        HTTP11 CONNECTION HOST
        proxy_set_header Upgrade $mapped; #= upgrade-wrong
        PASS
    }
}
CONF
        line => '[error] websocket_guard: location "/ws" sends Upgrade "$mapped" (that is, ""), which does not name '
            . "websocket; $upgrade_fix"],
    ['a map that yields it' => <<'CONF'],
map $http_upgrade $mapped { default ''; ~*^websocket$ $http_upgrade; }
server {
    listen 127.0.0.1:8080;
    location /ws { HTTP11 CONNECTION HOST proxy_set_header Upgrade $mapped; PASS }
}
CONF
    ['what is sent is not known' => <<'CONF'],
map $remote_addr $mapped { default ''; 127.0.0.1 websocket; }
server {
    listen 127.0.0.1:8080;
    location /ws { HTTP11 CONNECTION HOST proxy_set_header Upgrade $mapped; PASS }
}
CONF
    ['inherited, where the guard replaces it' => <<'CONF'],
HOST
proxy_set_header Upgrade "";
location /ws { websocket_guard on; PASS }
CONF
    ['another protocol is allowed' => <<'CONF'],
location /ws {
    websocket_guard check;
    websocket_guard_upgrade my-protocol;
    HTTP11 CONNECTION HOST
    proxy_set_header Upgrade my-protocol; #= upgrade-hardcoded
    PASS
}
CONF
);

# ---- upgrade-hardcoded ---------------------------------------------------------------------------

audits($t, 'upgrade-hardcoded',
    qq{[warn] websocket_guard: location "/ws" sends "Upgrade: websocket" on every request; $upgrade_fix},
    ['a recipe by hand' => <<'CONF'],
location /ws {
    HTTP11 CONNECTION HOST
    proxy_set_header Upgrade websocket; #= upgrade-hardcoded
    PASS
}
CONF
    ['another spelling, inherited by a regex location' => <<'CONF'],
HTTP11 CONNECTION HOST
proxy_set_header upgrade "WebSocket"; #= upgrade-hardcoded
location ~ ^/ws { websocket_guard check; PASS }
CONF
    ['in an included file, where the guard must not touch it' => <<'CONF',
location /app/ {
    location /app/ws { websocket_guard on; include proxy.conf; PASS }
}
CONF
        files => { 'proxy.conf' => "HOST\nproxy_set_header Upgrade websocket; #= upgrade-hardcoded\n" }],
    ['a variable' => <<'CONF'],
location /ws { RECIPE PASS }
CONF
    ['inherited, where the guard replaces it' => <<'CONF'],
HOST
proxy_set_header Upgrade websocket;
location /ws { websocket_guard auto; PASS }
CONF
    ['another protocol that begins so' => <<'CONF'],
location /ws {
    HTTP11 CONNECTION HOST
    proxy_set_header Upgrade websockets; #= upgrade-wrong
    PASS
}
CONF
);

# ---- duplicate-header ----------------------------------------------------------------------------

audits($t, 'duplicate-header',
    '[warn] websocket_guard: location "/ws" sends Host twice, as "$http_host" and as "$host"; keep one of the two lines',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    proxy_set_header Host $host; #= duplicate-header
    PASS
}
CONF
    ['inherited, in two spellings' => <<'CONF'],
RECIPE
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header x-real-ip $realip_remote_addr; #= duplicate-header
location ~ ^/one { websocket_guard check; PASS }
location /two { websocket_guard check; PASS }
CONF
    ['one of them in an included file' => <<'CONF',
location /app/ {
    location /app/ws { websocket_guard on; proxy_set_header X-App 1; include proxy.conf; PASS }
}
CONF
        files => { 'proxy.conf' => "HOST\nproxy_set_header X-App 2; #= duplicate-header\n" }],
    ['twice the same' => <<'CONF'],
location /ws { RECIPE proxy_set_header X-App 1; proxy_set_header X-App 1; PASS }
CONF
    ['one of them is empty, and not sent' => <<'CONF'],
location /ws { RECIPE proxy_set_header X-App 1; proxy_set_header X-App ""; PASS }
CONF
    ['only one of them is sent with an upgrade' => <<'CONF'],
map $http_upgrade $for_others { default ''; '' close; }
server {
    listen 127.0.0.1:8080;
    location /ws { RECIPE proxy_set_header Connection $for_others; PASS }
}
CONF
    ['one replaces the other' => <<'CONF'],
proxy_set_header Host $host;
proxy_set_header X-App 1;
location /ws { RECIPE proxy_set_header X-App 2; PASS }
CONF
);

# ---- sec-header-replaced --------------------------------------------------------------------------

audits($t, 'sec-header-replaced',
    '[warn] websocket_guard: location "/ws" sends Sec-WebSocket-Protocol "sip" in place of the client\'s own; remove that proxy_set_header',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    proxy_set_header Sec-WebSocket-Protocol sip; #= sec-header-replaced
    PASS
}
CONF
    ['inherited, of a map' => <<'CONF'],
map $http_upgrade $extensions { default permessage-deflate; '' ''; }
server {
    listen 127.0.0.1:8080;
    RECIPE
    proxy_set_header sec-websocket-extensions $extensions; #= sec-header-replaced
    location /ws { websocket_guard check; PASS }
}
CONF
    ['beside the mark' => <<'CONF'],
location /ws { websocket_guard on; HOST proxy_set_header Sec-WebSocket-Key dGhlIHNhbXBsZSBub25jZQ==; PASS } #= sec-header-replaced
CONF
    ['the client\'s own' => <<'CONF'],
location /ws { RECIPE proxy_set_header Sec-WebSocket-Protocol $http_sec_websocket_protocol; PASS }
CONF
    ['without extensions' => <<'CONF'],
location /ws { RECIPE proxy_set_header Sec-WebSocket-Extensions ""; PASS }
CONF
    ['the only version' => <<'CONF'],
location /ws { RECIPE proxy_set_header Sec-WebSocket-Version 13; PASS }
CONF
    ['depends on the request' => <<'CONF'],
location /ws { RECIPE proxy_set_header Sec-WebSocket-Protocol $arg_protocol; PASS }
CONF
);

# ---- response-header-added ------------------------------------------------------------------------

audits($t, 'response-header-added',
    '[warn] websocket_guard: location "/ws" adds Sec-WebSocket-Protocol to the answer of a handshake; remove that directive, or leave the '
        . 'header out',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    add_header X-App 1 always;
    add_header Sec-WebSocket-Protocol chat always; #= response-header-added
    PASS
}
CONF
    ['inherited' => <<'CONF'],
add_header connection keep-alive always; #= response-header-added
location /ws { websocket_guard on; HOST PASS }
CONF
    ['not to a 101' => <<'CONF'],
location /ws { RECIPE add_header Sec-WebSocket-Protocol chat; PASS }
CONF
    ['other headers' => <<'CONF'],
location /ws { RECIPE add_header X-Upgrade chat always; add_header Strict-Transport-Security max-age=1 always; PASS }
CONF
    ['a list of its own' => <<'CONF'],
add_header Upgrade websocket always;
location /ws { RECIPE add_header X-App 1 always; PASS }
CONF
);

# ---- sec-header-cleared --------------------------------------------------------------------------

audits($t, 'sec-header-cleared',
    '[error] websocket_guard: location "/ws" empties Sec-WebSocket-Key; remove that proxy_set_header',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    proxy_set_header Sec-WebSocket-Key ""; #= sec-header-cleared
    PASS
}
CONF
    ['inherited by a nested location' => <<'CONF'],
websocket_guard check;
location /app/ {
    RECIPE
    proxy_set_header sec-websocket-version ""; #= sec-header-cleared
    location /app/ws { PASS }
}
CONF
    ['the subprotocol, by an included file' => <<'CONF',
location ~ ^/ws { websocket_guard on; include proxy.conf; PASS }
CONF
        files => { 'proxy.conf' => "HOST\nproxy_set_header Sec-WebSocket-Protocol ''; #= sec-header-cleared\n" },
        line => '[warn] websocket_guard: location "^/ws" empties Sec-WebSocket-Protocol; remove that proxy_set_header'],
    ['extensions may be refused' => <<'CONF'],
location /ws { RECIPE proxy_set_header Sec-WebSocket-Extensions ""; PASS }
CONF
    ['a value of its own' => <<'CONF'],
location /ws { RECIPE proxy_set_header Sec-WebSocket-Key $http_sec_websocket_key; PASS }
CONF
    ['another header' => <<'CONF'],
location /ws { RECIPE proxy_set_header Sec-WebSocket-Key1 ""; PASS }
CONF
    ['in a level that the location does not inherit from' => <<'CONF'],
proxy_set_header Sec-WebSocket-Key "";
location /ws { RECIPE PASS }
CONF
);

# ---- host-not-forwarded --------------------------------------------------------------------------

audits($t, 'host-not-forwarded',
    q{[notice] websocket_guard: location "/ws" does not pass the client's Host on, the backend sees the upstream's }
        . 'name; add "proxy_set_header Host $http_host;" to the location',
    ['a recipe by hand' => <<'CONF'],
location /ws { #= host-not-forwarded
    HTTP11 UPGRADE CONNECTION PASS
}
CONF
    ['nested, with a variable' => <<'CONF',
location /app/ {
    HOST PASS
    location ~ ^/app/ws { #= host-not-forwarded
        websocket_guard auto;
        set $backend 127.0.0.1:8081;
        proxy_set_header X-App 1;
        proxy_pass http://$backend;
    }
}
CONF
        line => q{[notice] websocket_guard: location "^/app/ws" does not pass the client's Host on, the backend sees the }
            . q{upstream's name; add "proxy_set_header Host $http_host;" to the location}],
    ['auto, and an address' => <<'CONF',
location /ws { #= host-not-forwarded
    websocket_guard auto; PASS
}
CONF
        line => q{[notice] websocket_guard: location "/ws" does not pass the client's Host on, the backend sees the }
            . q{upstream's name; set "websocket_guard_forwarded host;" in the location}],
    ['a domain' => <<'CONF',
upstream chat.example.com { server 127.0.0.1:8081; }
server {
    listen 127.0.0.1:8080;
    proxy_set_header X-App 1;
    location /ws { #= host-not-forwarded
        websocket_guard on; proxy_pass http://chat.example.com;
    }
}
CONF
    ],
    ['in an included file, headers of the server' => <<'CONF',
HTTP11 UPGRADE CONNECTION
include ws.conf;
CONF
        files => { 'ws.conf' => "location /ws { #= host-not-forwarded\n websocket_guard check; PASS }\n" }],
    ['a fixed name' => <<'CONF'],
location /ws { HTTP11 UPGRADE CONNECTION proxy_set_header host chat.example.com; PASS }
CONF
    ['inherited' => <<'CONF'],
HOST
location /ws { websocket_guard on; PASS }
CONF
    ['the guard sets it' => <<'CONF'],
location /ws { websocket_guard on; PASS }
location /variable { websocket_guard on; proxy_set_header X-App 1; set $backend 127.0.0.1:8081; proxy_pass http://$backend; }
location /auto { websocket_guard auto; websocket_guard_forwarded host; PASS }
location /on { websocket_guard auto; websocket_guard_forwarded on; PASS }
CONF
);

# ---- host-without-port ---------------------------------------------------------------------------

audits($t, 'host-without-port',
    '[notice] websocket_guard: location "/ws" sends "Host: $host", which lacks the port %%PORT_8080%% of the server; '
        . 'use "proxy_set_header Host $http_host;"',
    ['in the location' => <<'CONF'],
location /ws {
    HTTP11 UPGRADE CONNECTION
    proxy_set_header Host $host; #= host-without-port
    PASS
}
CONF
    ['inherited, one of two sockets' => <<'CONF'],
server {
    listen unix:%%TESTDIR%%/nginx.sock;
    listen 127.0.0.1:8082;
    HTTP11 UPGRADE CONNECTION
    proxy_set_header Host ${host}; #= host-without-port
    location ~ ^/ws { websocket_guard check; PASS }
}
CONF
    ['the port is added' => <<'CONF'],
location /ws { HTTP11 UPGRADE CONNECTION proxy_set_header Host $host:$server_port; PASS }
CONF
    ['as the client sent it' => <<'CONF'],
location /ws { RECIPE PASS }
CONF
    ['behind a proxy, on a socket of the file system' => <<'CONF'],
server {
    listen unix:%%TESTDIR%%/nginx.sock;
    location /ws { HTTP11 UPGRADE CONNECTION proxy_set_header Host $host; PASS }
}
CONF
    ['another server has the port' => <<'CONF'],
server {
    listen unix:%%TESTDIR%%/nginx.sock;
    location /ws { HTTP11 UPGRADE CONNECTION proxy_set_header Host $host; PASS }
}
server {
    listen 127.0.0.1:8080;
    location /ws { RECIPE PASS }
}
CONF
);
