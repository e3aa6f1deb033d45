#!/usr/bin/perl

# websocket_guard_forwarded host, the default in "on": a backend that proxy_pass names in a way that it cannot know
# itself by, such as 127.0.0.1, gets the client's Host; one that is named by its domain gets that.

use strict;
use warnings;

use IO::Socket::UNIX;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite unix /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(60);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream chat_app {
        server 127.0.0.1:8081;
    }

    upstream chat.example.com {
        server 127.0.0.1:8081;
    }

    upstream socket {
        server unix:%%TESTDIR%%/backend.sock;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /address/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /localhost/ {
            websocket_guard  on;
            proxy_pass       http://localhost:%%PORT_8081%%;
        }

        location /block/ {
            websocket_guard  on;
            proxy_pass       http://chat_app;
        }

        location /unix/ {
            websocket_guard  on;
            proxy_pass       http://unix:%%TESTDIR%%/backend.sock;
        }

        location /unix-block/ {
            websocket_guard  on;
            proxy_pass       http://socket/unix-block/;
        }

        location /variable/ {
            websocket_guard  on;
            set              $backend 127.0.0.1:8081;
            proxy_pass       http://$backend;
        }

        location /variable-block/ {
            websocket_guard  on;
            set              $backend chat_app;
            proxy_pass       http://$backend;
        }

        location /own-list/ {
            websocket_guard   on;
            proxy_set_header  X-Own yes;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /around/ {
            websocket_guard  on;

            location /around/nested/ {
                proxy_pass   http://chat_app;
            }
        }

        location /domain/ {
            websocket_guard  on;
            proxy_pass       http://chat.example.com;

            if ($arg_local) {
                proxy_pass   http://127.0.0.1:8081;
            }
        }

        location /variable-domain/ {
            websocket_guard  on;
            set              $backend chat.example.com;
            proxy_pass       http://$backend;
        }

        location /own/ {
            websocket_guard   on;
            proxy_set_header  host own.example.com;
            proxy_pass        http://127.0.0.1:8081;
        }

        location /off/ {
            websocket_guard            on;
            websocket_guard_forwarded  off;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard  auto;
            proxy_pass       http://chat_app;
        }

        location /auto-host/ {
            websocket_guard            auto;
            websocket_guard_forwarded  host;
            proxy_pass                 http://chat_app;
        }

        location /check/ {
            websocket_guard            check;
            websocket_guard_forwarded  host;
            proxy_pass                 http://127.0.0.1:8081;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  localhost;

        proxy_set_header  Host inherited.example.com;

        location / {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }
    }
}
EOC

# Frameworks compare Origin with Host.
my %handlers = (
    checked => sub {
        my ($c, $request) = @_;
        my ($site) = $request->header('Origin') =~ m{^https?://(.*)};
        return $c->respond(403, '') if $site ne $request->header('Host');
        $c->upgrade && $c->echo;
    },
);

my $name = $t->testdir . '/backend.sock';
my $listener = IO::Socket::UNIX->new(Local => $name, Listen => 16) or die "cannot listen on $name: $!\n";
chmod 0777, $name;
$t->run_daemon(\&websocket_backend, $t, 8082, listener => $listener, handlers => \%handlers);
close $listener;
run_backend($t, 8081, handlers => \%handlers);
$t->run();

my ($client, $backend) = ('app.example.com:8443', '127.0.0.1:' . port(8081));

# What the backend cannot be called, is no Host for it.

for my $path (qw{
    /address/ /localhost/ /block/ /unix/ /unix-block/ /variable/ /variable-block/ /own-list/ /around/nested/ /auto-host/
}) {
    my $number = $path =~ /unix/ ? 8082 : 8081;
    my $ws = websocket(path => "${path}checked", authority => $client, origin => "https://$client");
    is($ws->echo('hello'), 'hello', "$path, a backend that checks the origin");
    seen("$path, handshake", $client, $number);
    raw_request("GET ${path}page HTTP/1.1\r\nHost: $client\r\n\r\n");
    seen("$path, plain request", $client, $number);
    my $own = (requests_seen($t, $number))[-1];
    is($own->header('X-Own'), 'yes', "$path, beside others") if $path eq '/own-list/';
}

# What may be the name of a site is kept, and so is what the configuration says.

for my $case (
    ['/domain/'          => 'chat.example.com'],
    ['/variable-domain/' => 'chat.example.com'],
    ['/own/'             => 'own.example.com'],
    ['/off/'             => $backend],
    ['/auto/'            => 'chat_app'],
    ['/'                 => 'inherited.example.com', 8083],
) {
    my ($path, $host, $port) = @$case;
    my $ws = websocket(path => "${path}checked", port => $port // 8080, authority => $client, origin => "https://$host");
    is($ws->echo('hello'), 'hello', "$path, handshake");
    seen("$path, Host", $host);
    raw_request("GET ${path}page HTTP/1.1\r\nHost: $client\r\n\r\n", port => $port // 8080);
    seen("$path, plain request", $host);
}

raw_request("GET /check/page HTTP/1.1\r\nHost: $client\r\n\r\n");
seen('check changes nothing', $backend);

# Of a block in a location its own proxy_pass counts.

raw_request("GET /domain/page?local=1 HTTP/1.1\r\nHost: $client\r\n\r\n");
seen('the proxy_pass of an "if"', $client);

# Without a Host.

raw_request("GET /address/page HTTP/1.0\r\n\r\n");
seen("the server's name", 'localhost');

# One in the request line counts, and not the Host header beside it (RFC 9112 section 3.2.2): nginx has chosen the server
# by it.

for my $case (
    ["http://$client/address/page", $client],
    ["http://$client/address/page?http://x", $client],
    ['http://[::1]:81/address/page', '[::1]:81'],
    ['http://Sub.example.com/address/page', 'Sub.example.com'],
    ['/address/page?u=http://x/', 'other.example.com'],
) {
    my ($target, $expected) = @$case;
    raw_request("GET $target HTTP/1.1\r\nHost: other.example.com\r\n\r\n");
    seen("the host of $target", $expected);
}

# A handshake from elsewhere is refused by the backend as before, and here that line is no news.

is(websocket(path => '/address/checked', authority => $client, origin => 'https://evil.example')->status, 403, 'another origin');
wait_until(sub { run_time_log($t, 'error') > 0 }, 5);
like(join("\n", run_time_log($t, 'error')), qr/^[^\n]*Host "\Q$client\E" with Origin "https:\/\/evil.example"[^\n]*$/,
    'the only line');
is(websocket(path => '/auto/checked', authority => $client, origin => "https://$client")->status, 403,
    'without it the backend refuses the origin');

sub seen {
    my ($what, $expected, $number) = @_;
    is_deeply([(requests_seen($t, $number // 8081))[-1]->header('Host')], [$expected], $what);
}
