#!/usr/bin/perl

# A wrong value stops nginx with a sentence that says what is wrong, with file and line.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(102);

# Wrong directive, and what nginx says about it.

my @wrong = (
    ['websocket_guard yes;',           'invalid value "yes" in "websocket_guard" directive, it must be "off", "check", "auto" or "on"'],
    ['websocket_guard "";',            'invalid value "" in "websocket_guard" directive, it must be "off", "check", "auto" or "on"'],
    ['websocket_guard;',               'invalid number of arguments in "websocket_guard" directive'],
    ['websocket_guard on auto;',       'invalid number of arguments in "websocket_guard" directive'],

    ['websocket_guard_timeout soon;',  'invalid value "soon" in "websocket_guard_timeout" directive, write a time such as "90s" or "1h"'],
    ['websocket_guard_timeout -1s;',   'invalid value "-1s" in "websocket_guard_timeout" directive, write a time such as "90s" or "1h"'],
    ['websocket_guard_timeout "";',    'invalid value "" in "websocket_guard_timeout" directive, write a time such as "90s" or "1h"'],
    ['websocket_guard_timeout 1h1h;',  'invalid value "1h1h" in "websocket_guard_timeout" directive, write a time such as "90s" or "1h"'],
    ['websocket_guard_timeout 0;',     'invalid value "0" in "websocket_guard_timeout" directive, a tunnel needs a time to live'],
    ['websocket_guard_timeout 0s;',    'invalid value "0s" in "websocket_guard_timeout" directive, a tunnel needs a time to live'],
    ['websocket_guard_timeout;',       'invalid number of arguments in "websocket_guard_timeout" directive'],

    ['websocket_guard_upgrade;',       'invalid number of arguments in "websocket_guard_upgrade" directive'],
    ['websocket_guard_upgrade "";',    'invalid value "" in "websocket_guard_upgrade" directive, "" is not an upgrade protocol: write a name'],
    ['websocket_guard_upgrade "a b";', 'invalid value "a b" in "websocket_guard_upgrade" directive, "a b" is not an upgrade protocol: write a name'],
    ['websocket_guard_upgrade websocket a/;', 'invalid value "a/" in "websocket_guard_upgrade" directive, "a/" is not an upgrade protocol: write a name'],
    ['websocket_guard_upgrade websocket,h2c;',
        '"websocket,h2c" is not an upgrade protocol: separate protocols with spaces, not with commas'],
    ['websocket_guard_upgrade websocket H2C;', 'invalid value "H2C" in "websocket_guard_upgrade" directive, "H2C" is HTTP/2, '
        . 'with which a client would get all its requests past this nginx'],
    ['websocket_guard_upgrade websocket, h2c;',
        '"websocket," is not an upgrade protocol: separate protocols with spaces, not with commas'],

    ['websocket_guard_forwarded auto;', 'invalid value "auto" in "websocket_guard_forwarded" directive, it must be "off", "host" or "on"'],
    ['websocket_guard_forwarded;',      'invalid number of arguments in "websocket_guard_forwarded" directive'],
);

for my $case (@wrong) {
    my ($directive, $message) = @$case;
    refused("location / { proxy_pass http://127.0.0.1:8081;\n$directive # here\n}", $message, $directive);
}

# A value that nginx cannot compile: nginx says why, the guard of what.

refused('websocket_guard_lifetime $; # here', 'websocket_guard: nginx cannot compile the value "$"', 'lifetime $');

my $uncompiled = 'websocket_guard: nginx cannot compile the value "a$-"';
my $proxied    = 'websocket_guard on; proxy_pass http://127.0.0.1:8081;';
refused("location / { # here\n$proxied\nproxy_set_header Upgrade a\$-;\n}", $uncompiled, 'own Upgrade');
refused("proxy_set_header Connection a\$-;\nlocation / { # here\n$proxied\n}\nlocation /b {\n}", $uncompiled,
    'inherited Connection');

# Twice at one level, with another value or the same.

for my $pair (
    ['websocket_guard on',             'websocket_guard auto'],
    ['websocket_guard off',            'websocket_guard off'],
    ['websocket_guard_timeout 1s',     'websocket_guard_timeout 2s'],
    ['websocket_guard_upgrade a',      'websocket_guard_upgrade b'],
    ['websocket_guard_forwarded on',   'websocket_guard_forwarded off'],
) {
    my ($first, $second) = @$pair;
    my ($name) = $first =~ /^(\S+)/;
    refused("$first;\n$second; # here\n", qq{"$name" directive is duplicate}, "$first, $second");
}

# Where they are not allowed.

for my $name (qw/ websocket_guard websocket_guard_timeout websocket_guard_upgrade websocket_guard_forwarded /) {
    my $directive = "$name " . ($name =~ /timeout/ ? '1s' : 'on');
    my $message = qq{"$name" directive is not allowed here};
    for my $block ('if ($uri)', 'location / { if ($uri)', 'location / { limit_except GET') {
        refused("$block {\n$directive; # here\n}" . ($block =~ /location/ && '}'), $message, "$block, $directive");
    }
    refused_conf("http { upstream u { server 127.0.0.1:8081;\n$directive; # here\n} }", $message, "upstream, $directive");
    refused_conf("$directive; # here", $message, "outside of http, $directive");
}

# In a file of its own.

$t->write_file('guard.conf', "# guarded\n\nwebsocket_guard maybe;\n");
my ($code, $output) = nginx_test($t, conf('include %%TESTDIR%%/guard.conf;'));
is($code, 1, 'included file');
like($output, qr!^nginx: \[emerg\] invalid value "maybe" .* in \S+/guard\.conf:3$!m, 'included file, its name and line');

# And where everything is right, there is no complaint.

my $right = conf(<<'EOC');
    websocket_guard            ON;
    websocket_guard_timeout    "1h 30m";
    websocket_guard_upgrade    websocket foo/2 "bar";
    websocket_guard_forwarded  On;

    location / {
        websocket_guard            auto;
        websocket_guard_timeout    90;
        websocket_guard_upgrade    websocket;
        websocket_guard_forwarded  off;
        proxy_pass                 http://127.0.0.1:8081;
    }
EOC
($code, $output) = nginx_test($t, $right);
is($code, 0, 'right values');
unlike($output, qr{\[(?:warn|error|crit|alert|emerg)\]}, 'right values, no complaint');

$t->write_file_expand('nginx.conf', "daemon off;\n$right");
run_backend($t, 8081);
$t->run();
is(websocket()->echo('hello'), 'hello', 'nginx runs with them');
is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# A configuration with this in a server.
sub conf {
    my ($text) = @_;
    return "%%TEST_GLOBALS%%\nevents {}\nhttp {\n%%TEST_GLOBALS_HTTP%%\nserver {\nlisten 127.0.0.1:8080;\n$text\n}\n}\n";
}

sub refused {
    my ($text, @rest) = @_;
    _refused(conf($text), @rest);
}

sub refused_conf {
    my ($text, @rest) = @_;
    _refused("%%TEST_GLOBALS%%\nevents {}\n$text\n", @rest);
}

# The message names the line that is marked "here".
sub _refused {
    my ($conf, $message, $name) = @_;
    my ($code, $output) = nginx_test($t, $conf);
    is($code, 1, $name);
    my $line = conf_line($t, qr/# here/, 'nginx-test.conf');
    like($output, qr!^nginx: \[emerg\] .*\Q$message\E.* in \S+/nginx-test\.conf:$line$!m, "$name, message");
}
