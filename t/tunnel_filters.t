#!/usr/bin/perl

# Filters that work on the bodies of responses leave a tunnel alone, whatever types they are told to
# work on: the client gets the 101 first, then the tunnel's bytes as they were sent. Plain responses of
# the same location go through them.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy ssi sub addition charset gzip gunzip slice stub_status /);

my %filters = (
    ssi       => 'ssi on; ssi_types *;',
    'ssi-html' => 'ssi on;',
    sub       => q{sub_filter hello bye; sub_filter_once off; sub_filter_types *;},
    addition  => 'add_before_body /extra; add_after_body /extra; addition_types *;',
    charset   => 'source_charset koi8-r; charset windows-1251; charset_types *; override_charset on;',
    gzip      => 'gzip on; gzip_types *; gzip_proxied any; gzip_min_length 0;',
    gunzip    => 'gunzip on;',
    slice     => 'slice 1k; proxy_set_header Range $slice_range;',
    headers   => 'expires 1h; etag on; userid on; add_header X-Added yes always;',
    postpone  => 'postpone_output 1m;',
);
$filters{all} = join ' ', grep { !/slice|ssi on;$/ } @filters{ sort keys %filters };

$t->write_file_expand('nginx.conf', <<'EOC' =~ s!LOCATIONS!join "\n", map {"location /$_/ { $filters{$_} proxy_pass http://127.0.0.1:8081; }"} sort keys %filters!ger);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    charset_map  koi8-r  windows-1251 {
        C1  E0;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard  on;
        LOCATIONS

        location = /extra {
            return  200 extra;
        }

        location = /status {
            stub_status;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        websocket_guard  auto;
        LOCATIONS

        location = /extra {
            return  200 extra;
        }
    }
}
EOC

my @headers = ('Content-Type: text/html', 'Content-Encoding: gzip');
my @cases = map { my $name = $_; map { [$name, $_] } 8080, 8083 } sort keys %filters;
$t->plan(5 * @cases + 4);

# What the client sends, and what comes back: nothing that a filter would not change.
my $bytes = "hello <!--#echo var=\"uri\" --> \xC1 hello\n" x 20;

run_backend($t, 8081, handlers => {
    pour  => sub { my ($c) = @_; $c->upgrade(bytes => $bytes); $c->write($c->read(length $bytes)); $c->disconnect },
    typed => sub { my ($c) = @_; $c->upgrade(headers => \@headers, bytes => $bytes); $c->write($c->read(length $bytes)); $c->disconnect },
    late  => sub { my ($c) = @_; $c->upgrade; $c->write($c->read(length $bytes)); $c->disconnect },
    page  => sub { my ($c) = @_; $c->respond(200, 'hello <!--#echo var="uri" -->', 'Content-Type: text/html') },
});
$t->run();

for my $case (@cases) {
    my ($name, $port) = @$case;
    for my $handler (qw/ pour typed late /) {
        my $ws = websocket(path => "/$name/$handler", port => $port, timeout => 5);
        my $greeting = $handler eq 'late' ? '' : $ws->read(length $bytes, 5) // 'none';
        $ws->write($bytes);
        is(join(' ', $ws->status, $greeting . ($ws->read_all(5) // 'no end')),
            '101 ' . $bytes x ($handler eq 'late' ? 1 : 2), "$port, $name, $handler");
    }
    my $ws = websocket(path => "/$name/ws", port => $port, timeout => 5);
    ok($ws->is_open && $ws->echo('hello') eq 'hello' && $ws->close, "$port, $name, messages");
    is($ws->header('X-Added'), $name =~ /all|headers/ ? 'yes' : undef, "$port, $name, headers");
}

is(body('ssi'),      'hello /ssi/page',                          'a plain response, ssi');
is(body('sub'),      'bye <!--#echo var="uri" -->',              'sub_filter');
is(body('addition'), 'extrahello <!--#echo var="uri" -->extra',  'addition');

ok(wait_until(sub { http_get('/status') =~ /^Active connections: 1 $/m }), 'no connection is left');

sub body {
    my ($name) = @_;
    return raw_request("GET /$name/page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->body;
}
