#!/usr/bin/perl

# proxy_http_version 2 (nginx 1.29.4 and later) with the guard: "auto" leaves such a location as it is, for its plain
# requests, and nginx -t says that no upgrade gets through; "on" speaks HTTP/1.1 where the version is inherited.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http http_v2 proxy /);

my %own = ('/marked/' => 'websocket_guard auto;', '/own/' => 'websocket_guard on; proxy_http_version 2;');

sub conf {
    my $own = join '', map {"        location $_ { $own{$_} proxy_pass http://127.0.0.1:8082; }\n"} sort keys %own;
    return <<"EOC";

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard  auto;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        proxy_http_version  2;
        proxy_set_header    X-Above yes;

        location / {
            proxy_pass  http://127.0.0.1:8082;
        }

        location /also/ {
            proxy_pass  http://127.0.0.1:8082;
        }

        location /http1/ {
            proxy_http_version  1.1;
            proxy_pass          http://127.0.0.1:8081;
        }

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            location /on/auto/ {
                websocket_guard  auto;
                proxy_pass       http://127.0.0.1:8082;
            }
        }

$own    }

    # A backend that speaks nothing but HTTP/2.
    server {
        listen       127.0.0.1:8082;
        server_name  localhost;
        http2        on;

        access_log           off;
        websocket_guard      off;
        websocket_guard_log  off;

        location / {
            if (\$server_protocol != HTTP/2.0) { return 505; }
            return  200  "\$server_protocol \$http_x_above \$http_upgrade";
        }
    }
}
EOC
}

if (!$t->has_version('1.29.4')) {
    my ($code, $output) = nginx_test($t->plan(2), conf());
    is($code, 1, 'nginx refuses it');
    like($output, qr/invalid value "2"/, 'and says why') or diag $output;
    exit;
}

$t->write_file_expand('nginx.conf', conf())->plan(20);
run_backend($t, 8081);
$t->run();

# ---- what nginx -t says

my $dir = $t->testdir;
my $fix = 'set "proxy_http_version 1.1;" in the location, or in one of its own for WebSocket [h2-upstream]';
my @told = grep {/\[h2-upstream\]/} guard_log($t);
my $above = conf_line($t, qr/^        proxy_http_version  2;/);
is_deeply([grep {/^\[notice\]/} @told], ['[notice] websocket_guard: location "/" of the server in '
    . "$dir/nginx.conf:" . conf_line($t, qr/^    server/) . ' (and in another location) speaks HTTP/2 to the backend, which has '
    . "no upgrade; $fix in $dir/nginx.conf:$above"], 'auto above: once, as something to know');
is_deeply([grep {!/^\[notice\]/} @told], [
    '[error] websocket_guard: location "/on/auto/" (and in 2 other locations) speaks HTTP/2 to the backend, which has '
        . "no upgrade; $fix in $dir/nginx.conf:$above",
    '[info] websocket_guard: the same is true of location "/own/" [h2-upstream] in '
        . "$dir/nginx.conf:" . conf_line($t, qr/proxy_http_version 2; proxy_pass/),
], 'marked locations: once, and where it is not from above') or diag join "\n", @told;
is_deeply([grep {/missing-|dropped/} guard_log($t)], [], 'and nothing that follows of it');

# ---- plain requests are as they were

for my $path (qw! / /also/ /marked/ /on/auto/ /own/ !) {
    is(plain($path), 'HTTP/2.0 yes ', "$path, a plain request");
}
is(plain('/marked/', 'Upgrade: h2c', 'Connection: Upgrade'), 'HTTP/2.0 yes ', 'another protocol');

# ---- upgrades where HTTP/1.1 is spoken

for my $path (qw! /http1/ /on/ !) {
    is(websocket(path => "${path}ws")->echo('hello'), 'hello', "$path, a tunnel");
    is((requests_seen($t))[-1]->header('X-Above'), 'yes', "$path, with the headers from above");
}

# ---- upgrades to a backend that has none: the answer of before, and a line that works

for my $path (qw! / /marked/ /on/auto/ /own/ !) {
    my $line = 'upgrade failed: ' . place_of($t, $path) . ' speaks HTTP/2 to the backend, which cannot upgrade; set '
        . '"proxy_http_version 1.1;" in it [upgrade-not-forwarded]';
    is(outcome($t, path => $path), "200, [error] $line", "$path, an upgrade");
}
my ($remedy) = (run_time_log($t, 'error'))[-1] =~ /; set "([^"]+)" in it/;
$own{'/marked/'} .= " $remedy";
$own{'/own/'} =~ s/proxy_http_version 2;/$remedy/;
$t->write_file_expand('nginx.conf', conf() =~ s/(location \/(?:marked|own)\/ .*?)8082/${1}8081/gr);
my $since = log_size($t);
reload($t);
for my $path (qw! /marked/ /own/ !) {
    is(websocket(path => "${path}ws")->echo('hello'), 'hello', "$path, with $remedy");
}
is_deeply([map {/location "([^"]+)"/} grep {/^\[error\].*\[h2-upstream\]/} guard_log($t, undef, since => $since)], ['/on/auto/'],
    'and nginx says so of the other alone');

sub plain {
    my ($path, @headers) = @_;
    return raw_request(join "\r\n", "GET ${path}page HTTP/1.1", 'Host: localhost', 'Connection: close', @headers, '', '')->body;
}
