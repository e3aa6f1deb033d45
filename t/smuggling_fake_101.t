#!/usr/bin/perl

# The reverse proxy's classic: the client makes nginx believe in a tunnel that the backend knows nothing of, and
# sends requests through it that nginx's rules would refuse. Whatever the backend answers that is no
# verified 101, what the client sends next is parsed as its next request, or not at all.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(182);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /strict/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard  on;
            websocket_guard_handshake lenient;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /strict-own/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /lenient-own/ {
            websocket_guard  on;
            websocket_guard_handshake lenient;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /auto-own/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }

        location /internal/ {
            access_log  off;
            return      403;
        }
    }
}
EOC

# Goes on with HTTP after each answer, as a server does that made no tunnel.
sub answers {
    my ($head) = @_;
    return sub {
        my ($c) = @_;
        $c->write("HTTP/1.1 $head\r\n\r\n");
        $c->write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nINTERNAL") if defined $c->read_until(qr/\r\n\r\n/, 1);
        $c->disconnect;
    };
}

my $switch = "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
run_backend($t, 8081, handlers => {
    'wrong-accept'  => answers("$switch\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    'no-accept'     => answers($switch),
    'bare'          => answers('101'),
    'no-connection' => answers("101 Switching Protocols\r\nUpgrade: websocket"),
    'close'         => answers("101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: close"),
    'refused'       => answers("426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
        . "Connection: Upgrade\r\nContent-Length: 0"),
    'continue'      => answers("200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0"),
    'length'        => answers("$switch\r\nContent-Length: 0"),
});
$t->run();

my $smuggled = "GET /internal/secret HTTP/1.1\r\nHost: localhost\r\n\r\n";

for my $location (map { ("/$_/", "/$_-own/") } qw/ strict lenient auto /) {
    my $strict = $location =~ /strict/;
    my $lenient = $location =~ /lenient/;
    for my $case (
        ['wrong-accept',  '502 bad-accept'],
        ['no-accept',     '502 bad-accept'],
        ['bare',          '502 bad-switch'],
        ['no-connection', '502 bad-switch'],
        ['close',         '502 bad-switch'],
        ['length',        '502 bad-accept'],
        ['refused',       '426 backend-bad-handshake'],
        ['continue',      '200 backend-not-websocket'],

        # Nothing was asked for.
        ['wrong-accept',  '502 unsolicited-101', headers => ['Upgrade: h2c']],
        ['wrong-accept',  '502 stripped-upgrade', without => ['Upgrade', 'Connection']],
        ['wrong-accept',  '502 unsolicited-101', without => ['Upgrade', 'Connection', 'Sec-WebSocket-Key']],

        # A version that the backend does not speak, and the proxy must not mind.
        ['refused',       '426 handshake-version', headers => ['Sec-WebSocket-Version: 12']],
        ['wrong-accept',  $strict ? '426 handshake-version' : '502 handshake-version', headers => ['Sec-WebSocket-Version: 12']],
        ['no-accept',     $strict ? '400 handshake-key' : '502 handshake-key', without => ['Sec-WebSocket-Key']],
        ['wrong-accept',  $strict ? '400 handshake-key' : '502 handshake-key', headers => ['Sec-WebSocket-Key: short']],
    ) {
        my ($answer, $expected, %request) = @$case;
        my @headers = @{ $request{headers} // [] };
        my $name = join ' ', "$location$answer", @headers, $request{without} ? 'without' : (), @{ $request{without} // [] };

        my $next;
        is(named(sub {
            my $client = websocket(path => "$location$answer", %request, pipeline => $smuggled);
            my $first = $client->{first_line};
            $next = $client->read_response(timeout => 3)->status || 'none';
            $client->{first_line} = $first;
            return $client;
        }), $expected, $name);

        # What came behind the handshake was answered by nginx, or not at all.
        like($next, qr/^(?:403|none)$/, "$name, then");
    }
}

is(join("\n", false_upgrades($t, 8081, lenient => qr!^/lenient!)), '', 'no false upgrade arrived');
is(scalar(grep { $_->uri =~ /internal/ } requests_seen($t)), 0, 'nor what was smuggled');
# The status that the client got, and the names of the guard's lines.
sub named {
    my ($status, @lines) = split /, (?=\[)/, outcome($t, @_);
    return join " ", $status, map { / \[([\w-]+)\]\z/ ? $1 : $_ } @lines;
}
