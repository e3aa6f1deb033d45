#!/usr/bin/perl

# What cannot be an origin stops "nginx -t", with the place and with what to write instead.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /)->plan(24);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen  127.0.0.1:8080;

        location /ws/ {
            websocket_guard         on;
            websocket_guard_origin  %%WORDS%%;
            proxy_pass              http://127.0.0.1:8081;
        }
    }
}
EOC

my %wrong = (
    'example.com' => '"example.com": an origin begins with a scheme: write "https://example.com"',
    '*.example.com' => '"*.example.com": an origin begins with a scheme: write "https://*.example.com"',
    'wss://example.com:8443' => '"wss://example.com:8443": an origin has the scheme of the page that opens the WebSocket: '
        . 'write "https://example.com:8443"',
    'ws://example.com' => '"ws://example.com": an origin has the scheme of the page that opens the WebSocket: '
        . 'write "http://example.com"',
    'https://example.com/' => '"https://example.com/": an origin ends with the host or the port: write "https://example.com"',
    'https://example.com/chat' => '"https://example.com/chat": an origin ends with the host or the port: write "https://example.com"',
    '*' => '"*": not an origin: write "any" to allow every origin',
    'https://*' => '"https://*": "*" can only stand for whole labels at the front of a name, as in "https://*.example.com"',
    'https://app*.example.com' => '"https://app*.example.com": "*" can only stand for whole labels at the front of a name, '
        . 'as in "https://*.example.com"',
    'https://a.example.com https://b.example.com:99999' => '"https://b.example.com:99999": not an origin: write one such as '
        . '"https://app.example.com" or "https://app.example.com:8443"',
    "https://b\xc3\xbccher.example" => '"https://b\xC3\xBCcher.example": browsers send an international name in its ASCII form: '
        . 'write "xn--..."',
    'any https://example.com' => '"any": allows every origin, so that the others have no meaning: remove it, or them',
    '~' => '"~": no regular expression after the "~"',
    '~^https://(app' => '"~^https://(app": not a regular expression: unclosed group',
);

for my $words (sort keys %wrong) {
    my ($code, $output) = nginx_test($t, $conf =~ s/%%WORDS%%/$words/r);
    my $line = conf_line($t, qr/websocket_guard_origin/, 'nginx-test.conf');
    my $message = qq{[emerg] invalid value in "websocket_guard_origin" directive, $wrong{$words} in }
        . $t->testdir . "/nginx-test.conf:$line";
    is($code != 0 && join("\n", map { s/^nginx: //r } grep {/emerg/} split /\n/, $output), $message, $words);
}

my ($code, $output) = nginx_test($t, $conf =~ s/%%WORDS%%/same; websocket_guard_origin none/r);
like($output, qr/\[emerg\] "websocket_guard_origin" directive is duplicate in .*nginx-test.conf:\d+$/m, 'twice');

for my $words ('any', 'same', 'none', 'null', 'same none null', 'https://example.com:8443', 'https://*.example.com http://[::1]:80',
    '~^https://app~ "~*[a-z]{2,3};$"', 'chrome-extension://abcdef')
{
    ($code, $output) = nginx_test($t, $conf =~ s/%%WORDS%%/$words/r);
    is($code, 0, $words) or diag($output);
}
