#!/usr/bin/perl

# A variable with a line end in it, as $uri and captured groups can have, writes header lines of the client's choice
# into the request to the backend. An Upgrade line that the gate did not let pass makes no way through a guarded
# location: the handshake is refused before anything is sent, whatever proxy_pass names, with one line in the log.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream pool {
        server  127.0.0.1:8081;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        set  $port  %%PORT_8081%%;
        set  $bind  127.0.0.2;
        set  $last  3;
EOC

my %passes = (fixed => '127.0.0.1:8081', block => 'pool', variable => '127.0.0.1:$port', named => '$pool');
for my $pass (sort keys %passes) {
    for my $mode (qw/ on auto off /) {
        $conf .= <<"EOC";

        location /$pass/uri/$mode/ {
            websocket_guard   $mode;
            set               \$pool pool;
            proxy_http_version 1.1;
            proxy_set_header  Upgrade \$http_upgrade;
            proxy_set_header  Connection upgrade;
            proxy_set_header  X-Path \$uri;
            proxy_pass        http://$passes{$pass};
        }
EOC
    }
}

$conf .= <<'EOC';

        # the guard's own headers
        location ~ ^/captured/([^/]*)/ {
            websocket_guard   on;
            proxy_set_header  X-Name $1;
            proxy_pass        http://127.0.0.1:8081;
        }

        location ~ ^/target/(?s)(.*)$ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081/$1;
        }

        location /block/ {
            websocket_guard   on;
            proxy_set_header  X-Path $uri;
            proxy_pass        http://127.0.0.1:8082;

            if ($http_upgrade) {
                proxy_pass  http://127.0.0.1:8081;
            }
        }

        # the address that proxy_bind says is used
        location /bound/address/ {
            websocket_guard   on;
            proxy_bind        127.0.0.2;
            proxy_set_header  X-Path $uri;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /bound/variable/ {
            websocket_guard   on;
            proxy_bind        $bind;
            proxy_set_header  X-Path $uri;
            proxy_pass        http://127.0.0.1:$port;
        }

        location /bound/off/ {
            websocket_guard   on;
            proxy_bind        off;
            proxy_pass        http://127.0.0.1:8083;
        }

        location /bound/seen/ {
            proxy_bind        127.0.0.4;

            location /bound/seen/inherited/ {
                websocket_guard   auto;
                proxy_pass        http://127.0.0.1:8083;
            }

            location /bound/seen/own/ {
                websocket_guard   on;
                proxy_bind        127.0.0.$last;
                proxy_pass        http://127.0.0.1:8083;
            }

            location /bound/seen/wrong/ {
                websocket_guard   on;
                proxy_bind        $uri;
                proxy_pass        http://127.0.0.1:8083;
            }

            location /bound/seen/outside/ {
                proxy_pass        http://127.0.0.1:8083;
            }
        }

        # what it says itself, stays
        location /constant/ {
            websocket_guard   on;
            proxy_set_header  Upgrade "websocket, x-own";
            proxy_set_header  X-Path $uri;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /body/ {
            websocket_guard          on;
            websocket_guard_upgrade  websocket x-own;
            proxy_set_header         X-Path $uri;
            proxy_set_body           "Upgrade: h2c\nUpgrade: h2c\n";
            proxy_pass               http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8083;
        return       200 $remote_addr;
    }
}
EOC

$t->write_file_expand('nginx.conf', $conf)->plan(123);

run_backend($t, 8081);
$t->run();

my @foreign = (
    ['a line',             '%0d%0aUpgrade:%20h2c'],
    ['without CR',         '%0aUpgrade:%20h2c'],
    ['without LF',         '%0dUpgrade:%20h2c'],
    ['a blank',            '%0d%0aUpgrade%20:%20h2c'],
    ['a blank before',     '%0d%0a%20Upgrade:%20h2c'],
    ['a list',             '%0d%0aUpgrade:%20websocket,h2c'],
    ['a folded line',      '%0d%0aUpgrade:%20websocket%0d%0a%20,h2c'],
    ['after an empty one', '%0a%0aUpgrade:%20h2c'],
    ['two',                '%0d%0aUpgrade:%20websocket%0d%0aUpgrade:%20h2c'],
);

# One location takes ten lines of a finding.
for my $pass (sort keys %passes) {
    for my $mode (qw/ on auto /) {
        my $location = "/$pass/uri/$mode/";
        is(refusal("${location}x%0d%0auPGRADE:h2c%0d%0aX:/ws", 'h2c'), '500 upgrade-injected', "$location plain HTTP");
        for my $case (@foreign) {
            my ($name, $injected) = @$case;
            is(refusal("${location}x$injected%0d%0aX:/ws"), '500 upgrade-injected', "$location $name");
        }
        is(refusal("${location}x%0d%0aX-Upgrade:%20h2c%0d%0aX:/ws"), '101', "$location another header");
        is(refusal("${location}x/ws"), '101', "$location nothing");
    }
    # Nothing but the gate's own doing: no request is refused that asks for no upgrade, or where nothing is guarded.
    is(refusal("/$pass/uri/off/x%0d%0aUpgrade:%20websocket%0d%0aX:/ws"), '101', "$pass, off");
    is(raw_request("GET /$pass/uri/on/x%0d%0aX-Y:%20h2c/page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->status, 200,
        "$pass, a page");
}

for my $location (qw! /block/ /bound/address/ /bound/variable/ !) {
    is(refusal("${location}x%0d%0aUpgrade:%20h2c%0d%0aX:/ws"), '500 upgrade-injected', $location);
    is(websocket(path => "${location}ws")->echo('hello'), 'hello', "$location, WebSocket");
}
is(refusal('/captured/x%0d%0aUpgrade:%20h2c/ws'), '500 upgrade-injected', 'captured');
is(refusal('/captured/x%0d%0aX:%20y/ws'), '101', 'captured, another header');
is(refusal('/target/x%20HTTP%2f1.1%0d%0aUpgrade:%20h2c%0d%0aX:/ws'), '500 upgrade-injected', 'in the request line');
is(refusal('/constant/x%0d%0aUpgrade:%20h2c%0d%0aX:/ws'), '500 upgrade-injected', 'beside a constant');
is(refusal('/constant/ws'), '101', 'a constant');
is(refusal('/body/ws'), '101', 'a body');

is(outcome($t, path => '/block/x%0d%0aUpgrade:%20h2c%0d%0aX:/ws'),
    '500, [error] upgrade failed: the request to the backend had a line "Upgrade: h2c", which ' . place_of($t, '/block/')
    . ' does not allow; use $request_uri in proxy_set_header and proxy_pass there, or a regular expression without line ends, '
    . 'such as "[^\\r\\n]*" [upgrade-injected]', 'the line');
my %bound = (off => '127.0.0.1', map {("seen/$_" => '127.0.0.4')} qw/ inherited outside /);
for my $location (sort keys %bound) {
    is(http_get("/bound/$location/") =~ s/.*\r\n\r\n//sr, $bound{$location}, "bound, $location");
}
is(http_get('/bound/seen/own/') =~ s/.*\r\n\r\n//sr, '127.0.0.3', 'bound, a variable');
is(http_get('/bound/seen/wrong/') =~ s/.*\r\n\r\n//sr, '127.0.0.1', 'bound, no address');
my @arrived = grep { /h2c/ } map { $_->header('Upgrade'), $_->header('Upgrade '), $_->header(' Upgrade') } requests_seen($t);
is("@arrived", '', 'nothing of it arrived');

# The status that the client got, and the names of the guard's lines.
sub refusal {
    my ($path, $upgrade) = @_;
    my ($status, @lines) = split /, (?=\[)/, outcome($t, path => $path, headers => ['Upgrade: ' . ($upgrade // 'websocket')]);
    return join ' ', $status, map { / \[([\w-]+)\]\z/ ? $1 : $_ } @lines;
}
