#!/usr/bin/perl

# "websocket_guard off" or "check" in a location of a guarded one: what nginx would have done without the
# guard is back there, in headers, HTTP version, timeouts and buffering.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(30);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_read_timeout  1s;
    proxy_set_header    X-Level http;
    proxy_set_header    X-Seen $http_upgrade;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            location /on/off/ {
                websocket_guard  off;
                proxy_pass       http://127.0.0.1:8081;
            }

            location /on/check/ {
                websocket_guard  check;
                proxy_pass       http://127.0.0.1:8081;
            }
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;

            location /auto/off/ {
                websocket_guard  off;
                proxy_pass       http://127.0.0.1:8081;
            }
        }

        # With values of their own.

        location /own/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  X-Level location;
            proxy_set_header  Connection "";

            location /own/off/ {
                websocket_guard  off;
                proxy_pass       http://127.0.0.1:8081;
            }
        }

        location /version/ {
            websocket_guard     on;
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_buffering     off;
            proxy_read_timeout  10s;

            location /version/off/ {
                websocket_guard  off;
                proxy_pass       http://127.0.0.1:8081;
            }
        }
    }

    # The same without the guard.

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }

        location /own/ {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  X-Level location;
            proxy_set_header  Connection "";
        }

        location /version/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_buffering     off;
            proxy_read_timeout  10s;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();

# The request, to the byte.

for my $path (qw{ /on/off/ /on/check/ /auto/off/ /own/off/ /version/off/ }) {
    my @plain = ("${path}page", without => [qw/ Upgrade Connection /]);
    is(head(8080, @plain), head(8083, @plain), "$path, plain request");
    is(head(8080, "${path}ws"), head(8083, "${path}ws"), "$path, handshake");
    is(websocket(path => "${path}ws")->status, 200, "$path, no upgrade");
}

# A reminder of what it was before.

for my $path (qw{ /on/ /own/ /version/ }) {
    is(websocket(path => "${path}ws")->echo('hello'), 'hello', "$path, upgrade");
}
isnt(head(8080, '/on/ws'), head(8083, '/on/ws'), 'the head shows it');

# Buffering and timeouts.

ok(!streams('/on/off/'), 'buffering is back');
ok(!streams('/on/check/'), 'in check too');
ok(!streams('/own/off/'), 'beside own headers too');
ok(streams('/version/off/'), 'an explicit value of the location around it is inherited');
ok(streams('/on/'), 'on does not buffer');

my %slow = map { $_ => connection() } qw{ /on/ /on/off/ /on/check/ /auto/off/ /version/off/ };
$slow{$_}->write("GET ${_}slow?2 HTTP/1.1\r\nHost: localhost\r\n\r\n") for keys %slow;
$_->read_response for values %slow;
is($slow{'/on/off/'}->status, 504, 'timeout is back');
is($slow{'/on/check/'}->status, 504, 'in check too');
is($slow{'/auto/off/'}->status, 504, 'in auto it was not away');
is($slow{'/version/off/'}->status, 200, 'an explicit value of the location around it is inherited');
is($slow{'/on/'}->status, 200, 'on has another');

is(scalar(grep { $_->uri =~ /off|check/ && $_->header('Upgrade') } requests_seen($t)), 0, 'no Upgrade from there');

# The head of a request as the backend gets it.
sub head {
    my ($port, $path, %options) = @_;
    websocket(port => $port, path => $path, key => 'dGhlIHNhbXBsZSBub25jZQ==', %options);
    return (grep { $_->uri eq $path } requests_seen($t))[-1]->head;
}
