#!/usr/bin/perl

# nginx tells where a block was opened, but not in which column: blocks of one line are still told apart.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy cache /)->plan(5);

# It has lines of its own.
$t->write_file_expand('globals.conf', '%%TEST_GLOBALS_HTTP%%');

my $HEAD = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

EOC

my $CACHE    = 'proxy_cache_path cache keys_zone=all:1m;';
my $UPSTREAM = 'upstream pool { server 127.0.0.1:8081; }';
my $RECIPE   = 'websocket_guard on; proxy_set_header Host $http_host; proxy_pass http://127.0.0.1:8081;';
my $CACHED   = 'websocket_guard check; proxy_cache all; proxy_http_version 1.1; proxy_read_timeout 1h; '
    . 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $http_host; '
    . 'proxy_pass http://127.0.0.1:8081;';

sub names { return [sort map {/\[([a-z-]+)\] in /} guard_lines((nginx_test($t, "$HEAD$_[0]"))[1], 'warn')] }

# The cache is found by the text of the location alone.
is_deeply(names("http { include globals.conf;\n$CACHE\nserver {\nlocation / {\n$CACHED\n}\n}\n}\n"), ['cache-on'], 'each in a line');
is_deeply(names("http { include globals.conf; $CACHE server { location / { $CACHED } } }\n"), ['cache-on'], 'all in one');
is_deeply(names("http { include globals.conf; $CACHE $UPSTREAM server { location / { $CACHED } } }\n"), ['cache-on'],
    'and an upstream');
is_deeply(names("http { include globals.conf; $CACHE server { location /a { $RECIPE } location /b { $CACHED } } }\n"),
    ['cache-on'], 'one of two locations');
is_deeply(names("http { include globals.conf; $CACHE server { location / { $RECIPE } } }\n"), [], 'no cache');
