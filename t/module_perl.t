#!/usr/bin/perl

# Embedded perl reads any header of a request by its name, also those that the guard looks at, whether or not they are there.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $modules = packaged_modules('ngx_http_perl_module');
my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%MODULES%%/$modules/r)->plan(24);

%%TEST_GLOBALS%%
%%MODULES%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    perl_set $key_in_perl     'sub { shift->header_in("Sec-WebSocket-Key") // "none" }';
    perl_set $upgrade_in_perl 'sub { shift->header_in("upgrade") // "none" }';

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /read/ {
            perl 'sub {
                my $r = shift;
                my ($name) = $r->uri =~ m!([^/]*)$!;
                my $value = $r->header_in($name);
                $r->send_http_header("text/plain");
                $r->print(defined $value ? "<$value>" : "none");
                return 0;
            }';
        }

        location /off/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;
            add_header          X-Read "$key_in_perl $upgrade_in_perl";
        }

        location /on/ {
            websocket_guard   on;
            proxy_pass        http://127.0.0.1:8081;
            add_header        X-Read "$key_in_perl $upgrade_in_perl";
            proxy_set_header  X-Key "$key_in_perl $upgrade_in_perl";
        }
    }
}
EOC

run_backend($t, 8081);
$t->run();
my @workers = living();

sub living { wait_until(sub { worker_pids($t) == 1 }, 5); return worker_pids($t) }

# A plain request that reads a header; what else it sends stands behind.
sub value {
    my ($name, @headers) = @_;
    return raw_request(join "\r\n", "GET /read/$name HTTP/1.1", 'Host: localhost', 'Connection: close', @headers, '', '')->body;
}

my $key = 'dGhlIHNhbXBsZSBub25jZQ==';
my %sent = (
    'Sec-WebSocket-Key' => $key, 'Sec-WebSocket-Version' => 13, 'Sec-WebSocket-Protocol' => 'chat, mqtt',
    Upgrade => 'websocket', Origin => 'http://localhost', 'X-Own' => 'own',
);
for my $name (sort keys %sent) {
    is(value($name), 'none', "$name: not sent");
    is(value($name, "$name: $sent{$name}"), "<$sent{$name}>", "$name: sent");
    is_deeply([living()], \@workers, "$name: the worker lives");
    @workers = living();
}
is(value('Host'), '<localhost>', 'a header that each request has');
like(value('sec-websocket-key', "Sec-WebSocket-Key: $key", 'Sec-WebSocket-Key: second'), qr/^<$key(?:, second)?>$/, 'two keys');

for my $place (qw! /off/ /on/ !) {
    my $ws = websocket(path => $place, key => $key);
    is($ws->status . ' ' . ($ws->header('X-Read') // ''), "101 $key websocket", "$place: variables of perl");
}
my ($on) = grep { $_->path eq '/on/' } requests_seen($t, 8081, count => 2);
is($on->header('X-Key'), "$key websocket", 'and in what the backend gets');
is_deeply([living()], \@workers, 'one worker did all that');
