#!/usr/bin/perl

# How a tunnel ended: a line for each that was cut, with the limit and how long each side was silent, and
# none for those that were closed. In guarded and in hand-made locations. That one was closed without a Close
# frame is seen only where the guard moves the bytes.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Time::HiRes qw/ sleep /;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi http_ssl rewrite socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(89);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    # Else nginx would read on for seconds.
    lingering_close  off;

    ssl_certificate      localhost.crt;
    ssl_certificate_key  localhost.key;

    upstream pool {
        server 127.0.0.1:8081;
    }

    server {
        listen           127.0.0.1:8080;
        listen           127.0.0.1:8443 ssl;
        server_name      on;
        websocket_guard  on;
        include          locations.conf;

        location /guard-timeout/ {
            websocket_guard_timeout  1s;
            proxy_pass               http://127.0.0.1:8081;
        }
    }

    server {
        listen           127.0.0.1:8083;
        server_name      auto;
        websocket_guard  auto;
        include          locations.conf;
    }

    server {
        listen              127.0.0.1:8084;
        server_name         hand-made;
        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        include             locations.conf;
    }
}
EOC

$t->write_file_expand('locations.conf', <<'EOC');
location / {
    proxy_pass  http://127.0.0.1:8081;
}

location /variable/ {
    set         $address 127.0.0.1:8081;
    proxy_pass  http://$address;
}

location /short/ {
    proxy_pass          http://pool;
    proxy_read_timeout  1s;
}

location /short-send/ {
    proxy_pass          http://127.0.0.1:8081;
    proxy_send_timeout  1s;
    send_timeout        1s;
}

location /uwsgi/ {
    uwsgi_pass          127.0.0.1:8082;
    uwsgi_param         REQUEST_METHOD $request_method;
    uwsgi_param         REQUEST_URI $request_uri;
    uwsgi_send_timeout  1s;
}
EOC

make_certificate($t);
run_backend($t, $_, $_ == 8082 ? (protocol => 'uwsgi') : (), handlers => {
    # Writes until it cannot.
    flood => sub { my ($c) = @_; $c->upgrade; $c->write($c->frame(binary => 'x' x (64 << 20)), 60); $c->closed_within(60) },
}) for 8081, 8082;
$t->run();

