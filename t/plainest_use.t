#!/usr/bin/perl

# The plainest use, and the configuration of the demo, bring no line but those at level info; at a start a terminal
# shows none at all.

use strict;
use warnings;

use FindBin;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy unix /)->plan(15);

my %locations = (
    'an address'       => 'location /ws/ { websocket_guard on; proxy_pass http://127.0.0.1:8081; }',
    'this machine'     => 'location / { websocket_guard on; proxy_pass http://localhost:8081; }',
    'IPv6'             => 'location = /ws { websocket_guard on; proxy_pass http://[::1]:8081/app; }',
    'a Unix socket'    => 'location /ws/ { websocket_guard on; proxy_pass http://unix:/run/app.sock; }',
    'an upstream'      => 'location /ws/ { websocket_guard on; proxy_pass http://app; }',
    'on above'         => 'websocket_guard on; location /ws/ { proxy_pass http://app; } location / { root html; }',
    'auto in a server' => 'websocket_guard auto; location /ws/ { proxy_pass http://app; } location / { root html; }',
    'a variable'       => 'location /ws/ { websocket_guard on; set $b app; proxy_pass http://$b; }',
);

for my $what (sort keys %locations) {
    is_deeply([lines($locations{$what})], [], $what);
}

# What the demo is started with.

open my $demo, '<', "$FindBin::Bin/../demo/nginx.conf" or die "demo/nginx.conf: $!\n";
my ($server) = join('', <$demo>) =~ /^(    server \{.*^    \}$)/ms or die "no server in demo/nginx.conf\n";
$server =~ s/\@LISTEN\@/127.0.0.1:8080/;
$server =~ s/\@BACKEND\@/127.0.0.1:8081/;
is_deeply([lines(undef, $server)], [], 'demo/nginx.conf');

# Near: where the backend may go by that name, or is not given the client's, that is still worth a notice.

for my $case (
    ['a domain',  'location /ws/ { websocket_guard on; proxy_pass http://chat.example.com; }'],
    ['auto',      'location /ws/ { websocket_guard auto; proxy_pass http://app; }'],
    ['off again', 'location /ws/ { websocket_guard on; websocket_guard_forwarded off; proxy_pass http://app; }'],
) {
    my ($what, $location) = @$case;
    is(join("\n", map { /^(\[\w+\]).*(\[[\w-]+\]) in/ ? "$1 $2" : $_ } lines($location)), '[notice] [host-not-forwarded]', $what);
}

# What the notice says, works.

my ($auto) = lines('location /ws/ { websocket_guard auto; proxy_pass http://app; }');
like($auto, qr/; set "websocket_guard_forwarded host;" in the location \[/, 'auto, what to add');
is_deeply([lines('location /ws/ { websocket_guard auto; websocket_guard_forwarded host; proxy_pass http://app; }')], [],
    'auto, with that');
my ($domain) = lines('proxy_set_header X-A b; location /ws/ { websocket_guard on; proxy_pass http://chat.example.com; }');
like($domain, qr/; add "proxy_set_header Host \$http_host;" beside the lines that it inherits \(\S+:\d+\) \[/,
    'a domain, inherited lines');

sub lines {
    my ($location, $server) = @_;
    $server //= "    server {\n        listen 127.0.0.1:8080;\n        $location\n    }";
    my ($code, $output) = nginx_test($t, <<"EOC");
%%TEST_GLOBALS%%
events {
}
http {
    %%TEST_GLOBALS_HTTP%%
    upstream app {
        server 127.0.0.1:8081;
    }
    upstream chat.example.com {
        server 127.0.0.1:8081;
    }
$server
}
EOC
    is($code, 0, 'accepted') or diag $output if $code;
    my %lines = map { $_ => 1 } guard_lines($output . $t->read_file('nginx-test.log'), 'notice');
    return sort keys %lines;
}
