#!/usr/bin/perl

# Everything that keeps an upgrade from the backend is told in one line, with a remedy that works: what the location itself sets, and
# what it sends twice.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map /);

$t->write_file('proxy.conf', "proxy_http_version 1.1;\nproxy_set_header Host \$http_host;\nproxy_set_header Upgrade \$http_upgrade;\n"
    . "proxy_set_header Connection \$connection_upgrade;\n");
$t->write_file_expand('nginx.conf', <<'EOC')->plan(20);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       close;
    }

    map $http_upgrade $wrong {
        websocket  keep-alive;
        default    '';
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        proxy_http_version  1.1;

        location /swapped {
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade    $connection_upgrade;
            proxy_set_header  Connection $connection_upgrade;
        }

        location /three {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.0;
            proxy_set_header    Upgrade    $connection_upgrade;
            proxy_set_header    Connection $wrong;
        }

        location /checked {
            websocket_guard   check;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade    "";
            proxy_set_header  Connection $wrong;
        }

        location /guarded {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            proxy_set_header  Upgrade    $connection_upgrade;
            proxy_set_header  Connection $wrong;
        }

        location /in-a-block {
            proxy_set_header  Upgrade    $connection_upgrade;
            proxy_set_header  Connection $connection_upgrade;
            if ($http_upgrade) {
                proxy_pass  http://127.0.0.1:8081;
            }
        }

        # the remedies
        location /remedy/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        # equal headers twice
        location /twice {
            include           proxy.conf;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_pass        http://127.0.0.1:8082;
        }

        location /twice/connection {
            include           proxy.conf;
            proxy_set_header  connection upgrade;
            proxy_pass        http://127.0.0.1:8082;
        }

        location /twice/guarded {
            websocket_guard   on;
            include           proxy.conf;
            proxy_set_header  Host $http_host;
            proxy_pass        http://127.0.0.1:8082;
        }

        location /once {
            include           proxy.conf;
            proxy_set_header  X-App 1;
            proxy_set_header  X-App 1;
            proxy_pass        http://127.0.0.1:8082;
        }

        location /dead {
            include           proxy.conf;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_pass        http://127.0.0.1:8089;
        }

        location /tolerant {
            include           proxy.conf;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_pass        http://127.0.0.1:8081;
        }
    }

    # what stands above a location is no obstacle to the mark
    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade    $connection_upgrade;
        proxy_set_header    Connection $wrong;

        location /above {
            proxy_pass  http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8084;
        server_name  localhost;

        proxy_http_version  1.1;
        proxy_set_header    Upgrade    $connection_upgrade;
        proxy_set_header    Connection $wrong;

        location /marked {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

# The one takes the first line of a header, the other wants one of each (as Node's ws and Python's websockets do).
run_backend($t, 8081);
run_backend($t, 8082, handlers => { websocket => sub {
    my ($c, $request) = @_;
    return $c->respond(426, 'no') if grep { (() = $request->head =~ /^\Q$_\E:/gmi) > 1 } qw/ Upgrade Connection Host /;
    $c->upgrade && $c->echo;
} });
$t->run();

my $both = 'sends Upgrade "upgrade" in place of "websocket" and sends Connection "keep-alive" in place of "upgrade"';
my $mark = 'add "websocket_guard on;" to it';
my $own_both = 'remove its own "proxy_set_header Upgrade" and "proxy_set_header Connection" [upgrade-not-forwarded]';

like(failure('/swapped'), qr/^\d+, sends Upgrade "upgrade" in place of "websocket"; \Q$mark\E and remove its own "proxy_set_header Upgrade" \[/,
    'the value of another header');
is(failure('/three') =~ s/^\d+, //r, 'sends Upgrade "upgrade" in place of "websocket", sends Connection "keep-alive" in place of "upgrade" and '
    . "speaks HTTP/1.0 to the backend, which cannot upgrade; $mark and remove its own \"proxy_set_header Upgrade\", \"proxy_set_header "
    . 'Connection" and "proxy_http_version" [upgrade-not-forwarded]', 'three at once');
is(failure('/checked') =~ s/^\d+, //r, 'passes the request on without its Upgrade header and sends Connection "keep-alive" in place of '
    . "\"upgrade\"; set \"websocket_guard on;\" in it and $own_both", 'check');
is(failure('/guarded') =~ s/^\d+, //r, 'passes the request on without its Upgrade header and sends Connection "keep-alive" in place of '
    . "\"upgrade\"; $own_both", 'marked');
like(outcome($t, path => '/in-a-block'), qr/ sends Upgrade "upgrade" in place of "websocket"; .*remove its own "proxy_set_header Upgrade" \[/, 'an if');
is(outcome($t, path => '/remedy/'), '101', 'the remedy');
is(outcome($t, port => 8083, path => '/above') =~ s/^.*nginx\.conf:\d+\) //r, "$both; $mark [upgrade-not-forwarded]", 'set above it');
is(outcome($t, port => 8084, path => '/marked'), '101', 'the remedy');

# ---- twice

my $TWICE = 'by two lines of "proxy_set_header"; keep one of the two lines; one may stand in an included file [handshake-altered]';
is(failure('/twice'), "426, sends Upgrade twice, $TWICE", 'an include and the same line again');
is(failure('/twice/connection'), "426, sends Connection twice, $TWICE", 'another header, spelt otherwise');
is(failure('/twice/guarded'), "426, sends Host twice, $TWICE", 'Host, marked');
is(outcome($t, path => '/once'), '101', 'the remedy; other headers may stand there twice');
like(outcome($t, path => '/dead'), qr/^502, .* \[backend-unreachable\]$/, 'a backend that is not there');
like(outcome($t, path => '/tolerant/status?404'), qr/^404, .* \[backend-not-found\]$/, 'another refusal');
is(outcome($t, path => '/tolerant'), '101', 'a backend that does not mind');
like(outcome($t, path => '/once/status?426'), qr/^426, .* \[backend-bad-handshake\]$/, 'nothing is doubled');

# nginx tells of it when it starts.
my @doubled = grep { /\[duplicate-header\]/ } guard_log($t);
like("@doubled", qr{location "/twice" (?:\(and in 2 other locations\) )?sends Upgrade twice, both times as "\$http_upgrade"; keep one}, 'equal values');
like("@doubled", qr{location "/twice/guarded" sends Host twice}, 'in a marked location');
unlike("@doubled", qr{"/once"}, 'but not of other headers');
unlike("@doubled", qr{"/remedy/"|"/swapped"}, 'nor where there is one of each');

# What became of a handshake, without the location.
sub failure {
    my ($path) = @_;
    my $place = place_of($t, $path);
    return outcome($t, path => $path) =~ s/\[error\] upgrade failed: \Q$place\E //r;
}