my ($proxied, $uwsgi) = map { 'backend 127.0.0.1:' . port($_) } 8081, 8082;
my $idle = 'have the application send pings more often than that, or raise websocket_guard_timeout [tunnel-idle]';
my $slow_client = 'send less to slow clients, or raise send_timeout [tunnel-client-stalled]';
my $slow_backend = 'see what the backend is doing, or raise the send timeout [tunnel-backend-stalled]';
my $client_reset = 'nothing, if it happens now and then; else look at the network in front of this nginx [tunnel-client-reset]';
my $backend_reset = q{see the backend's log, and idle limits of what stands between it and nginx [tunnel-backend-reset]};

# More than the buffers on the way take: a masked frame.
my $flood = "\x82\xff" . pack('Q>', 64 << 20) . 'mask' . 'x' x (64 << 20);

my $client_gone = "[info] tunnel ended after MS: the client's connection ended without a Close frame (client silent for MS, backend "
    . 'silent for MS); nothing, if it happens now and then; else see what the client does, or what stands between it and nginx '
    . '[tunnel-client-gone]';
my $backend_gone = "[error] tunnel ended after MS: the connection of $proxied ended without a Close frame (client silent for MS, backend "
    . "silent for MS); see the backend's log, and have it send a Close when it stops [tunnel-backend-gone]";

# What happens in the tunnel: its path; how long both sides do nothing; what the client does then; the line,
# with TIME for any time. In the last ones only frames tell that there is one.
my @cases = (
    # Each limit is a second. nginx may start it some milliseconds before the 101.
    ['idle from the start', '/short/ws', 0, sub { },
        "[error] tunnel cut after ONE: no byte in either direction for ONE (limit 1s; client silent for ONE, backend silent for ONE); $idle"],
    ['idle after the client has spoken', '/short/stall', 0.5, sub { $_[0]->send('there?') },
        "[error] tunnel cut after TWO: no byte in either direction for ONE (limit 1s; client silent for ONE, backend silent for TWO); $idle"],
    ['idle after the backend has spoken', '/short/push?2,0.5', 0, sub { },
        "[error] tunnel cut after TWO: no byte in either direction for ONE (limit 1s; client silent for TWO, backend silent for ONE); $idle"],
    ['never idle for long enough', '/short/push?4,0.5', 0, sub { $_[0]->recv for 1 .. 4; $_[0]->close }, undef],

    # However long the flood takes to come.
    ['the client does not read', '/short-send/flood', 0, sub { wait_until(sub { tunnels_ended('/short-send/flood') == 3 }, 20) },
        "[error] tunnel cut after TIME: the client took no data for 1s (send_timeout; client silent for TIME, backend silent for TIME); $slow_client"],
    ['the backend does not read', '/short-send/stall', 0, sub { $_[0]->write($flood, 0.2) },
        "[error] tunnel cut after TIME: $proxied took no data for 1s (proxy_send_timeout; client silent for TIME, backend silent for TIME); $slow_backend"],
    ['a backend behind uwsgi does not read', '/uwsgi/stall', 0, sub { $_[0]->write($flood, 0.2) },
        "[error] tunnel cut after TIME: $uwsgi took no data for 1s (uwsgi_send_timeout; client silent for TIME, backend silent for TIME); $slow_backend"],

    (map {
        ["reset by the client, $_", $_, 0.4, sub { $_[0]->reset },
            "[info] tunnel ended after MS: the client reset the connection (client silent for MS, backend silent for MS); $client_reset"],
    } qw{ /ws /variable/ws /uwsgi/ws }),
    (map {
        ["reset by the backend, $_", $_, 0, sub { },
            '[error] tunnel ended after MS: ' . (/uwsgi/ ? $uwsgi : $proxied)
                . " reset the connection (client silent for MS, backend silent for MS); $backend_reset"],
    } qw{ /cut?0.4 /variable/cut?0.4 /uwsgi/cut?0.4 }),

    ['the client says goodbye', '/ws', 0, sub { $_[0]->echo('hello'); $_[0]->close }, undef],
    ['the backend says goodbye', '/bye?1001', 0, sub { $_[0]->recv; $_[0]->send(pack('n', 1001), 'close') }, undef],
    ['the backend says goodbye, the client closes', '/bye?1001', 0, sub { $_[0]->recv; $_[0]->disconnect }, undef],
    ['the client says goodbye, the backend closes', '/bye?1000,5', 0, sub { $_[0]->send(pack('n', 1000), 'close'); $_[0]->disconnect }, undef],

    ['the client closes', '/ws', 0, sub { $_[0]->echo('hello'); $_[0]->disconnect }, $client_gone, 'tracked'],
    ['the client closes its side only', '/ws', 0, sub { shutdown $_[0]{socket}, 1 }, $client_gone, 'tracked'],
    ['the backend closes', '/drop?0.2', 0, sub { }, $backend_gone, 'tracked'],
    ['the backend closes at once', '/drop', 0, sub { }, $backend_gone, 'tracked'],
);

# Whether a server's frames are looked at.
my $native  = ($ENV{TEST_NGINX_GLOBALS_HTTP} // '') =~ /websocket_guard_tunnel\s+native/;
my $tracked = sub { !$native && $_[0] ne 'hand-made' };

my %ports = (on => 8080, auto => 8083, 'hand-made' => 8084);

for my $case (@cases) {
    my ($name, $path, $wait, $act, $any, $only) = @$case;
    my %line = map { $_ => !$only || $tracked->($_) ? $any : undef } qw/ on auto hand-made /;

    # The three at the same time, to save it.
    my ($since, $ended) = (log_size($t), tunnels_ended());
    my %tunnel = map { $_ => websocket(path => $path, port => $ports{$_}) } keys %ports;
    sleep $wait;
    $act->($_) for values %tunnel;
    $_->{socket} and !$_->closed_within(5) and diag("$name: still open") for values %tunnel;
    wait_until(sub { tunnels_ended() >= $ended + keys %tunnel });
    my @lines = guard_log($t, undef, since => $since);

    for my $server (sort keys %tunnel) {
        my @its = map {s/websocket_guard: //r} map { /^(.*), client: [\d.]+, server: $server, request: "GET \Q$path\E HTTP/ ? $1 : () } @lines;
        if (defined(my $line = $line{$server})) {
            my $expected = $server eq 'hand-made' ? $line =~ s/raise websocket_guard_timeout/raise proxy_read_timeout/r : $line;
            like(join("\n", @its), pattern($expected), "$server, $name");
        } else {
            is(join("\n", @its), '', "$server, $name");
        }
    }
    is(scalar(@lines), scalar(grep {defined} values %line), "$name, lines");
}

# A pause in reading is no end.
is(outcome($t, sub {
    my $ws = websocket(path => '/short-send/flood');
    sleep 0.5;
    $ws->read(10 + (64 << 20), 20);
    $ws->send('', 'close');
    return $ws;
}), 101, 'the client reads late');

# websocket_guard_timeout is a limit like any other.
my $cut = pattern("101, [error] tunnel cut after ONE: no byte in either direction for ONE (limit 1s; client silent for ONE, "
    . "backend silent for ONE); $idle");
like(outcome($t, sub { my $ws = websocket(path => '/guard-timeout/ws'); $ws->closed_within(5); $ws }), $cut, 'websocket_guard_timeout');

# Over TLS, where nginx takes a reset for an end.
like(outcome($t, sub { my $ws = websocket(path => '/short/ws', ssl => 1); $ws->closed_within(5); $ws }), $cut, 'TLS, idle');
is(outcome($t, sub { my $ws = websocket(ssl => 1); $ws->echo('hello'); $ws->close; $ws }), 101, 'TLS, the client says goodbye');
like(outcome($t, sub { my $ws = websocket(ssl => 1); $ws->echo('hello'); $ws->reset; $ws }),
    $native ? qr/^101$/ : pattern("101, $client_gone"), 'TLS, the client disappears');

sub pattern {
    my ($line) = @_;
    my %time = (MS => qr/\d+ms/, ONE => qr/(?:[6-9]\d\dms|1s)/, TWO => qr/(?:1|2)s/, TIME => qr/(?:\d+ms|\d+s)/);
    my $pattern = join '', map { $time{$_} // quotemeta } split /\b(MS|ONE|TWO|TIME)\b/, $line;
    return qr/^$pattern$/;
}

# How many, or how many of those with that path.
sub tunnels_ended {
    my ($path) = @_;
    return scalar grep { !defined $path || m! \Q$path\E ! } split /\n/, $t->read_file('access.log');
}
