#!/usr/bin/perl

# proxy_next_upstream: a handshake that one server of the upstream does not take goes to the next.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC')->plan(17);

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    # nothing listens on the first server's port
    upstream dead {
        server 127.0.0.1:8089 max_fails=0;
        server 127.0.0.1:8081 backup;
    }

    upstream failing {
        server 127.0.0.1:8082 max_fails=0;
        server 127.0.0.1:8081 backup;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header  X-Status $upstream_status always;

        location /dead/ {
            websocket_guard  on;
            proxy_pass       http://dead;
        }

        location /failing/ {
            websocket_guard      auto;
            proxy_next_upstream  error http_503;
            proxy_pass           http://failing;
        }
    }
}
EOC

run_backend($t, 8081, handlers => {
    map { $_ => sub { $_[0]->default($_[1]) } } qw/ status close reset /,
});
run_backend($t, 8082);
$t->run();

for my $case (['/dead/', '502, 101'], ['/failing/status?503', '503, 101'],
    ['/failing/close', '502, 101'], ['/failing/reset', '502, 101'])
{
    my ($path, $statuses) = @$case;
    my $ws = websocket(path => $path);
    is($ws->header('X-Status'), $statuses, "$path: the second server was asked");
    is($ws->echo('hello'), 'hello', "$path: echo");
    is(websocket(path => $path, pipeline_message => 'early')->recv, 'early', "$path: nor is a first frame lost");
}

for my $number (8081, 8082) {
    my @seen = requests_seen($t, $number);
    is(scalar(grep { "@{[$_->header('Upgrade')]}" eq 'websocket' } @seen), scalar @seen, "$number: one Upgrade in each");
    is(scalar(grep { "@{[$_->header('Connection')]}" eq 'upgrade' } @seen), scalar @seen, "$number: and one Connection");
}

is_deeply([guard_log($t, 'error')], [], 'nothing to complain about');
