#!/usr/bin/perl

# What the audit says of the backends, the limits and the listeners of a guarded location, and of the
# configuration as a whole.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http http_ssl http_v2 proxy upstream_ip_hash upstream_hash upstream_least_conn limit_conn /);
make_certificate($t, 'site');

my $PASS = 'proxy_pass http://127.0.0.1:8081;';
my $POOL = "\nserver { listen 127.0.0.1:8080; location /ws/ { websocket_guard on; proxy_pass http://pool; } }";
my $TLS  = 'ssl_certificate %%TESTDIR%%/site.crt; ssl_certificate_key %%TESTDIR%%/site.key;';
my ($ONE, $TWO) = ('server 127.0.0.1:8081;', 'server 127.0.0.1:8081; server 127.0.0.1:8082;');
# For nginx a name, and for the resolver of the system 127.0.0.1, without a name server.
my $NAME = '0x7f000001';
my $ZONE = 'limit_conn_zone $binary_remote_addr zone=clients:1m;';

sub server { return "\nserver { listen 127.0.0.1:8080; @_ }" }

# For each finding: what in http {} must report it and nothing else, and what must report nothing.
my @cases = (
    'resolver-missing' => {
        wrong => {
            'variable'     => server('set $host_name app.test; location /ws/ { websocket_guard on; proxy_pass http://$host_name; }'),
            'of the client' => server('location /ws/ { websocket_guard auto; proxy_pass http://$arg_backend:8081; }'),
            'variable port' => server('location /ws/ { websocket_guard on; proxy_pass http://app.test:$server_port; }'),
            'variable URI' => server('location /ws/ { websocket_guard on; proxy_pass http://app.test$request_uri; }'),
            'one of a map' => 'map $http_host $to { default 127.0.0.1:8081; b app.test; } '
                . server('location /ws/ { websocket_guard on; proxy_pass http://$to; }'),
            'one of two'   => server('set $to 127.0.0.1; if ($arg_b) { set $to app.test; } '
                . 'location /ws/ { websocket_guard on; proxy_pass http://$to:8081; }'),
        },
        right => {
            'resolver'     => 'resolver 127.0.0.1; '
                . server('set $host_name app.test; location /ws/ { websocket_guard on; proxy_pass http://$host_name; }'),
            'address'      => server('set $address 127.0.0.1:8081; location /ws/ { websocket_guard on; proxy_pass http://$address; }'),
            'address, variable URI' => server('location /ws/ { websocket_guard on; proxy_pass http://127.0.0.1:8081$request_uri; }'),
            'upstream'     => "upstream pool { $ONE } " . server('set $to pool; location /ws/ { websocket_guard on; proxy_pass http://$to; }'),
            'mapped upstream' => "upstream a { $ONE } upstream b { $ONE } map \$cookie_v \$to { default a; b b; } "
                . server('location /ws/ { websocket_guard on; proxy_pass http://$to; }'),
            'mapped addresses' => 'map $http_host $to { hostnames; default 127.0.0.1:8081; *.test 127.0.0.1:8082; ~^a unix:/a; } '
                . server('location /ws/ { websocket_guard on; proxy_pass http://$to; }'),
            'split addresses' => 'split_clients $remote_addr $to { 50% 127.0.0.1:8081; * 127.0.0.1:8082; } '
                . server('location /ws/ { websocket_guard on; proxy_pass http://$to; }'),
            'addresses by network' => 'geo $to { default 127.0.0.1:8081; 10.0.0.0/8 127.0.0.1:8082; } '
                . server('location /ws/ { websocket_guard on; proxy_pass http://$to$request_uri; }'),
            'address in the URI' => server('location ~ "^/ws/(?<ip>[\d.]+)/(\d{1,5})" { websocket_guard on; proxy_pass http://$ip:$2; }'),
            'one of two addresses' => server('location /ws/ { websocket_guard on; set $to 127.0.0.1; if ($arg_b) { set $to 127.0.0.2; } '
                . 'proxy_pass http://$to:8081; }'),
            'unmarked'     => server('location /ws/ { proxy_pass http://$arg_backend:8081; }'),
        },
        http => "server {\nlisten 127.0.0.1:8080;\nlocation /ws/ {\nwebsocket_guard on;\nproxy_pass http://\$arg_backend:8081; # here\n}\n}",
        line => '[warn] websocket_guard: location "/ws/" cannot resolve the host of proxy_pass "http://$arg_backend:8081", there is no '
            . 'resolver; add a resolver, such as "resolver 127.0.0.1;" [resolver-missing] in %s',
    },
    'tls-sni-missing' => {
        wrong => {
            'name'         => server("location /ws/ { websocket_guard on; proxy_pass https://$NAME:%%PORT_8081%%; }"),
            'switched off' => 'proxy_ssl_server_name off; '
                . server("location /ws/ { websocket_guard auto; proxy_pass https://$NAME:%%PORT_8081%%/; }"),
            'upstream'     => "upstream pool { server $NAME:%%PORT_8081%%; } " . ($POOL =~ s/http:/https:/r),
            'a domain for addresses' => "upstream app.example.com { $ONE } " . ($POOL =~ s!http://pool!https://app.example.com!r),
            'variable'     => 'resolver 127.0.0.1; '
                . server('location /ws/ { websocket_guard on; proxy_pass https://app.test:%%PORT_8081%%$request_uri; }'),
        },
        right => {
            'switched on'  => 'proxy_ssl_server_name on; '
                . server("location /ws/ { websocket_guard on; proxy_pass https://$NAME:%%PORT_8081%%; }"),
            'address'      => server('location /ws/ { websocket_guard on; proxy_pass https://127.0.0.1:8081; }'),
            'upstream of addresses' => "upstream pool { $ONE } " . ($POOL =~ s/http:/https:/r),
            'a domain for addresses, told' => "proxy_ssl_server_name on; upstream app.example.com { $ONE } "
                . ($POOL =~ s!http://pool!https://app.example.com!r),
            'no TLS'       => server("location /ws/ { websocket_guard on; proxy_pass http://$NAME:%%PORT_8081%%; }"),
            'this machine' => 'upstream pool { server localhost:%%PORT_8081%%; } ' . ($POOL =~ s/http:/https:/r)
                . server('server_name b; location /ws/ { websocket_guard on; proxy_pass https://localhost:%%PORT_8081%%; }'),
        },
        http => "upstream pool { server $NAME:%%PORT_8081%%; }\nserver {\nlisten 127.0.0.1:8080;\nlocation /ws/ {\nwebsocket_guard on;\n"
            . "proxy_pass https://pool; # here\n}\n}",
        line => '[warn] websocket_guard: location "/ws/" does not tell its TLS backend "0x7f000001" which name is wanted '
            . '(proxy_ssl_server_name is off); add "proxy_ssl_server_name on;", and proxy_ssl_name where the name differs from '
            . 'the one in proxy_pass [tls-sni-missing] in %s',
    },
    'lb-no-affinity' => {
        wrong => {
            'round robin'  => "upstream pool { $TWO } $POOL",
            'least_conn'   => "upstream pool { least_conn; $TWO keepalive 8; } $POOL",
            'the target of an upgrade' => "upstream pool { $TWO } " . server("location /ws/ { websocket_guard on;
                if (\$http_upgrade = websocket) { proxy_pass http://pool; } $PASS }"),
            'variable'     => "upstream pool { $TWO } " . server('set $to pool; location /ws/ { websocket_guard on; proxy_pass http://$to; }'),
            'one of three is down' => "upstream pool { $TWO server 127.0.0.1:8083 down; } $POOL",
        },
        right => {
            'ip_hash'      => "upstream pool { ip_hash; $TWO } $POOL",
            'ip_hash, keepalive' => "upstream pool { ip_hash; $TWO keepalive 8; } $POOL",
            'hash'         => "upstream pool { hash \$remote_addr consistent; $TWO } $POOL",
            'the target of plain requests' => "upstream pool { $TWO } " . server("location /ws/ { websocket_guard on;
                if (\$http_upgrade = websocket) { $PASS } proxy_pass http://pool; }"),
            'the same turned round' => "upstream pool { $TWO } " . server("location /ws/ { websocket_guard on;
                if (\$http_upgrade = '') { proxy_pass http://pool; } $PASS }"),
            'a backup'     => "upstream pool { $ONE server 127.0.0.1:8082 backup; } $POOL",
            'one is down'  => "upstream pool { $ONE server 127.0.0.1:8082 down; } $POOL",
            'inherited auto' => "websocket_guard auto; upstream pool { $TWO } " . server('location / { proxy_pass http://pool; }'),
            'of another location' => "upstream pool { $TWO } "
                . server("location / { proxy_pass http://pool; } location /ws/ { websocket_guard on; $PASS }"),
        },
        http => "upstream pool { # here\n$TWO\nserver 127.0.0.1:8083;\n}\n$POOL",
        line => '[notice] websocket_guard: location "/ws/" balances over 3 servers of upstream "pool" without session affinity; add "ip_hash;" '
            . 'or "hash $remote_addr consistent;" to the upstream, unless any server will do [lb-no-affinity] in %s',
    },
    'max-conns' => {
        wrong => {
            'one server'   => "upstream pool { server 127.0.0.1:8081 max_conns=10; } $POOL",
            'one of two'   => "upstream pool { ip_hash; server 127.0.0.1:8081; server 127.0.0.1:8082 max_conns=10; } $POOL",
            'variable'     => 'upstream pool { server 127.0.0.1:8081 max_conns=10; } '
                . server('set $to pool; location /ws/ { websocket_guard auto; proxy_pass http://$to; }'),
        },
        right => {
            'no limit'     => "upstream pool { server 127.0.0.1:8081 max_conns=0; } $POOL",
            'of another upstream' => "upstream pool { $ONE } upstream other { server 127.0.0.1:8082 max_conns=10; } $POOL",
            'unmarked'     => 'upstream pool { server 127.0.0.1:8081 max_conns=10; } '
                . server("location / { proxy_pass http://pool; } location /ws/ { websocket_guard on; $PASS }"),
        },
        http => "upstream pool { # here\nserver 127.0.0.1:8081 max_conns=200;\n}\n$POOL",
        line => '[warn] websocket_guard: location "/ws/" can open only 200 WebSockets to a server of upstream "pool" (max_conns); raise '
            . 'max_conns to the number of WebSockets that the server shall hold [max-conns] in %s',
    },
    'limit-conn' => {
        wrong => {
            'location'     => "$ZONE " . server("location /ws/ { websocket_guard on; limit_conn clients 5; $PASS }"),
            'one of two'   => "limit_conn_zone \$server_name zone=servers:1m; $ZONE "
                . server("location /ws/ { websocket_guard on; limit_conn servers 1000; limit_conn clients 9; $PASS }"),
            'server'       => "$ZONE " . server("limit_conn clients 5; location /ws/ { websocket_guard auto; $PASS }"),
            'http'         => "$ZONE limit_conn clients 5; " . server("location /ws/ { websocket_guard on; $PASS }"),
        },
        right => {
            'dry run'      => "$ZONE " . server("limit_conn_dry_run on; location /ws/ { websocket_guard on; limit_conn clients 5; $PASS }"),
            'only a zone'  => "$ZONE " . server("location /ws/ { websocket_guard on; $PASS }"),
            'ten are meant' => "$ZONE " . server("location /ws/ { websocket_guard on; limit_conn clients 10; $PASS }"),
            'another location' => "$ZONE " . server("location / { limit_conn clients 5; $PASS } location /ws/ { websocket_guard on; $PASS }"),
        },
        http => "$ZONE\nserver {\nlisten 127.0.0.1:8080;\nlimit_conn clients 5; # here\nlocation /ws/ {\nwebsocket_guard on;\n$PASS\n}\n}",
        line => '[warn] websocket_guard: location "/ws/" counts each open WebSocket as a connection for its whole life (limit_conn below 10); raise the '
            . 'limit for the location to the number of WebSockets that one key may hold [limit-conn] in %s',
    },
    'cleartext-h2-listener' => {
        before => '1.25.1',
        wrong => {
            'only listener' => "server { listen 127.0.0.1:8080 http2; location /ws/ { websocket_guard on; $PASS } }",
            'each of two'  => "server { listen 127.0.0.1:8080 http2; listen 127.0.0.1:8082 http2; location /ws/ { websocket_guard auto; $PASS } }",
            'set by another server' => "server { listen 127.0.0.1:8080 http2; server_name a; }
                server { listen 127.0.0.1:8080; server_name b; location /ws/ { websocket_guard on; $PASS } }",
            'once for two locations' => "server { listen 127.0.0.1:8080 http2; websocket_guard on; location / { $PASS } location /b/ { $PASS } }",
        },
        right => {
            'TLS'          => "server { listen 127.0.0.1:8080 ssl http2; $TLS location /ws/ { websocket_guard on; $PASS } }",
            'HTTP/1.1 beside it' => "server { listen 127.0.0.1:8080; listen 127.0.0.1:8082 http2; location /ws/ { websocket_guard auto; $PASS } }",
            'not guarded'  => "server { listen 127.0.0.1:8080 http2; location / { $PASS } } "
                . "server { listen 127.0.0.1:8082; location /ws/ { websocket_guard on; $PASS } }",
        },
        http => "server {\nlisten 127.0.0.1:8080 http2; # here\nserver_name localhost;\nlocation /ws/ {\nwebsocket_guard on;\n$PASS\n}\n}",
        line => '[error] websocket_guard: server "localhost" speaks only HTTP/2 on "127.0.0.1:%PORT_8080%" (http2 without ssl), and WebSocket '
            . 'clients speak HTTP/1.1; remove http2 from that listen [cleartext-h2-listener] in %s',
    },
);

my $count = 27;
for my $case (grep {ref} @cases) {
    $count += 1 + keys(%{ $case->{wrong} }) + keys %{ $case->{right} };
}
$t->plan($count);

while (my ($finding, $case) = splice @cases, 0, 2) {
    my $expected = $case->{before} && $t->has_version($case->{before}) ? '' : $finding;
    for my $name (sort keys %{ $case->{wrong} }) {
        is(names($case->{wrong}{$name}), $expected, "$finding: $name");
    }
    for my $name (sort keys %{ $case->{right} }) {
        is(names($case->{right}{$name}), '', "not $finding: $name");
    }
    my @lines = audit_lines($case->{http});
    my $place = $t->testdir . '/nginx-test.conf:' . conf_line($t, qr/# here/, 'nginx-test.conf');
    my $line  = $case->{line} =~ s/%PORT_(\d+)%/port($1)/ger =~ s/%s$/$place/r;
    is("@lines", $expected && $line, "$finding: the line");
}

# ---- the whole configuration ---------------------------------------------------------------------

my $guarded = server("location /a/ { websocket_guard on; $PASS } location /b/ { websocket_guard auto; $PASS }") . ' '
    . server("server_name two; websocket_guard on; location /c/ { $PASS }");
my $other = server("location /a/ { $PASS } location /b/ { websocket_guard off; $PASS }");

my $DRAIN = 'websocket_guard on; websocket_guard_tunnel pump; websocket_guard_drain 1m;';

my @cases_of_the_whole = (
    # name, at the top, in events, in http, what is found
    ['shutdown-unbounded: two servers, once', '', '', $guarded, 'shutdown-unbounded capacity'],
    ['shutdown-unbounded: inherited mode',    '', '', 'websocket_guard auto; ' . server("location / { $PASS }"), 'shutdown-unbounded capacity'],
    ['shutdown-unbounded: set',               'worker_shutdown_timeout 1h;', '', $guarded, 'capacity'],
    ['shutdown-unbounded: a drain',           '', '', server("$DRAIN location / { $PASS }"), 'capacity'],
    ['shutdown-unbounded: a drain for some',  '', '', server("$DRAIN location /a/ { $PASS } location /b/ { websocket_guard_drain off; $PASS }"),
        'shutdown-unbounded capacity'],
    ['nothing is guarded',                    '', '', $other, ''],
    ['nothing is guarded, only checked',      '', '', 'proxy_set_header Host $http_host; proxy_read_timeout 1h; '
        . 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_http_version 1.1; '
        . server("location / { websocket_guard check; $PASS }"), ''],
);
for my $case (@cases_of_the_whole) {
    my ($name, $top, $events, $http, $expected) = @$case;
    is(names($http, top => $top, events => $events, whole => 1), $expected, $name);
}

# Clients that poll need the affinity, others may not.
for my $case (['/socket.io/', 'warn'], ['~ ^/app/engine\.io', 'warn'], ['/chatHub/negotiate', 'warn'], ['/api/v1/websocket', 'notice'],
    ['~ /api/v[0-9]+/(users/)?websocket$', 'notice']) {
    my ($location, $level) = @$case;
    my ($line) = grep {/\[lb-no-affinity\]/} audit_lines("upstream pool { $TWO keepalive 32; } "
        . server("location $location { websocket_guard on; proxy_pass http://pool; }"));
    like($line, qr/^\[$level\] /, "lb-no-affinity: $location");
    my ($none) = grep {/\[lb-no-affinity\]/} audit_lines("upstream pool { ip_hash; $TWO keepalive 32; } "
        . server("location $location { websocket_guard on; proxy_pass http://pool; }"));
    is($none, undef, "lb-no-affinity: $location, the remedy");
}

# The directive that limits is shown.
for my $case (['worker_rlimit_nofile 100; # here', 'worker_connections 500;'], ['', 'worker_connections 500; # here'], ['', '# none']) {
    my ($top, $events) = @$case;
    my ($line) = grep {/\[capacity\]/} audit_lines($guarded, top => "worker_shutdown_timeout 1h;\n$top", events => $events, whole => 1);
    my $place = conf_line($t, $events eq '# none' ? qr/^events/ : qr/# here/, 'nginx-test.conf');
    like($line, qr/ in \Q${\ $t->testdir}\E\/nginx-test\.conf:$place$/, "capacity: the place, $top $events");
}

for my $case (
    ['workers and connections', 'worker_processes 4;', 'worker_connections 500;', '1000 WebSockets (4 workers with 500 worker_connections, two for each)'],
    ['one worker by default', '', 'worker_connections 100;', '50 WebSockets (1 worker with 100 worker_connections, two for each)'],
    ['connections by default', 'worker_processes 2;', '', '512 WebSockets (2 workers with 512 worker_connections, two for each)'],
    ['few files', 'worker_processes 2; worker_rlimit_nofile 100;', 'worker_connections 500;',
        '100 WebSockets (2 workers with 500 worker_connections, two for each; a worker may open only 100 files)'],
    ['enough files', 'worker_rlimit_nofile 900;', 'worker_connections 500;', '250 WebSockets (1 worker with 500 worker_connections, two for each)'],
) {
    my ($name, $top, $events, $capacity) = @$case;
    my @lines = map { s/ in \S+$//r } grep {/\[capacity\]/}
        audit_lines($guarded, top => "worker_shutdown_timeout 1h; $top", events => $events, whole => 1);
    is("@lines", "[info] websocket_guard: this configuration can hold $capacity; raise worker_connections, and worker_rlimit_nofile to at least "
        . 'as much [capacity]', "capacity: $name");
}

my @lines = audit_lines("\n$guarded", top => '', whole => 1);
my ($line, $place) = $lines[0] =~ /(.*) in (\S+)$/;
is($line, '[info] websocket_guard: after a reload, old workers live until their last WebSocket ends; set worker_shutdown_timeout, such as '
    . '"worker_shutdown_timeout 1h;", at the top of nginx.conf [shutdown-unbounded]', 'shutdown-unbounded: the line');
is($place, $t->testdir . '/nginx-test.conf:' . conf_line($t, qr/^http \{/, 'nginx-test.conf'), 'shutdown-unbounded: the place');

# The guard's lines at nginx -t with this in http {}, except those that say what is guarded and, without
# "whole", how much fits.
sub audit_lines {
    my ($http, %parts) = @_;
    my $top = $parts{top} // 'worker_shutdown_timeout 1h;';
    my $events = $parts{events} // '';
    my ($code) = nginx_test($t, <<"EOC");
%%TEST_GLOBALS%%
$top
events {
$events
}
http {
    %%TEST_GLOBALS_HTTP%%
    map \$http_upgrade \$connection_upgrade {
        default upgrade;
        ''      '';
    }
    websocket_guard_forwarded on;
    websocket_guard_ignore unused-directive;
$http
}
EOC
    my $log = $t->read_file('nginx-test.log');
    return "refused: $log" if $code;
    return grep { !/ is guarded / && ($parts{whole} || !/\[capacity\]/) } guard_lines($log);
}

sub names {
    my ($http, %parts) = @_;
    return join ' ', map { / \[([\w-]+)\] in \S+:\d+$/ ? $1 : $_ } audit_lines($http, %parts);
}
