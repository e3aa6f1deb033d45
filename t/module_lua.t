#!/usr/bin/perl

# Lua between client and backend: it refuses a 101 that has come, looks at bodies, calls others before it lets a request
# pass, changes headers after the gate, and sends a request on to another location.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $modules = packaged_modules(qw/ ndk_http_module ngx_http_lua_module /);
my $t = Test::Nginx->new()->has(qw/ http proxy /);

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%MODULES%%/$modules/r)->plan(37);

%%TEST_GLOBALS%%
%%MODULES%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  outcome "$uri $status [$websocket_guard]";

    websocket_guard_ignore  short-read-timeout;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        access_log  %%TESTDIR%%/access.log;
        access_log  %%TESTDIR%%/outcome.log outcome;

        location /denied/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            header_filter_by_lua_block { if ngx.status == 101 then return ngx.exit(403) end }
        }

        location /denied/auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;

            header_filter_by_lua_block { if ngx.status == 101 then return ngx.exit(403) end }
        }

        location /denied/hand/ {
            proxy_pass          http://127.0.0.1:8081;
            proxy_http_version  1.1;
            proxy_set_header    Upgrade $http_upgrade;
            proxy_set_header    Connection upgrade;

            header_filter_by_lua_block { if ngx.status == 101 then return ngx.exit(403) end }
        }

        location /headers/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            header_filter_by_lua_block { ngx.header["X-Lua"] = ngx.status }
            body_filter_by_lua_block { if ngx.arg[1] then ngx.arg[1] = string.upper(ngx.arg[1]) end }
        }

        location /asks/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            access_by_lua_block {
                local socket = ngx.socket.tcp()
                assert(socket:connect("127.0.0.1", %%PORT_8082%%))
                assert(socket:send("GET /asked HTTP/1.0\r\n\r\n"))
                local line = assert(socket:receive("*l"))
                socket:close()
                if not line:find(" 200 ") then ngx.exit(401) end
                ngx.sleep(0.05)
            }
        }

        location /sets/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            access_by_lua_block { ngx.req.set_header("Upgrade", ngx.var.arg_upgrade) }
        }

        location /sets/auto/ {
            websocket_guard  auto;
            proxy_pass       http://127.0.0.1:8081;

            access_by_lua_block { ngx.req.set_header("Upgrade", ngx.var.arg_upgrade) }
        }

        location /clears/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            access_by_lua_block { ngx.req.clear_header("Upgrade") }
        }

        # Before the gate.
        location /early/ {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;

            rewrite_by_lua_block {
                ngx.req.set_header("Upgrade", "websocket")
                ngx.req.set_header("Connection", "upgrade")
            }
        }

        location /exec/ {
            access_by_lua_block { return ngx.exec("/headers/exec", "x=1") }
        }

        location /exec-named/ {
            content_by_lua_block { return ngx.exec("@named") }
        }

        location @named {
            websocket_guard  on;
            proxy_pass       http://127.0.0.1:8081;
        }

        location /captures/ {
            content_by_lua_block {
                local answer = ngx.location.capture("/headers/captured")
                ngx.say(answer.status, " ", #answer.body > 0)
            }
        }
    }
}
EOC

run_backend($t, $_) for 8081, 8082;
$t->run();
my @workers = living();

sub living { wait_until(sub { worker_pids($t) == 1 }, 5); return worker_pids($t) }

sub plain { return raw_request("GET $_[0] HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") }

# What access log and guard make of the last request.
sub variable {
    my ($uri) = @_;
    my @lines = grep {m!^\Q$uri\E !} split /\n/, $t->read_file('outcome.log');
    return $lines[-1] // 'no line';
}

# The tunnel is none that a later filter replaced by a refusal.

for my $place (qw! /denied/ /denied/auto/ /denied/hand/ !) {
    my ($status, @lines) = split /, (?=\[)/, outcome($t, path => "${place}ws");
    is($status, 403, "$place: refused");
    is(scalar(@lines), 1, "$place: one line") or diag join "\n", @lines;
    like(variable("${place}ws"), qr/^\S+ 403 \[(?!upgraded)[a-z-]+\]$/, "$place: no upgrade");
    is(outcome($t, sub { plain($place) }), 200, "$place: a plain request");
}

# Filters do not reach into a tunnel.

my $ws = websocket(path => '/headers/ws', pipeline_message => 'with the handshake');
is($ws->status . ' ' . $ws->header('X-Lua'), '101 101', 'a header of Lua in the 101');
is($ws->recv, 'with the handshake', 'a message that came with the handshake');
is($ws->echo('in small letters'), 'in small letters', 'a body filter does not change it');
is($ws->echo_bytes(1 << 20), 1 << 20, 'nor much of it');
ok($ws->close, 'closed');
like(plain('/headers/')->body, qr/^METHOD: GET$/m, 'it does in a plain answer');

# Whoever waits before the request is passed on.

$ws = websocket(path => '/asks/ws', pipeline_message => 'early');
is($ws->status . ' ' . ($ws->recv // ''), '101 early', 'access by another server');
ok($ws->close, 'closed');
is(websocket(path => '/asks/status?403')->status, 403, 'the refusal of the backend behind it');

# Headers that change behind the gate: nothing leaves that is no handshake.

is(outcome($t, path => '/sets/ws?upgrade=websocket'), 101, 'the same Upgrade again');
unlike(outcome($t, path => '/sets/ws?upgrade=h2c'), qr/^101/, 'a handshake becomes h2c');
unlike(outcome($t, path => '/sets/auto/ws?upgrade=h2c'), qr/^101/, 'and in auto');
for my $place (qw! /sets/ /sets/auto/ !) {
    is(plain("${place}plain?upgrade=$_")->status, 200,
        "$place: a plain request becomes $_") for qw/ h2c websocket /;
}
my ($status, @lines) = split /, (?=\[)/, outcome($t, path => '/clears/ws');
is($status, 200, 'a handshake becomes a plain request');
cmp_ok(scalar(@lines), '<=', 1, 'and has one line at most') or diag join "\n", @lines;

is(outcome($t, path => '/early/ws', without => [qw/ Upgrade Connection /]), 101, 'a proxy in front lost the header, and Lua gives it back');
is(scalar(false_upgrades($t)), 0, 'no false upgrade arrived') or diag false_upgrades($t);

# Other locations.

$ws = websocket(path => '/exec/ws');
is($ws->status . ' ' . ($ws->echo('there') // ''), '101 there', 'sent on to a guarded location');
is(websocket(path => '/exec-named/ws')->echo('named') // '', 'named', 'and to a named one');
like(plain('/captures/')->body, qr/^200 true$/m, 'a plain subrequest');
my ($capture) = outcome($t, path => '/captures/ws');
unlike($capture, qr/^101/, 'a handshake whose answer comes by a subrequest');

is_deeply([living()], \@workers, 'one worker did all that');
