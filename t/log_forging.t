#!/usr/bin/perl

# No value of a client or a backend can break, forge or hide a line: newlines, quotes, backslashes, 8-bit
# bytes and control characters are escaped, long values are cut, the finding's name always survives.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(38);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    large_client_header_buffers  8 64k;
    proxy_buffer_size            64k;
    proxy_buffers                8 64k;

    server {
        listen                  127.0.0.1:8080;
        server_name             localhost;
        websocket_guard         on;
        websocket_guard_origin  https://app.example;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /any/ {
            websocket_guard_origin  any;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /decoded/ {
            websocket_guard_origin  any;
            rewrite                 ^ $uri break;
            proxy_pass              http://127.0.0.1:8081/;
        }
    }

    server {
        listen              127.0.0.1:8084;
        server_name         localhost;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        proxy_set_header    Host $http_host;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

my %bad = (
    quotes   => 'a" [backend-origin], client: 1.2.3.4 "',
    escapes  => 'a\\x0A\\n\\',
    '8-bit'  => "caf\xc3\xa9 \xff\xfe",
    controls => "a\x1b[31mred\x07\x7f",
    long     => 'a' x 10240,
    'long 8-bit' => "\xff" x 10240,
);
my %shown = (
    quotes   => 'a\\x22 [backend-origin], client: 1.2.3.4 \\x22',
    escapes  => 'a\\x5Cx0A\\x5Cn\\x5C',
    '8-bit'  => 'caf\\xC3\\xA9 \\xFF\\xFE',
    controls => 'a\\x1B[31mred\\x07\\x7F',
    long     => 'a' x 197 . '...',
    'long 8-bit' => '\\xFF' x 49 . '...',
);

run_backend($t, 8081, handlers => {
    location => sub { my ($c, $request) = @_; $c->respond(302, '', 'Location: ' . $bad{ $request->args =~ tr/+/ /r }) },
    accept   => sub { my ($c, $request) = @_; $c->upgrade(accept => $bad{ $request->args =~ tr/+/ /r }) },
    protocol => sub {
        my ($c, $request) = @_;
        $c->upgrade(headers => ['Sec-WebSocket-Protocol: ' . $bad{ $request->args =~ tr/+/ /r }]) && $c->echo;
    },
});
$t->run();

for my $name (sort keys %bad) {
    my ($value, $shown) = ($bad{$name}, $shown{$name});
    my $argument = $name =~ tr/ /+/r;

    one_line("$name in Origin", 'origin-denied', qq{origin "$shown" is not allowed, allowed: "https://app.example";},
        path => '/', origin => $value);
    one_line("$name in Connection", 'handshake-connection', qq{Connection "$shown" of the request lacks the token "upgrade";},
        path => '/any/', headers => ["Connection: $value"]);
    one_line("$name in Sec-WebSocket-Key", 'handshake-key', qq{Sec-WebSocket-Key "$shown" is not 16 bytes in base64;},
        path => '/any/', key => $value);
    one_line("$name in Location", 'backend-redirect', qq{answered 302 to "$shown", and},
        path => "/any/location?$argument");
    one_line("$name in Sec-WebSocket-Accept", 'bad-accept', qq{answered 101 with Sec-WebSocket-Accept "$shown" where "},
        path => "/any/accept?$argument");
    one_line("$name in Sec-WebSocket-Protocol", 'subprotocol-mismatch', qq{chose subprotocol "$shown", offered: "x$shown";},
        path => "/any/protocol?$argument", headers => ["Sec-WebSocket-Protocol: x$value"])
        unless $name =~ /long/;
}

# The URI, as it came and as it was sent.
one_line('newline in the URI', 'backend-not-found',
    'answered 404 to "/any/a%0aforged%0D/status?404", the path that the client asked for;', path => '/any/a%0aforged%0D/status?404');
one_line('newline in a rewritten URI', 'backend-not-found', 'the client asked for "/decoded/a%0aforged/status?404";',
    path => '/decoded/a%0aforged/status?404');
one_line('8-bit in the URI', 'backend-not-found', 'answered 404 to "/any/\\xFF\\xC3\\xA9\\x22/status?404", the path', path => "/any/\xff\xc3\xa9\"/status?404");

# As much as there can be at once: two values of the most bytes, and all that nginx adds.
one_line('everything too long', 'backend-origin', 'Origin "https://' . '\\xFF' x 47 . '...", which', port => 8084,
    path => '/' . 'u' x 10000 . '/status?403', origin => "https://" . "\xff" x 10240, authority => 'h' x 10000);

sub one_line {
    my ($name, $finding, $text, @attempt) = @_;
    my $since = log_size($t);
    outcome($t, @attempt);
    my $log = substr $t->read_file('error.log'), $since;
    my @lines = grep {/websocket_guard|forged|1\.2\.3\.4/ && !/\[debug\]/} split /\n/, $log;
    my @guard = guard_lines(join("\n", @lines), undef, raw => 1);
    my $ok = @guard == 1 && index($guard[0], $text) >= 0 && $guard[0] =~ /^\S+ \S+ \[error\] [^"]*[ -~]* \[$finding\], client: 127\.0\.0\.1, server: localhost, request: "/
        && length $guard[0] < 2048;
    ok($ok, $name) or diag(join "\n", map { length($_) . ": $_" } @guard ? @guard : 'no line', $text);
}
