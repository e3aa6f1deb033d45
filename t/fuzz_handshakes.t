#!/usr/bin/perl

# A few thousand handshakes with random mutations, always the same ones unless WEBSOCKET_GUARD_SEED is set, and as many times
# more as WEBSOCKET_GUARD_FUZZ says ("make stress"): nginx survives each, none of them
# brings a false upgrade to a backend, and the log has at most one line for each, which ends as it should.

use strict;
use warnings;

use IO::Select;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy rewrite /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(7);

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log           off;
    lingering_close      off;
    keepalive_requests   100000;
    websocket_guard_log  error;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        error_log  %%TESTDIR%%/fuzz.log info;

        location /strict/ {
            websocket_guard         on;
            websocket_guard_origin  same none https://*.a.example ~^http://b\d;
            proxy_pass              http://127.0.0.1:8081;
        }

        location /lenient/ {
            websocket_guard            on;
            websocket_guard_handshake  lenient;
            proxy_set_header           Upgrade $http_upgrade;
            proxy_set_header           Connection upgrade;
            proxy_pass                 http://127.0.0.1:8081;
        }

        location /auto/ {
            websocket_guard   auto;
            proxy_set_header  X-Reason $websocket_guard_reason;
            proxy_set_header  Upgrade $http_upgrade;
            proxy_set_header  Connection $http_connection;
            proxy_pass        http://127.0.0.1:8081;

            if ($http_upgrade = "looked at") {
                return 204;
            }
        }

        location /off/ {
            proxy_pass  http://127.0.0.1:8082;
        }

        location /answered/ {
            websocket_guard  on;
            error_page       404 = /auto/page;
            return           404;
        }
    }
}
EOC

# Answers whatever comes in one go, and notes the heads with an Upgrade header that is none.
$t->run_daemon(\&answers, $t, $_, Test::WebSocketGuard::Backend::listener($_)) for 8081, 8082;
$t->run();

wait_until(sub { worker_pids($t) }, 5);
my ($worker) = worker_pids($t);

