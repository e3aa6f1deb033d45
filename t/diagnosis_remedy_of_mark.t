#!/usr/bin/perl

# The directive that a line names is the one that decides, and what it says to do can be done: where "check" or "off" stands,
# the mark is to be set and not to be added, and a backend that was too slow had the time of websocket_guard_timeout, where
# that is so.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /)->plan(19);

my $hand = "proxy_http_version 1.1;\nproxy_read_timeout 1h;\nproxy_set_header Upgrade \$http_upgrade;\nproxy_set_header Connection upgrade;\n";

# Name, what stands in the location besides its proxy_pass.
our %locations = (
    '/checked/'  => "websocket_guard check;\n",
    '/off/'      => "websocket_guard off;\n",
    '/unmarked/' => '',
    # All that is there in the block comes from the location around it.
    '/block/'    => "websocket_guard check;\nset \$way 1;\nif (\$way) {\nproxy_pass http://127.0.0.1:8081;\n}\n",

    '/guard/'    => "websocket_guard on;\nwebsocket_guard_timeout 1s;\n",
    '/own/'      => "websocket_guard on;\nproxy_read_timeout 1s;\n",
    '/both/'     => "websocket_guard on;\nwebsocket_guard_timeout 1h;\nproxy_read_timeout 1s;\n",
    '/auto/'     => "websocket_guard auto;\nwebsocket_guard_timeout 1h;\nproxy_read_timeout 1s;\n",
    '/nested/'   => "websocket_guard on;\nwebsocket_guard_timeout 1s;\nset \$way 1;\nif (\$way) {\nproxy_pass http://127.0.0.1:8081;\n}\n",
    '/inner/'    => "location /inner/most/ {\nproxy_pass http://127.0.0.1:8081;\n}\nwebsocket_guard on;\nwebsocket_guard_timeout 1s;\n",
    '/undone/'   => "websocket_guard on;\nwebsocket_guard_timeout 1s;\nlocation /undone/off/ {\nwebsocket_guard off;\nproxy_read_timeout 1s;\n${hand}proxy_pass http://127.0.0.1:8081;\n}\n" =~ s/proxy_read_timeout 1h;\n//r,
);

my $unmarked = qr{^/(?:off|unmarked)/$};

sub ask { my ($path) = @_; return outcome($t, path => $path, port => $path =~ m!^/(?:off|unmarked)/! ? 8082 : 8080) }

sub conf {
    # In a server with a marked location another finding would be told of those that are off.
    my ($apart, $text) = map {
        join '', map { "location $_ {\n$locations{$_}\nproxy_pass http://127.0.0.1:8081;\n}\n" } @$_
    } [grep { /$unmarked/ } sort keys %locations], [grep { !/$unmarked/ } sort keys %locations];
    return <<"EOC";

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen           127.0.0.1:8080;
        server_name      localhost;
        $text
    }

    server {
        listen           127.0.0.1:8082;
        server_name      localhost;
        $apart
    }
}
EOC
}

$t->write_file_expand('nginx.conf', conf());
run_backend($t, 8081, handlers => {});
$t->run();

# ---- marks ---------------------------------------------------------------------------------------

for my $name (qw{ /checked/ /off/ /block/ }) {
    my $line = ask("${name}ws");
    like($line, qr/; set "websocket_guard on;" in it \[upgrade-not-forwarded\]$/, "$name: to be set");
    $locations{$name} =~ s/websocket_guard (?:check|off);/websocket_guard on;/;
}
like(ask('/unmarked/ws'), qr/; add "websocket_guard on;" to it \[upgrade-not-forwarded\]$/, '/unmarked/: to be added');
$locations{'/unmarked/'} = "websocket_guard on;\n";

# ---- timeouts ------------------------------------------------------------------------------------

my %named = (
    '/guard/' => 'websocket_guard_timeout', '/nested/' => 'websocket_guard_timeout', '/inner/most/' => 'websocket_guard_timeout',
    '/own/' => 'proxy_read_timeout', '/both/' => 'proxy_read_timeout', '/auto/' => 'proxy_read_timeout', '/undone/off/' => 'proxy_read_timeout',
);
for my $name (sort keys %named) {
    like(outcome($t, path => "${name}slow?3"), qr/ did not answer the handshake within 1s \(\Q$named{$name}\E\); see what the backend is doing, or raise that timeout/,
        "$name: $named{$name}");
}

# ---- the remedies, applied -----------------------------------------------------------------------

s/(websocket_guard_timeout|proxy_read_timeout) 1s;/$1 20s;/ for values %locations;
my ($code, $output) = nginx_test($t, conf());
is($code, 0, 'nginx takes them') or diag($output);
unlike($output, qr/missing-upgrade|missing-connection|http10-upstream/, 'and misses nothing');
$t->write_file_expand('nginx.conf', conf());
reload($t);
is(ask("${_}ws"), 101, "$_: marked") for qw{ /checked/ /off/ /unmarked/ };
is(outcome($t, path => "${_}slow?2"), 101, "$_: raised") for qw{ /guard/ /own/ /both/ };
