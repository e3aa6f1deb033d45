#!/usr/bin/perl

# uwsgi_param and scgi_param HTTP_UPGRADE take the place of the client's header. Of a value with variables a
# guarded location sends allowed protocols only, with a handshake that the gate let pass, and inherited ones as well.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http uwsgi scgi map rewrite /);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $mapped {
        default  $http_upgrade;
        ''       '';
    }

EOC

my %port = (uwsgi => 8080, scgi => 8090);
my %backend = (uwsgi => 8081, scgi => 8091);

$conf .= <<'EOC' =~ s/PROTOCOL/$_/gr =~ s/FRONT/$port{$_}/r =~ s/BACK/$backend{$_}/gr for qw/ uwsgi scgi /;
    server {
        listen       127.0.0.1:FRONT;
        server_name  localhost;

        set  $copy  $http_upgrade;

        PROTOCOL_param  REQUEST_METHOD $request_method;
        PROTOCOL_param  REQUEST_URI    $request_uri;
        PROTOCOL_param  CONTENT_LENGTH $content_length;
        PROTOCOL_param  HTTP_UPGRADE   $copy;

        location /inherited/ {
            websocket_guard  on;
            PROTOCOL_pass    127.0.0.1:BACK;

            location /inherited/off/ {
                websocket_guard  off;
                PROTOCOL_pass    127.0.0.1:BACK;
            }
        }

        location /off/ {
            PROTOCOL_pass    127.0.0.1:BACK;
        }

        location /own/ {
            websocket_guard  auto;
            PROTOCOL_pass    127.0.0.1:BACK;
            PROTOCOL_param   REQUEST_METHOD $request_method;
            PROTOCOL_param   REQUEST_URI    $request_uri;
            PROTOCOL_param   CONTENT_LENGTH $content_length;
            PROTOCOL_param   HTTP_UPGRADE   $mapped if_not_empty;

            if ($mapped = "looked at") {
                return 404;
            }
        }

        location /constant/ {
            websocket_guard  on;
            PROTOCOL_pass    127.0.0.1:BACK;
            PROTOCOL_param   REQUEST_METHOD $request_method;
            PROTOCOL_param   REQUEST_URI    $request_uri;
            PROTOCOL_param   CONTENT_LENGTH $content_length;
            PROTOCOL_param   HTTP_UPGRADE   "websocket, x-own";
        }
    }

EOC

$t->write_file_expand('nginx.conf', "$conf}\n")->plan(26);

run_backend($t, $backend{$_}, protocol => $_) for keys %backend;
$t->run();

for my $protocol (qw/ uwsgi scgi /) {
    my $port = $port{$protocol};
    my $sent = sub {
        my ($path, @upgrade) = @_;
        my @headers = @upgrade ? (headers => [map {"Upgrade: $_"} @upgrade])
            : (without => [qw/ Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version /]);
        websocket(path => "$path?" . join('+', @upgrade) =~ tr/, /++/r, port => $port, @headers)->disconnect;
        return join '|', (requests_seen($t, $backend{$protocol}))[-1]->header('Upgrade');
    };
    for my $path (qw! /inherited/ws /own/ws !) {
        is($sent->($path, 'h2c'), '', "$protocol, $path: h2c");
        is($sent->($path, 'h2c, websocket'), 'websocket', "$protocol, $path: a list");
        is($sent->($path, 'websocket'), 'websocket', "$protocol, $path: WebSocket");
        is($sent->($path), '', "$protocol, $path: a page");
        is(websocket(path => $path, port => $port)->echo('hello'), 'hello', "$protocol, $path: a message");
    }
    is($sent->("$_/ws", 'h2c'), 'h2c', "$protocol, $_: not guarded") for qw! /off /inherited/off !;
    is($sent->('/constant/ws', 'websocket'), 'websocket, x-own', "$protocol, a constant stays");
}
