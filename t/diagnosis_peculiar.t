#!/usr/bin/perl

# A backend that refuses a handshake for something that is peculiar about it: no subprotocol, a Host with "_". The line says
# what, and what the backend says, and the remedy helps. Session affinity is named where nothing is peculiar.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(19);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream chat_app {
        server 127.0.0.1:8081;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade $http_upgrade;
        proxy_set_header    Connection upgrade;
        HEADERS

        location / {
            proxy_pass  http://chat_app;
        }

        location /on/ {
            websocket_guard            on;
            websocket_guard_forwarded  FORWARDED;
            proxy_pass                 http://chat_app;
        }

        location /named/ {
            proxy_set_header  Host broker.example;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection upgrade;
            proxy_pass        http://chat_app;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    # A broker.
    broker => sub {
        my ($c, $request) = @_;
        my ($offered) = $request->header('Sec-WebSocket-Protocol');
        return $c->default($request) if ($offered // '') =~ /\bmqtt\b/;
        $c->respond(400, "Sec-WebSocket-Protocol must name mqtt\n");
    },
    quiet => sub {
        my ($c, $request) = @_;
        $request->header('Sec-WebSocket-Protocol') ? $c->default($request) : $c->respond(426, '');
    },
    # A framework.
    framework => sub {
        my ($c, $request) = @_;
        my ($host) = $request->header('Host');
        $host =~ /_/ ? $c->respond(400, '<h1>Bad Request (400)</h1>') : $c->default($request);
    },
    session => sub { $_[0]->respond(400, '{"code":1,"message":"Session ID unknown"}') },
});
configure('', 'off');
$t->run();

my $backend = 'backend 127.0.0.1:' . port(8081);
my $name = 'Host "chat_app" is no name of a host, because of the "_"';
my $by_hand = 'set "proxy_set_header Host $http_host;" where Upgrade is set';
my $in_on = 'set "websocket_guard_forwarded host;" in the location';
my $broker = 'said "Sec-WebSocket-Protocol must name mqtt"';
my $offer = 'have the client offer the subprotocol that the backend wants (new WebSocket(url, [name]))';
my $end = '[backend-bad-handshake]';

is(outcome($t, path => '/named/broker'), "400, [error] upgrade failed: $backend answered 400 and $broker; the client offers no "
    . "subprotocol; $offer $end", 'no subprotocol');
is(outcome($t, path => '/framework'), "400, [error] upgrade failed: $backend answered 400; $name; $by_hand $end", '"_", by hand');
is(outcome($t, path => '/on/framework'), "400, [error] upgrade failed: $backend answered 400; $name; $in_on $end", '"_", on');
is(outcome($t, path => '/broker'), "400, [error] upgrade failed: $backend answered 400 and $broker; $name; the client offers no "
    . "subprotocol; $by_hand, and $offer $end", 'both');

# A subprotocol that nobody speaks of is one possibility of several.
my $usual = q{see the backend's log; with several servers check session affinity, else the list of trusted proxies};
is(outcome($t, path => '/quiet'), "426, [error] upgrade failed: $backend answered 426 to a correct handshake that offers no "
    . "subprotocol; $usual, and whether the backend wants a subprotocol $end", 'maybe a subprotocol');
is(outcome($t, path => '/named/session', subprotocol => 'chat'), "400, [error] upgrade failed: $backend answered 400 to a "
    . 'correct handshake and said "{\x22code\x22:1,\x22message\x22:\x22Session ID unknown\x22}"; ' . "$usual $end", 'nothing peculiar');
is(outcome($t, path => '/named/broker', subprotocol => 'chat'), "400, [error] upgrade failed: $backend answered 400 to a "
    . "correct handshake and $broker; $usual $end", 'another subprotocol');

# Not to be seen in another refusal, nor in an error.
for my $status (403, 404, 500) {
    unlike(outcome($t, path => "/status?$status"), qr/no name of a host|subprotocol/, $status . ': nothing of it');
}

# What the lines say.
is(outcome($t, path => "/named/$_", subprotocol => 'mqtt'), 101, "$_, with a subprotocol") for qw/ broker quiet /;
configure('proxy_set_header Host $http_host;', 'on');
reload($t);
is(outcome($t, path => $_), 101, "$_, a Host") for qw{ /framework /on/framework };
is(outcome($t, path => '/broker', subprotocol => 'mqtt'), 101, 'both');

# The name that the client uses has one as well: to send it is no remedy.
is(outcome($t, path => '/framework', authority => 'my_site'), "400, [error] upgrade failed: $backend answered 400; Host "
    . qq{"my_site" is no name of a host, because of the "_"; give the site a name without "_" $end}, "the client's");
is(outcome($t, path => '/framework', authority => 'my-site'), 101, 'another name');
is(outcome($t, path => '/ws', authority => 'my_site'), 101, 'a backend that does not mind');
is(outcome($t, sub { raw_request("GET /framework HTTP/1.1\r\nHost: a_b\r\nConnection: close\r\n\r\n") }), 400, 'a plain request');

sub configure {
    my ($headers, $forwarded) = @_;
    $t->write_file_expand('nginx.conf', $conf =~ s/HEADERS/$headers/r =~ s/FORWARDED/$forwarded/r);
}
