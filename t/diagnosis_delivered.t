#!/usr/bin/perl

# What nginx makes of a right 101 on its way to the client: headers that it adds or hides, and a key that it has replaced. The
# client, which sees only that, closes; the line says so in all modes, and what it says helps.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

# A location, what stands in it, what the client sends, and what is said of it.
my $remove = 'remove the "add_header" of that header there, or what else adds it (more_set_headers, Lua)';
my $show   = 'remove the "proxy_hide_header" of that header there, or what else clears it (more_clear_headers, Lua)';
my @subprotocol = (subprotocol => 'chat');
my @extension   = (headers => ['Sec-WebSocket-Extensions: x-test']);
my @faults = (
    ['protocol',         'add_header Sec-WebSocket-Protocol sip always;', [],
        'adds subprotocol "sip" to the 101 of BACKEND, none was offered', "$remove [subprotocol-mismatch]"],
    ['second-protocol',  'add_header Sec-WebSocket-Protocol sip always;', [@subprotocol],
        'adds subprotocol "sip" to the 101 of BACKEND, offered: "chat"', "$remove [subprotocol-mismatch]"],
    ['extension',        'add_header Sec-WebSocket-Extensions "permessage-deflate; x=1" always;', [],
        'adds extension "permessage-deflate" to the 101 of BACKEND, which was not offered', "$remove [extension-mismatch]"],
    ['accept',           'add_header Sec-WebSocket-Accept x always;', [],
        'sends the client Sec-WebSocket-Accept "x" where "ACCEPT" belongs to its key', "$remove [bad-accept]"],
    ['accept-twice',     'add_header Sec-WebSocket-Accept $upstream_http_sec_websocket_accept always;', [],
        'adds a second Sec-WebSocket-Accept header to the 101 of BACKEND, which browsers refuse', "$remove [bad-accept]"],
    ['upgrade-twice',    'add_header Upgrade websocket always;', [],
        'adds a second Upgrade header to the 101 of BACKEND, which browsers refuse', "$remove [bad-switch]"],
    ['upgrade-other',    'add_header Upgrade h2 always;', [], 'adds Upgrade "h2" to the 101 of BACKEND', "$remove [bad-switch]"],
    ['hide-accept',      'proxy_hide_header Sec-WebSocket-Accept;', [],
        'hides Sec-WebSocket-Accept of the 101 of BACKEND from the client', "$show [bad-accept]"],
    ['hide-upgrade',     'proxy_hide_header Upgrade;', [], 'hides Upgrade of the 101 of BACKEND from the client', "$show [bad-switch]"],
    ['hide-protocol',    'proxy_hide_header Sec-WebSocket-Protocol;', [@subprotocol],
        'hides Sec-WebSocket-Protocol of the 101 of BACKEND from the client', "$show [subprotocol-mismatch]"],
    ['hide-extensions',  'proxy_hide_header Sec-WebSocket-Extensions;', [@extension],
        'hides Sec-WebSocket-Extensions of the 101 of BACKEND from the client', "$show [extension-mismatch]"],
    ['key',              'proxy_set_header Sec-WebSocket-Key dGhlIHNhbXBsZSBub25jZQ==; include recipe.conf;', [key => 'AAAAAAAAAAAAAAAAAAAAAA=='],
        'sends the client Sec-WebSocket-Accept "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" where "ICX+Yqv66kxgM0FcWaLWlFLwTAI=" belongs to its key',
        'remove the "proxy_set_header Sec-WebSocket-Key" there [bad-accept]'],
);

# Near: what is not added to a 101, what the client has asked for, what does no harm.
my @sound = (
    ['not-always',      'add_header Sec-WebSocket-Protocol sip; add_header Sec-WebSocket-Accept x;', []],
    ['asked-for',       'add_header Sec-WebSocket-Protocol mqtt always;', [subprotocol => 'mqtt', headers => ['X-None: 1']]],
    ['other-header',    'add_header X-Frame-Options DENY always; add_header Connection keep-alive always;', []],
    ['hide-other',      'proxy_hide_header Server; proxy_hide_header Sec-WebSocket-Protocol; proxy_hide_header Sec-WebSocket-Extensions;', []],
);

my %modes = (8080 => 'websocket_guard on;', 8082 => 'websocket_guard auto;', 8083 => 'include recipe.conf;', 8084 => 'websocket_guard check; include recipe.conf;');
sub configure {
    my ($with) = @_;
    my $servers = '';
    for my $port (sort keys %modes) {
        # The location's own list would lose what it inherits.
        my $locations = join '', map { my ($name, $text) = @$_; $text =~ s/ include recipe\.conf;// if $port < 8083;
            "location /$name/ {\n" . ($with ? $text : '') . "\nproxy_pass http://127.0.0.1:8081;\n}\n" } @faults, @sound;
        $servers .= "server {\nlisten 127.0.0.1:$port;\nserver_name localhost;\n$modes{$port}\n$locations}\n";
    }
    $t->write_file_expand('nginx.conf', "%%TEST_GLOBALS%%\ndaemon off;\nevents {\n}\nhttp {\n%%TEST_GLOBALS_HTTP%%\n$servers}\n");
}
$t->write_file('recipe.conf', <<'EOC');
proxy_http_version  1.1;
proxy_read_timeout  1h;
proxy_set_header    Upgrade $http_upgrade;
proxy_set_header    Connection upgrade;
EOC

# Takes what is offered, but no "mqtt".
run_backend($t, 8081, handlers => { ws => sub {
    my ($c, $request) = @_;
    my @chosen = map { my $name = $_; map {"$name: $_"} grep { $_ ne 'mqtt' } $request->header($name) }
        'Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions';
    $c->upgrade(headers => \@chosen) && $c->echo;
} });
configure(1);
$t->plan(2 + 4 * (@faults + @sound) + @faults)->run();

my $backend = 'backend 127.0.0.1:' . port(8081);
my $lines = $t->read_file('nginx.conf');
for my $port (sort keys %modes) {
    for my $case (@faults) {
        my ($name, undef, $options, $what, $fix) = @$case;
        my $got = outcome($t, path => "/$name/ws", port => $port, @$options);
        $got =~ s/location "(\S+)" \(\S+?:\d+\)/LOCATION/;
        $got =~ s/where "[^"]+"/where "ACCEPT"/ if $what =~ /ACCEPT/;
        is($got, '101, [error] upgrade failed: LOCATION ' . $what =~ s/BACKEND/$backend/r . "; $fix", "$modes{$port} $name");
    }
    is(outcome($t, path => "/$_->[0]/ws", port => $port, @{ $_->[2] }), '101', "$modes{$port} $_->[0]: nothing") for @sound;
}

# At the start, where the text tells it.
my @told = map {/\[(response-header-added|hidden-response-header|sec-header-replaced)\]/} guard_log($t, 'warn');
my %told = map { $_ => 1 } @told;
is(join(' ', sort keys %told), 'hidden-response-header response-header-added sec-header-replaced', 'at the start as well');

# The variables of the access log.
like(($t->read_file('error.log') =~ /(websocket_guard: upgrade failed: location "\/protocol\/".*)/)[0], qr/client: 127\.0\.0\.1/, 'with its request');

# What the lines say: these directives are gone.
configure(0);
reload($t);
for my $case (@faults) {
    my ($name, undef, $options) = @$case;
    is(outcome($t, path => "/$name/ws", @$options), '101', "$name: the remedy");
}
