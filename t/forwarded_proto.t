#!/usr/bin/perl

# websocket_guard_forwarded on, where TLS ends in front of nginx: an X-Forwarded-Proto that comes from a proxy which
# realip trusts goes on to the backend; what anybody else says is replaced by the scheme of the connection.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy http_ssl realip socket_ssl /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(19);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    websocket_guard            on;
    websocket_guard_forwarded  on;

    ssl_certificate      localhost.crt;
    ssl_certificate_key  localhost.key;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        real_ip_header  X-Forwarded-For;

        location / {
            set_real_ip_from  127.0.0.1;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /other/ {
            set_real_ip_from  192.0.2.1;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /own/ {
            set_real_ip_from  127.0.0.1;
            proxy_set_header  X-Forwarded-Proto $scheme;
            proxy_pass        http://127.0.0.1:8081;
        }
    }

    # Without realip nobody is trusted.
    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        location / {
            proxy_pass  http://127.0.0.1:8081;
        }
    }
}
EOC

make_certificate($t);

# As frameworks do that are told to use TLS only.
run_backend($t, 8081, handlers => {
    secure => sub {
        my ($c, $request) = @_;
        my $proto = $request->header('X-Forwarded-Proto') // '';
        return $c->respond(301, '', 'Location: https://localhost/') if $proto ne 'https';
        $c->upgrade && $c->echo;
    },
});
$t->run();

my $for = 'X-Forwarded-For: 192.0.2.7';
my $https = 'X-Forwarded-Proto: https';

is(websocket(path => '/secure', headers => [$for, $https])->echo('hello'), 'hello', 'a backend that wants TLS');

for my $case (
    # path, headers, what the backend gets, how
    ['/',       [$for, $https],                              'https'],
    ['/',       [$for, 'X-Forwarded-Proto: wss'],            'wss'],
    ['/',       [$for, 'X-Forwarded-Proto: http'],           'http',  ssl => 1],
    ['/',       [$for],                                      'http'],
    ['/',       [$for],                                      'https', ssl => 1],
    ['/',       [$for, 'X-Forwarded-Proto:'],                'http'],
    # without an address realip does nothing
    ['/',       [$https],                                    'http'],
    ['/other/', [$for, $https],                              'http'],
    ['/own/',   [$for, $https],                              'http'],
    ['/',       [$for, $https],                              'http',  port => 8083],
) {
    my ($path, $headers, $proto, %how) = @$case;
    is(forwarded($path, $headers, %how), $proto, join ', ', $path, @$headers, %how);
}

# Plain requests too: a redirect of a page would be no better.

for my $case (['/', 'https'], ['/other/', 'http'], ['/own/', 'http']) {
    my ($path, $proto) = @$case;
    raw_request(join "\r\n", "GET ${path}page HTTP/1.1", 'Host: localhost', $for, $https, '', '');
    is_deeply([(requests_seen($t))[-1]->header('X-Forwarded-Proto')], [$proto], "$path, plain request");
}

# The client's address is known as well.

forwarded('/', [$for, $https]);
my $seen = (requests_seen($t))[-1];
is_deeply([$seen->header('X-Real-IP')], ['192.0.2.7'], 'X-Real-IP');
is_deeply([$seen->header('X-Forwarded-For')], ['192.0.2.7, 192.0.2.7'], 'X-Forwarded-For');

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');

# Near: an untrusted proxy's word is not taken, and the backend redirects.

is(websocket(path => '/other/secure', headers => [$for, $https])->status, 301, 'not trusted');
is(join(' ', guard_findings($t, 'error', count => 1)), 'backend-redirect', 'not trusted, one line');

sub forwarded {
    my ($path, $headers, %how) = @_;
    my $ws = websocket(path => "${path}ws", headers => $headers, %how);
    return $ws->echo('hello') eq 'hello' ? join ' and ', (requests_seen($t))[-1]->header('X-Forwarded-Proto') : 'no tunnel';
}
