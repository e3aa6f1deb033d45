#!/usr/bin/perl

# ModSecurity refuses a 101 by a rule of phase 3, which sees the headers of an answer: the client gets 403 and the log one
# line. Its other rules do not hinder a tunnel.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $modules = packaged_modules('ngx_http_modsecurity_module');
my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%MODULES%%/$modules/r)->plan(19);

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

    modsecurity        on;
    modsecurity_rules  '
        SecRuleEngine On
        SecRequestBodyAccess On
        SecRule REQUEST_URI "@contains /forbidden" "id:1,phase:1,deny,status:403"
        SecRule REQUEST_URI "@contains /late" "id:2,phase:3,deny,status:403,chain"
            SecRule RESPONSE_STATUS "@streq 101"
    ';

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        access_log  %%TESTDIR%%/access.log;
        access_log  %%TESTDIR%%/outcome.log outcome;

        location /on/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /hand/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();
my @workers = living();

sub living { wait_until(sub { worker_pids($t) == 1 }, 5); return worker_pids($t) }

for my $place (qw! /on/ /auto/ /hand/ !) {
    my ($status, @lines) = split /, (?=\[)/, outcome($t, path => "${place}late");
    is($status, 403, "$place: the 101 is refused");
    is(scalar(@lines), 1, "$place: one line") or diag join "\n", @lines;
    my ($variable) = $t->read_file('outcome.log') =~ m!^\Q${place}late\E (.*)!m;
    like($variable, qr/^403 \[(?!upgraded)[a-z-]+\]$/, "$place: no upgrade");

    like(outcome($t, path => "${place}forbidden"), qr/^403, \[error\] .* \[access-denied\]$/, "$place: the request is refused");
    my $ws = websocket(path => "${place}ws", pipeline_message => 'early');
    is($ws->recv . $ws->echo('later'), 'earlylater', "$place: and a tunnel that is allowed");
    is(outcome($t, sub { raw_request("GET ${place}late HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") }), 200,
        "$place: a plain request");
}

is_deeply([living()], \@workers, 'one worker did all that');
