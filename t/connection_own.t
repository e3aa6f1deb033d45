#!/usr/bin/perl

# A location's own Connection "" or "close", as in a recipe for keepalive, counts for its plain requests only: upgrades
# get what they need, and the connections to the backend are kept as before. Any other value of its own stays.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map rewrite upstream_keepalive /);

# The recipe in a location, where %GUARD% may be what the audit advises for it.
my $recipe = <<'EOC';
        location /recipe/ {
            %GUARD%
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection "";
            proxy_set_header    Host $http_host;
            proxy_read_timeout  1h;
            proxy_pass          http://kept;
        }
EOC

sub conf {
    my ($guard) = @_;
    return <<'EOC' . $recipe =~ s/%GUARD%/$guard/r . "    }\n}\n";

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    map $http_upgrade $connection_upgrade {
        default  upgrade;
        ''       '';
    }

    map $uri $empty {
        default  '';
    }

    upstream kept {
        server     127.0.0.1:8081;
        keepalive  4;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        websocket_guard  auto;

        location / {
            proxy_pass          http://kept;
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_set_header    Host $http_host;
        }

        location /on/ {
            websocket_guard     on;
            include             keepalive.conf;
            proxy_pass          http://kept;

            if ($arg_other) {
                proxy_pass      http://127.0.0.1:8081;
            }
        }

        location /close/ {
            proxy_pass          http://kept;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    connection Close;
        }

        location /twice/ {
            websocket_guard     auto;
            include             keepalive.conf;
            proxy_set_header    Connection "";
            proxy_pass          http://kept;

            location /twice/nested/ {
                proxy_pass      http://kept;
            }
        }

        # What may be meant for upgrades is not touched.

        location /keep-alive/ {
            websocket_guard     auto;
            proxy_pass          http://kept;
            proxy_set_header    Connection keep-alive;
        }

        location /variable/ {
            proxy_pass          http://kept;
            proxy_set_header    Connection $empty;
        }

        location /both/ {
            proxy_pass          http://kept;
            proxy_set_header    Connection "";
            proxy_set_header    Connection $connection_upgrade;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

EOC
}

$t->write_file('keepalive.conf', "proxy_http_version 1.1;\nproxy_set_header Connection \"\";\n");
$t->write_file_expand('nginx.conf', conf(''))->plan(32);
run_backend($t, 8081);
$t->run();

for my $case (
    ['/', undef], ['/on/', undef], ['/on/?other=1', undef], ['/close/', 'Close'], ['/twice/', undef], ['/twice/nested/', undef],
) {
    my ($path, $connection) = @$case;
    $path =~ s/(\?|$)/ws$1/;
    is(websocket(path => $path)->echo('hello'), 'hello', "$path, tunnel");
    my $seen = (requests_seen($t))[-1];
    is_deeply([map { [$seen->header($_)] } qw/ Upgrade Connection /], [['websocket'], ['upgrade']], "$path, upgrade");
    is_deeply(plain($path =~ s/ws/page/r), [$connection // ()], "$path, plain request");
}

# Connections are kept.

my @seen = map { plain('/page'); (requests_seen($t))[-1] } 1 .. 4;
is($seen[-1]->connection, $seen[0]->connection, 'kept connection');
is($seen[-1]->request, $seen[0]->request + 3, 'used again');

# A request that is proxied as a plain one is one.

websocket(path => '/ws', headers => ['Upgrade: h2c']);
is_deeply([(requests_seen($t))[-1]->header('Connection')], [], 'another protocol');

# Other values.

for my $case (['/keep-alive/', 'keep-alive', 'keep-alive'], ['/variable/', undef, undef], ['/both/', 'upgrade', undef]) {
    my ($path, $upgrade, $plain) = @$case;
    websocket(path => "${path}ws");
    is_deeply([(requests_seen($t))[-1]->header('Connection')], [$upgrade // ()], "$path, upgrade");
    is_deeply(plain("${path}page"), [$plain // ()], "$path, plain request");
}

# ---- what nginx -t says about the recipe, and what comes of it

my @wrong = grep {/\[connection-wrong\]/} guard_log($t);
is(join("\n", grep {m!"/recipe/"!} @wrong), '[error] websocket_guard: location "/recipe/" sends Connection "" for an upgrade, '
    . 'without the token "upgrade"; add "websocket_guard auto;" to the location, which sends that with plain requests only '
    . '[connection-wrong] in ' . $t->testdir . '/nginx.conf:' . recipe_line(), 'the recipe, unmarked');
is(join(' ', map {/location "([^"]+)"/} grep { !m!"/recipe/"! } @wrong), '/keep-alive/', 'what counts for plain requests is not wrong');

my ($guard) = "@wrong" =~ m!"/recipe/" .*?; add "([^"]+)"!;
$t->write_file_expand('nginx.conf', conf($guard));
my $since = log_size($t);
reload($t);
is(scalar(grep {m!"/recipe/".*\[connection-wrong\]!} guard_log($t, undef, since => $since)), 0, 'with that, nothing');
is(websocket(port => 8083, path => '/recipe/ws')->echo('hello'), 'hello', 'with that, a tunnel');
@seen = map { plain('/recipe/page', 8083); (requests_seen($t))[-1] } 1 .. 4;
is($seen[-1]->request, $seen[0]->request + 3, 'and plain requests on a kept connection');

sub plain {
    my ($path, $port) = @_;
    raw_request("GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n", port => $port // 8080);
    return [(requests_seen($t))[-1]->header('Connection')];
}

sub recipe_line {
    my ($before) = $t->read_file('nginx.conf') =~ /\A(.*location \/recipe\/.*?)proxy_set_header +Connection/s;
    return 1 + ($before =~ tr/\n//);
}
