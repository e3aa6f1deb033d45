#!/usr/bin/perl

# image_filter wants an image, and a 101 is none: it replaces it by an error of its own. The client gets that, and the
# log says that no tunnel came of it.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $modules = packaged_modules('ngx_http_image_filter_module');
my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%MODULES%%/$modules/r)->plan(13);

%%TEST_GLOBALS%%
%%MODULES%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  outcome "$uri $status [$websocket_guard]";

    websocket_guard_ignore  short-read-timeout;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        access_log  %%TESTDIR%%/access.log;
        access_log  %%TESTDIR%%/outcome.log outcome;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
            image_filter     test;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
            image_filter     test;
        }

        location /hand/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            image_filter        test;
        }
    }
}
EOC

# An answer that says it is an image.
run_backend($t, 8081, handlers => { multipart => sub { $_[0]->upgrade(headers => ['Content-Type: multipart/x-mixed-replace']) } });
$t->run();
my @workers = living();

sub living { wait_until(sub { worker_pids($t) == 1 }, 5); return worker_pids($t) }

for my $place (qw! /on/ /auto/ /hand/ !) {
    for my $last (qw/ ws multipart /) {
        my $path = "$place$last";
        my ($status, @lines) = split /, (?=\[)/, outcome($t, path => $path);
        my ($variable) = $t->read_file('outcome.log') =~ m!^\Q$path\E (.*)!m;
        if ($status == 101) {
            is("@lines", '', "$path: a tunnel without a line");
            is($variable, '101 [upgraded]', "$path: by its variable too");
        } else {
            is(scalar(@lines), 1, "$path: $status and one line") or diag join "\n", @lines;
            like($variable, qr/^\d+ \[(?!upgraded)[a-z-]+\]$/, "$path: no upgrade");
        }
    }
}

is_deeply([living()], \@workers, 'one worker did all that');
