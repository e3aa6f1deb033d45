#!/usr/bin/perl

# What a page includes by SSI is fetched by a plain request, even where the page was asked for with
# an Upgrade header.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy ssi /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(6);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            ssi  on;
        }

        location /included/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

$t->write_file('page.html', '<<!--#include virtual="/included/101" -->><<!--#include virtual="/included/part" -->>');
run_backend($t, 8081, handlers => {
    101  => sub { $_[0]->default($_[1]) },
    part => sub { $_[0]->default($_[1]) },
    plain => sub { my ($c, $request) = @_; $c->respond(200, 'part ' . $request->path) },
});
$t->run();

my $page = websocket(path => '/page.html');
is($page->status, 200, 'the page');
is($page->body, '<part /included/101><part /included/part>', 'with its parts');

my @parts = requests_seen($t, 8081, count => 2);
is_deeply([map { [$_->header('Upgrade')] } @parts], [[], []], 'no Upgrade in their requests');
is(scalar(grep { $_->has_token(Connection => 'upgrade') } @parts), 0, 'nor in their Connection');

is(websocket(path => '/included/part')->echo('hello'), 'hello', 'a handshake of its own');
is(join(' ', guard_findings($t, 'error', count => 1)), 'wrong-location', 'nothing but what failed');