my $seed = $ENV{WEBSOCKET_GUARD_SEED} // 6455;
my $total = 3000 * ($ENV{WEBSOCKET_GUARD_FUZZ} // 1);
diag "seed $seed, $total handshakes" if $total != 3000;
time_limit(120 * ($ENV{WEBSOCKET_GUARD_FUZZ} // 1));
srand $seed;
my @names = qw/ Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version Origin Sec-WebSocket-Protocol
    Sec-WebSocket-Extensions Host Content-Length Transfer-Encoding Via Expect TE If-Match X-Forwarded-Proto /;
my @values = (qw{ websocket h2c Upgrade upgrade keep-alive close 13 8 0 4 chunked gzip dGhlIHNhbXBsZSBub25jZQ==
    http://localhost https://x.a.example http://b1 https://evil.example null localhost localhost:80 [::1] chat trailers
    100-continue "x" * permessage-deflate;a=b foo/1 }, '', 'websocket, h2c', 'h2c,websocket', 'close, Upgrade', '13, 8', 'a b');
my @odd = ("\0", "\r", "\n", "\t", ' ', "\x0b", "\x7f", "\xff", ',', ';', '"', '\\', ':', '%00', "\r\n ", 'x' x 700, '%n%s', "\xe2\x80\xae");

sub any { return $_[rand @_] }

sub mutated {
    my $text = handshake_request(
        path => any(qw! /strict/ /lenient/ /auto/ /off/ /answered/ !) . any(qw/ ws 101 426 %41 /),
        key  => 'dGhlIHNhbXBsZSBub25jZQ==',
    );
    my ($first, @lines) = split /\r\n/, $text;
    for (1 .. rand 4) {
        my $at = int rand @lines;
        my $how = rand 9;
        if    ($how < 2) { splice @lines, $at, 0, any(@names) . ': ' . any(@values) }
        elsif ($how < 4) { $lines[$at] =~ s/: .*/': ' . any(@values)/e }
        elsif ($how < 5) { splice @lines, $at, 1 if @lines > 1 }
        elsif ($how < 6) { substr $lines[$at], rand length $lines[$at], 0, any(@odd) }
        elsif ($how < 7) { @lines = reverse @lines }
        elsif ($how < 8) { $first =~ s/GET|1\.1/any(qw{ POST HEAD OPTIONS 1.0 1.2 2.0 1.1 })/e }
        else             { push @lines, ($lines[$at]) x any(1, 1, 20) }
    }
    # Now and then, it is not to be finished.
    return join "\r\n", $first, @lines, rand() < 0.98 ? ('', '') : ();
}

my ($attempts, $tunnels, %statuses) = (0, 0);
my $client;
while ($attempts < $total) {
    $client = connection() if !$client || $client->eof;
    my $head = mutated();
    $attempts++;
    $client->write($head);
    my $complete = $head =~ /\r?\n\r?\n/;
    my $status = $complete ? $client->read_response(timeout => 1, method => $head =~ /^(\w+)/)->status : 0;
    $statuses{$status}++;
    $tunnels++ if $client->{in} =~ /INTERNAL/ && $head !~ m!^\S+ /off/!;

    # What has a body that is not there, is a tunnel or closes, needs another connection.
    if ($status != 200 || $head =~ /Content-Length|Transfer-Encoding|101|close/i || length $client->{in}) {
        # Mostly by a reset, which leaves no port in TIME_WAIT.
        rand() < 0.1 ? $client->disconnect : $client->reset;
    }
}
$client->disconnect;
note join ', ', map {"$_: $statuses{$_}"} sort keys %statuses;

is_deeply([worker_pids($t)], [$worker], 'the worker lives');
is(websocket(path => '/lenient/ws', key => 'dGhlIHNhbXBsZSBub25jZQ==')->status, 101, 'and works');
is($tunnels, 0, 'no tunnel after a wrong 101');
cmp_ok($statuses{101} // 0, '>', 50, 'some handshakes are right');
cmp_ok($statuses{400} // 0, '>', 50, 'and some are not');
is(-e $t->testdir . '/false' ? $t->read_file('false') : '', '', 'no false upgrade arrived');

my @lines = grep {/websocket_guard: /} split /\n/, $t->read_file('fuzz.log');
my @wrong = grep { !/ \[[a-z0-9-]+\](?:$|, client: )/ } @lines;
ok(@lines > 20 && @lines <= $attempts && !@wrong, scalar(@lines) . ' lines that end as they should') or diag join "\n", @wrong[0 .. 3];

# One process for all connections, since there are so many.
sub answers {
    my ($t, $number, $listener) = @_;
    my $all = IO::Select->new($listener);
    my %in;
    my $switch = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    while (1) {
        for my $socket ($all->can_read) {
            if ($socket == $listener) {
                my $new = $listener->accept or next;
                $new->blocking(0);
                $all->add($new);
                $in{$new} = '';
                next;
            }
            my $read = sysread $socket, $in{$socket}, 65536, length $in{$socket};
            if (!$read) {
                $all->remove($socket);
                delete $in{$socket};
                close $socket;
                next;
            }
            $in{$socket} =~ s/\A(.*?\r\n\r\n)//s or next;
            my $head = $1;
            my ($method, $path) = $head =~ m!^(\S+) (\S+)!;
            my @upgrade = $head =~ /^Upgrade: (.*?)\r$/mgi;
            if ($number == 8081 && @upgrade && ("@upgrade" !~ /^websocket$/i || $head !~ m!^GET \S+ HTTP/1\.1!
                || $head =~ /^(?:Content-Length: [1-9]|Transfer-Encoding:)/mi))
            {
                open my $file, '>>', $t->testdir . '/false';
                print $file $head;
            }
            # 101: also for what asks for nothing.
            local $SIG{PIPE} = 'IGNORE';
            my $body = $method eq 'HEAD' ? '' : 'ok';
            syswrite $socket, $path =~ /426/ ? "HTTP/1.1 426 No\r\nContent-Length: 0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                : $path =~ /101/ ? "${switch}wrong\r\n\r\nINTERNAL"
                : @upgrade ? "${switch}s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n$body";
        }
    }
}
