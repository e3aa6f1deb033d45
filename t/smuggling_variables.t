#!/usr/bin/perl

# The value of a location's own "proxy_set_header Upgrade" can come from the client by way of variables that the
# gate does not know: a copy, a map that was used before, a captured group, an argument. What is sent of it are
# allowed protocols, and only with a handshake that the gate let pass; whatever proxy_pass names.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map rewrite /);

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

    upstream pool {
        server  127.0.0.1:8081;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        set  $port  %%PORT_8081%%;
        set  $copy  $http_upgrade;
EOC

my %passes = (fixed => '127.0.0.1:8081', block => 'pool', variable => '127.0.0.1:$port', named => '$pool');
my %values = (copy => '$copy', map => '$mapped', arg => '$arg_upgrade', mixed => '$copy, websocket');
for my $pass (sort keys %passes) {
    for my $value (sort keys %values) {
        for my $mode (qw/ on auto /) {
            $conf .= <<"EOC";

        location /$pass/$value/$mode/ {
            websocket_guard   $mode;
            set               \$pool pool;
            proxy_set_header  UPGRADE "$values{$value}";
            proxy_set_header  Connection upgrade;
            proxy_pass        http://$passes{$pass};

            if (\$mapped = "looked at") {
                return 404;
            }
        }
EOC
        }
    }
}

$conf .= <<'EOC';

        location ~ ^/captured/([^/]*)/ {
            websocket_guard   on;
            proxy_set_header  Upgrade $1;
            proxy_set_header  Connection upgrade;
            proxy_pass        http://127.0.0.1:8081;
        }

        # blocks have the headers of the location around them
        location /block/ {
            websocket_guard   on;
            proxy_set_header  Upgrade $copy;
            proxy_set_header  Connection upgrade;
            proxy_pass        http://127.0.0.1:8082;

            if ($mapped) {
                proxy_pass  http://127.0.0.1:8081;
            }
        }

        location /limited/ {
            websocket_guard   on;
            proxy_set_header  Upgrade $copy;
            proxy_set_header  Connection upgrade;
            proxy_pass        http://127.0.0.1:8082;

            limit_except POST {
                proxy_pass  http://127.0.0.1:8081;
            }
        }

        # of the guarded location's own header nothing is left
        location /around/ {
            websocket_guard   on;
            proxy_set_header  Upgrade $copy;
            proxy_set_header  Connection upgrade;
            proxy_pass        http://127.0.0.1:8081;

            location /around/inner/ {
                proxy_pass  http://127.0.0.1:8081;
            }

            location /around/off/ {
                websocket_guard  off;
                proxy_pass       http://127.0.0.1:8081;
            }
        }

        # listed here, so it is allowed
        location /listed/ {
            websocket_guard          on;
            websocket_guard_upgrade  websocket tcp;
            proxy_set_header         Upgrade $copy;
            proxy_set_header         Connection upgrade;
            proxy_pass               http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file_expand('nginx.conf', $conf)->plan(188);

run_backend($t, 8081, handlers => {
    h2c => sub { my ($c) = @_; $c->upgrade(upgrade => 'h2c', accept => undef, bytes => 'INTERNAL') && $c->echo },
});
$t->run();

my @cases = (
    # what was sent; what the backend sees of it
    ['h2c',               undef],
    ['foo',               undef],
    ['h2c, websocket',    'websocket'],
    ['WebSocket, h2c',    'websocket'],
    ['websocket',         'websocket'],
    ['WebSocket',         'WebSocket'],
);

for my $pass (sort keys %passes) {
    for my $mode (qw/ on auto /) {
        for my $value (qw/ copy map /) {
            for my $case (@cases) {
                my ($upgrade, $expected) = @$case;
                is(sent("/$pass/$value/$mode/ws", $upgrade), $expected, "$pass, $value, $mode, $upgrade");
            }
        }
        is(sent("/$pass/mixed/$mode/ws", 'h2c'), undef, "$pass, mixed, $mode, h2c");
        is(sent("/$pass/mixed/$mode/ws", 'websocket'), 'websocket, websocket', "$pass, mixed, $mode, WebSocket");
        is(sent("/$pass/arg/$mode/ws?upgrade=h2c", 'websocket'), undef, "$pass, argument, $mode, h2c");
        is(sent("/$pass/arg/$mode/ws?upgrade=websocket", 'websocket'), 'websocket', "$pass, argument, $mode, WebSocket");
        is(sent("/$pass/arg/$mode/page?upgrade=websocket"), undef, "$pass, argument, $mode, a page");
        is(sent("/$pass/arg/$mode/page?upgrade=websocket", 'h2c'), undef, "$pass, argument, $mode, another protocol");
    }
    # no handshake, so none is forwarded
    is(sent("/$pass/copy/auto/ws", 'websocket', without => ['Sec-WebSocket-Key']), undef, "$pass, auto, malformed");
    is(websocket(path => "/$pass/copy/on/ws", headers => ['Upgrade: h2c, websocket'])->echo('hello'), 'hello', "$pass, WebSocket");

    my $ws = websocket(path => "/$pass/copy/on/h2c", headers => ['Upgrade: h2c']);
    is($ws->status, 502, "$pass, a 101 that was not asked for");
    unlike($ws->body, qr/INTERNAL/, "$pass, nothing of the tunnel");
}

for my $case (@cases) {
    my ($upgrade, $expected) = @$case;
    is(sent("/$_/ws", $upgrade), $expected, "$_, $upgrade") for qw! block limited around !;
}
is(sent('/around/inner/ws', 'WebSocket'), 'websocket', 'the guard\'s own');
is(sent('/around/off/ws', 'h2c'), 'h2c', 'not guarded');
is(sent('/listed/ws', 'tcp, foo'), 'tcp', 'listed');
is(sent('/listed/ws', 'h2c, foo'), undef, 'not listed');
is(sent('/captured/h2c/ws', 'websocket'), undef, 'captured, h2c');
is(sent('/captured/websocket/ws', 'websocket'), 'websocket', 'captured, WebSocket');
is(sent('/captured/websocket%0d%0aUpgrade:%20h2c/ws', 'websocket'), undef, 'captured, two lines');
is(sent('/captured/websocket%0a%20h2c/ws', 'websocket'), undef, 'captured, a folded line');

my @foreign = grep { !m!^GET /(?:around/off|listed)/! } grep {/^upgrade:.*(?:h2c|foo)/mi} map { $_->head } requests_seen($t);
is(join("\n", @foreign), '', 'no other protocol arrived anywhere');
is(join("\n", grep { !m!^GET /(?:around/off|listed|[a-z]+/mixed)/! } false_upgrades($t)), '', 'nor a false handshake');

# What the backend gets of the Upgrade header.
sub sent {
    my ($path, $upgrade, %request) = @_;
    my $before = () = requests_seen($t);
    my @headers = defined $upgrade ? (headers => ["Upgrade: $upgrade"])
        : (without => [qw/ Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version /]);
    websocket(path => $path, @headers, %request)->disconnect;
    my @seen = requests_seen($t);
    return @seen == $before + 1 ? scalar $seen[-1]->header('Upgrade') : @seen - $before . ' requests';
}
