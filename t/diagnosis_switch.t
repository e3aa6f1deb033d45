#!/usr/bin/perl

# A 101 that is not the answer to the handshake: no tunnel in guarded locations if it proves nothing or
# switches to something else, and a line in all of them.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(109);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server 127.0.0.1:8081;
    }

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  on;
        include          locations.conf;
    }

    server {
        listen           127.0.0.1:8083;
        server_name      localhost;
        websocket_guard  auto;
        include          locations.conf;
    }

    server {
        listen              127.0.0.1:8084;
        server_name         localhost;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection $http_connection;
        include             locations.conf;
    }

    server {
        listen              127.0.0.1:8085;
        server_name         localhost;
        proxy_http_version  1.1;

        location /bare/ {
            proxy_pass       http://127.0.0.1:8081;
            proxy_buffering  off;
        }

        location /constant/ {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade websocket;
            proxy_set_header  Connection upgrade;
            proxy_buffering   off;
        }
    }
}
EOC

$t->write_file_expand('locations.conf', <<'EOC');
location / {
    proxy_pass  http://127.0.0.1:8081;
}

location /upstream/ {
    proxy_pass  http://pool;
}

location /variable/ {
    set         $address 127.0.0.1:8081;
    proxy_pass  http://$address;
}

location /uwsgi/ {
    uwsgi_pass   127.0.0.1:8082;
    uwsgi_param  REQUEST_METHOD $request_method;
    uwsgi_param  REQUEST_URI $request_uri;
}
EOC

run_backend($t, $_, $_ == 8082 ? (protocol => 'uwsgi') : (), handlers => {
    'other-connection' => sub { my ($c) = @_; $c->upgrade(connection => 'close') && $c->echo },
    'two-upgrades'     => sub { my ($c) = @_; $c->upgrade(upgrade => 'websocket, h2c') && $c->echo },
    'two-subprotocols' => sub {
        my ($c) = @_;
        $c->upgrade(headers => ['Sec-WebSocket-Protocol: chat', 'Sec-WebSocket-Protocol: mqtt']) && $c->echo;
    },
}) for 8081, 8082;
$t->run();

