#!/usr/bin/perl

# nginx offers a subprotocol or an extension of its own, and the backend takes it: the client, which has not offered it,
# closes. The answer is compared with what the client sent; a line in all modes, and what it says helps.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(16);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        websocket_guard  MODE;

        location / {
            include     recipe.conf;
            SUBPROTOCOL
            proxy_pass  http://127.0.0.1:8081;
        }

        location /extension/ {
            include           recipe.conf;
            proxy_set_header  Sec-WebSocket-Extensions permessage-deflate;
            proxy_pass        http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file('recipe.conf', <<'EOC');
proxy_http_version  1.1;
proxy_set_header    Upgrade $http_upgrade;
proxy_set_header    Connection upgrade;
EOC

# Takes what is offered.
run_backend($t, 8081, handlers => { chosen => sub {
    my ($c, $request) = @_;
    my @chosen = map { my $name = $_; map {"$name: $_"} $request->header($name) } 'Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions';
    $c->upgrade(headers => \@chosen) && $c->echo;
} });
configure('on', 'proxy_set_header Sec-WebSocket-Protocol sip;');
$t->run();

my $backend = 'backend 127.0.0.1:' . port(8081);
my $remedy = q{remove the location's "proxy_set_header Sec-WebSocket-Protocol", and have the client offer that subprotocol if the }
    . 'backend wants it [subprotocol-mismatch]';
for my $mode (qw/ on auto check off /) {
    if ($mode ne 'on') {
        configure($mode, 'proxy_set_header Sec-WebSocket-Protocol sip;');
        reload($t);
    }
    is(outcome($t, path => '/chosen'), qq{101, [error] upgrade failed: $backend chose subprotocol "sip", none was offered, but nginx }
        . qq{sent "sip"; $remedy}, "$mode: none was offered");
    is(outcome($t, path => '/chosen', subprotocol => 'chat'), qq{101, [error] upgrade failed: $backend chose subprotocol "sip", }
        . qq{offered: "chat", but nginx sent "sip"; $remedy}, "$mode: another one was offered");
    is(outcome($t, path => '/chosen', subprotocol => 'sip'), 101, "$mode: the client offers it, too");
}
like(outcome($t, path => '/extension/chosen'), qr/^101, .* chose extension "permessage-deflate", which was not offered; .*mismatch\]$/,
    'an extension');
is(outcome($t, path => '/extension/chosen', headers => ['Sec-WebSocket-Extensions: permessage-deflate']), 101,
    'an extension that the client offers');

# What the line says.
configure('on', '');
reload($t);
is(outcome($t, path => '/chosen'), 101, 'none');
is(outcome($t, path => '/chosen', subprotocol => 'sip'), 101, 'offered by the client');

sub configure {
    my ($mode, $subprotocol) = @_;
    $t->write_file_expand('nginx.conf', $conf =~ s/MODE/$mode/r =~ s/SUBPROTOCOL/$subprotocol/r);
}