# RFC 6455 section 1.3
my ($key, $accept) = ('dGhlIHNhbXBsZSBub25jZQ==', 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');

my ($proxied, $uwsgi) = map { 'backend 127.0.0.1:' . port($_) } 8081, 8082;
my $wrong = qq{answered 101 with Sec-WebSocket-Accept "c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlcg==" where "$accept" }
    . 'belongs to the key that it was sent; correct the backend, or what stands between it and nginx [bad-accept]';
my $missing = 'answered 101 without Sec-WebSocket-Accept; correct the backend, or what stands between it and nginx [bad-accept]';
my $switch = 'correct the backend, or what stands between it and nginx [bad-switch]';
my $subprotocol = 'offer that subprotocol in the client, or correct the backend [subprotocol-mismatch]';
my $extension = 'which was not offered; correct the backend, or stop emptying Sec-WebSocket-Extensions in one direction only '
    . '[extension-mismatch]';

# No tunnel comes of these where the guard is.
my @fatal = (
    ['/bad-accept',           "$proxied $wrong"],
    ['/upstream/bad-accept',  "$proxied $wrong"],
    ['/variable/bad-accept',  "$proxied $wrong"],
    ['/uwsgi/bad-accept',     "$uwsgi $wrong"],
    ['/no-accept',            "$proxied $missing"],
    ['/uwsgi/no-accept',      "$uwsgi $missing"],
    ['/no-upgrade-header',    "$proxied answered 101 without an Upgrade header; $switch"],
    ['/no-connection-header', "$proxied answered 101 without a Connection header; $switch"],
    ['/other-connection',     qq{$proxied answered 101 with Connection "close", which lacks the token "upgrade"; $switch}],
    ['/wrong-upgrade',        qq{$proxied answered 101 with Upgrade "h2c" where "websocket" was asked for; $switch}],
    ['/variable/wrong-upgrade', qq{$proxied answered 101 with Upgrade "h2c" where "websocket" was asked for; $switch}],
    ['/two-upgrades',         qq{$proxied answered 101 with Upgrade "h2c" where "websocket" was asked for; $switch}],
);

# Only the client can mind these.
my @harmless = (
    ['/subprotocol?mqtt', undef, qq{$proxied chose subprotocol "mqtt", none was offered; $subprotocol}],
    ['/subprotocol?mqtt', 'chat, wamp', qq{$proxied chose subprotocol "mqtt", offered: "chat, wamp"; $subprotocol}],
    ['/two-subprotocols', 'chat', qq{$proxied chose subprotocol "mqtt", offered: "chat"; $subprotocol}],
    ['/uwsgi/subprotocol?mqtt', 'chat', qq{$uwsgi chose subprotocol "mqtt", offered: "chat"; $subprotocol}],
    ['/extension?permessage-deflate', 'chat', qq{$proxied chose extension "permessage-deflate", $extension}],
    ['/upstream/extension?x-own', undef, qq{$proxied chose extension "x-own", $extension}],
);

for my $port (8080, 8083, 8084) {
    my $server = { 8080 => 'on', 8083 => 'auto', 8084 => 'hand-made' }->{$port};

    for my $case (@fatal) {
        my ($path, $reason) = @$case;
        my $echo;
        my $outcome = outcome($t, sub {
            my $ws = websocket(path => $path, port => $port, key => $key);
            $echo = $ws->echo('through', 1) if $ws->status == 101;
            return $ws;
        });
        my $status = $server eq 'hand-made' ? 101 : 502;
        is($outcome, "$status, [error] upgrade failed: $reason", "$server, $path");
        is($echo, $server eq 'hand-made' ? 'through' : undef, "$server, $path, tunnel or not");
    }

    for my $case (@harmless) {
        my ($path, $offered, $reason) = @$case;
        is(outcome($t, path => $path, port => $port, subprotocol => $offered),
            "101, [error] upgrade failed: $reason", "$server, $path");
    }

    is(outcome($t, path => '/ws', port => $port, key => $key), 101, "$server, as it should be");
    is(outcome($t, path => '/subprotocol?chat', port => $port, subprotocol => 'wamp, chat'), 101, "$server, an offered subprotocol");
    is(outcome($t, path => '/extension?x-own;y=1', port => $port, headers => ['Sec-WebSocket-Extensions: a, x-own']), 101,
        "$server, an offered extension");
}

# A 101 that nobody asked for. nginx relays it, though not at once if it buffers answers, and there is no
# tunnel behind it.

my $unsolicited = "[error] $proxied answered 101 to a request that asked for no upgrade; correct the backend, and see that no "
    . 'proxy_set_header sets Upgrade to a constant [unsolicited-101]';

sub plain {
    my ($path, $port) = @_;
    return outcome($t, sub {
        my $client = raw_request("GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n", port => $port, timeout => 1);
        is($client->echo('through', 0.3), undef, "$path, no tunnel") if $client->status == 101;
        return $client;
    });
}

is(plain('/101', 8080), "502, $unsolicited", 'on');
is(plain('/variable/101', 8083), "502, $unsolicited", 'auto');
is(plain('/101', 8084), "0, $unsolicited", 'hand-made');
is(plain('/bare/101', 8085), "101, $unsolicited", 'neither');
is(plain('/constant/ws', 8085), "101, $unsolicited", 'Upgrade is a constant');
is(plain('/ws', 8080), 200, 'a plain answer');

# Of a handshake whose headers were dropped, that is told first.
like(outcome($t, path => '/bare/101', port => 8085), qr/^101, \[error\] [^,]* \[upgrade-not-forwarded\]$/, 'dropped');

# So it is with another protocol.
is(outcome($t, path => '/101', headers => ['Upgrade: h2c']),
    '502, ' . $unsolicited =~ s/ to a request .*? upgrade;/, although Upgrade "h2c" was not passed on;/r, 'on, h2c');
