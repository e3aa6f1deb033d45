#!/usr/bin/perl

# Whether requests come to a marked location, and to the backend with the URI that was meant: what the audit
# says of locations that answer, redirect or hand over, and of those that only look so.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy fastcgi uwsgi rewrite auth_request mirror /);

my $PASS   = 'proxy_pass http://127.0.0.1:8081;';
my $RECIPE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; '
    . 'proxy_set_header Host $http_host; proxy_read_timeout 1h;';

$t->write_file_expand('static.conf', "location /chat/ {\n    websocket_guard on;\n}\n");
$t->write_file_expand('unmarked.conf', "location \@app {\n    $PASS\n}\n");

# For each finding: the servers that must report it and nothing else, and those that must report nothing.
my @cases = (
    'no-proxy' => {
        wrong => {
            'files'           => 'location /chat/ { websocket_guard on; }',
            'included file'   => 'include static.conf;',
            'return'          => 'location /chat/ { websocket_guard auto; return 404; }',
            'fastcgi'         => 'location ~ ^/chat { websocket_guard on; fastcgi_pass 127.0.0.1:8081; }',
            'nested'          => "location / { $PASS location /chat/ { websocket_guard on; } }",
            'none of those nested in it' => "location / { websocket_guard on; location /a/ { return 204; } location /b/ { } }",
            'an error page of files' => "location /chat/ { websocket_guard on; error_page 404 /50x.html; } location / { }",
            'checked'         => 'location /chat/ { websocket_guard check; root html; }',
            'a recipe and no proxy_pass' => 'location /socket.io { proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; '
                . 'proxy_set_header Connection $connection_upgrade; proxy_read_timeout 1h; }',
            'the same in a location that proxies' => "location / { $PASS location /socket.io { proxy_set_header Upgrade \$http_upgrade; "
                . 'proxy_set_header Connection $connection_upgrade; } }',
            'nothing else is said of it' => 'location /chat { websocket_guard on; proxy_read_timeout 5s; }',
        },
        right => {
            'a recipe whose proxy_pass stands in an if' => "location /if { $RECIPE if (!-f \$request_filename) { $PASS break; } }",
            'a recipe for those nested in it' => "location /if { $RECIPE location /if/a { $PASS } }",
            'files with headers of an include' => "location /if { $RECIPE root html; }",
            'answers with headers of an include' => "location /if { $RECIPE try_files \$uri \@if; } location \@if { $RECIPE $PASS }",
            'inherited'       => "websocket_guard on; location / { $PASS } location /static/ { } location /gone/ { return 410; }",
            'one of those nested in it' => "location / { websocket_guard on; location /a/ { $PASS } location /b/ { } }",
            'files that are not there' => "location / { websocket_guard on; error_page 404 = \@ws; } location \@ws { websocket_guard on; $PASS }",
            'refused files' => "error_page 404 /404.html; error_page 418 =200 /ws; location / { error_page 404 /404.html; error_page 418 = /ws;
                                  websocket_guard on; if (\$http_upgrade) { return 418; } } location = /ws { websocket_guard on; $PASS }",
            'all nested ones proxy' => "location / { websocket_guard on; location /a/ { $PASS } location ~ ^/b { $PASS } }",
            'variable'        => 'set $backend 127.0.0.1:8081; location /chat/ { websocket_guard on; proxy_pass http://$backend; }',
            'uwsgi'           => 'location /chat/ { websocket_guard on; uwsgi_pass 127.0.0.1:8081; uwsgi_read_timeout 1h; }',
            'handled answer'  => "location /chat/ { websocket_guard on; error_page 418 = \@ws; return 418; }
                                  location \@ws { websocket_guard on; $PASS }",
            'off in it'       => "websocket_guard on; location / { $PASS } location /static/ { websocket_guard off; }",
            'proxied in a block' => "location /chat/ { websocket_guard on; if (\$http_upgrade) { $PASS } }",
        },
        server => 'location /chat/ { websocket_guard on; }',
        line   => '[error] websocket_guard: location "/chat/" has nothing in it that could carry a WebSocket; add a proxy_pass to the '
            . 'location, or move websocket_guard to the location that has one [no-proxy] in %s',
    },
    'tryfiles-fallback' => {
        wrong => {
            'named'        => "location / { websocket_guard on; try_files \$uri \@app; } location \@app { $PASS }",
            'regex, auto'  => "location ~ ^/app { websocket_guard auto; try_files \$uri \$uri/ \@app; } location \@app { $PASS }",
            'named before, off' => "websocket_guard off; location \@app { $PASS } location / { websocket_guard on; try_files \$uri \@app; }",
            'included file' => 'location / { websocket_guard on; try_files $uri @app; } include unmarked.conf;',
        },
        right => {
            'marked too'   => "location / { websocket_guard on; try_files \$uri \@app; } location \@app { websocket_guard auto; $PASS }",
            'inherited'    => "websocket_guard auto; location / { try_files \$uri \@app; } location \@app { $PASS }",
            'by hand'      => "location / { websocket_guard on; try_files \$uri \@app; } location \@app { $RECIPE $PASS }",
            'unmarked'     => "location / { try_files \$uri \@app; } location \@app { $PASS } location /ws/ { websocket_guard on; $PASS }",
        },
        server => "location / {\nwebsocket_guard on;\ntry_files \$uri \@app; # here\n}\nlocation \@app {\n$PASS\n}",
        line   => '[error] websocket_guard: location "/" falls back to "@app" (try_files), which proxies without the WebSocket headers; '
            . 'add "websocket_guard on;" to location "@app" [tryfiles-fallback] in %s',
    },
    'rewrite-leaves-location' => {
        wrong => {
            'prefix'       => "location /ws/ { websocket_guard on; rewrite ^/ws/(.*) /\$1 last; $PASS } location / { }",
            'in a block'   => "location /ws/ { websocket_guard on; if (\$arg_v) { rewrite ^ /v2 last; } $PASS } location / { }",
            'regex, auto'  => "location ~ ^/ws { websocket_guard auto; rewrite ^ /x/ last; $PASS } location / { $PASS }",
            'for upgrades' => "location /ws/ { websocket_guard on; if (\$http_upgrade ~* websocket) { rewrite ^ /v2 last; } $PASS } location / { }",
            'the second'   => "location /ws/ { websocket_guard on; rewrite ^/ws/a /ws/b last; rewrite ^/ws/(.*) /x/\$1 last; $PASS } location / { }",
        },
        right => {
            'some pages'   => "location /ws/ { websocket_guard on; rewrite ^/ws/(.*)\\.html\$ /pages/\$1 last; $PASS } location / { }",
            'plain requests' => "location /ws/ { websocket_guard on; if (\$http_upgrade = '') { rewrite ^ /index.html last; } $PASS } location / { }",
            'into a marked one' => "location /ws/ { websocket_guard on; rewrite ^/ws/(.*) /v2/\$1 last; }
                                    location /v2/ { websocket_guard on; $PASS } location / { }",
            'into a recipe' => "location /ws/ { websocket_guard on; rewrite ^/ws/(.*) /v2/ws last; } location /v2/ { $RECIPE $PASS } location / { }",
            'into itself'  => "location /ws/ { websocket_guard on; rewrite ^/ws/(?!v2)(.*) /ws/v2/\$1 last; $PASS } location / { }",
            'break'        => "location /ws/ { websocket_guard on; rewrite ^/ws/(.*) /\$1 break; $PASS } location / { }",
            'all marked'   => "websocket_guard on; location /ws/ { websocket_guard on; rewrite ^/ws/(.*) /\$1 last; $PASS } location / { $PASS }",
            'inherited'    => "websocket_guard on; location /ws/ { rewrite ^/ws/(.*) /\$1 last; $PASS } location / { websocket_guard off; }",
            'not in it'    => "rewrite ^/old/(.*) /ws/\$1 last; location /ws/ { websocket_guard on; $PASS }",
            'in another one' => "location /ws/ { websocket_guard on; $PASS } location / { rewrite ^/old/(.*) /ws/\$1 last; }",
        },
        server => "location /ws/ {\nwebsocket_guard on;\nrewrite ^/ws/(.*) /\$1 last; # here\n$PASS\n}",
        line   => '[warn] websocket_guard: location "/ws/" sends requests to another location by "rewrite ... last"; use "break" in place '
            . 'of "last", or mark the location that the new URI falls into [rewrite-leaves-location] in %s',
    },
    'redirect-in-location' => {
        wrong => {
            '301'          => 'location /ws/ { websocket_guard on; return 301 https://$host$request_uri; }',
            '308, regex'   => 'location ~ ^/ws { websocket_guard auto; return 308 /chat/; }',
            'without a status' => 'location /ws/ { websocket_guard on; return https://$host/; }',
            'with a proxy' => "location /ws/ { websocket_guard on; return 307 /chat/; $PASS }",
            'nested'       => "location / { $PASS location /ws/ { websocket_guard on; return 302 /chat/; } }",
        },
        right => {
            'unmarked'     => "location / { return 301 https://\$host\$request_uri; } location /ws/ { websocket_guard on; $PASS }",
            'inherited'    => "websocket_guard on; location /old/ { return 301 /ws/; } location /ws/ { $PASS }",
            'conditional'  => "location /ws/ { websocket_guard on; if (\$http_upgrade = '') { return 301 /; } $PASS }",
            'handled'      => "location /ws/ { websocket_guard on; error_page 302 = \@ws; return 302 /; } location \@ws { websocket_guard on; $PASS }",
        },
        server => "location /ws/ {\nwebsocket_guard on;\nreturn 301 https://\$host\$request_uri; # here\n}",
        line   => '[error] websocket_guard: location "/ws/" answers with a redirect (return 301), which WebSocket clients do not follow; '
            . 'proxy in this location too, or have the clients use the final wss:// URL and remove the mark here '
            . '[redirect-in-location] in %s',
    },
    'regex-shadowed' => {
        wrong => {
            'fastcgi'      => "location /ws.php { websocket_guard on; $PASS } location ~ \\.php\$ { fastcgi_pass 127.0.0.1:8081; }",
            'any case'     => "location ~* ^/SOCKET { root html; } location /socket/ { websocket_guard auto; $PASS }",
            'plain proxy'  => "location /ws/ { websocket_guard on; $PASS } location ~ ws { $PASS }",
            'nested'       => "location /app/ { location /app/ws.js { websocket_guard on; $PASS } location ~ \\.js\$ { } }",
        },
        right => {
            '^~'           => "location ^~ /ws.php { websocket_guard on; $PASS } location ~ \\.php\$ { fastcgi_pass 127.0.0.1:8081; }",
            'exact'        => "location = /ws.php { websocket_guard on; $PASS } location ~ \\.php\$ { fastcgi_pass 127.0.0.1:8081; }",
            'no match'     => "location /ws/ { websocket_guard on; $PASS } location ~ \\.php\$ { fastcgi_pass 127.0.0.1:8081; }",
            'guarded too'  => "location /ws/ { websocket_guard on; $PASS } location ~ ^/ws { websocket_guard on; $PASS }",
            'only one page' => "location / { websocket_guard on; $PASS } location ~ ^/(index.html)?\$ { root html; }",
            'the slash alone' => "location /ws/ { websocket_guard on; $PASS } location ~ ^/ws/\$ { return 204; }",
            'nested elsewhere' => "location /ws.php { websocket_guard on; $PASS } location /app/ { location ~ \\.php\$ { } }",
        },
        server => "location /ws.php { # here\nwebsocket_guard on;\n$PASS\n}\nlocation ~ \\.php\$ {\n}",
        line   => '[warn] websocket_guard: location "/ws.php" does not get requests for "/ws.php", they go to the regex location "\.php$"; '
            . 'write "location ^~ /ws.php" instead [regex-shadowed] in %s',
    },
    'subrequest-upgrade' => {
        wrong => {
            'auth_request' => "location /ws/ { websocket_guard on; auth_request /auth; $PASS } location = /auth { internal; $RECIPE $PASS }",
            'mirror'       => "location /ws/ { websocket_guard auto; mirror /copy/; $PASS } location /copy/ { $RECIPE $PASS }",
            'both above'   => "$RECIPE auth_request /auth; location /ws/ { websocket_guard on; $PASS } location /auth { $PASS }",
        },
        right => {
            'cleared'      => "location /ws/ { websocket_guard on; auth_request /auth; $PASS }
                               location = /auth { proxy_set_header Upgrade ''; proxy_set_header Connection ''; $PASS }",
            'guarded'      => "websocket_guard on; location /ws/ { auth_request /auth; $PASS } location = /auth { $PASS }",
            'switched off' => "auth_request /auth; location /ws/ { websocket_guard on; auth_request off; $PASS } location = /auth { $RECIPE $PASS }",
            'without the headers' => "location /ws/ { websocket_guard on; mirror /copy/; $PASS } location /copy/ { $PASS }",
        },
        server => "location /ws/ {\nwebsocket_guard on;\nauth_request /auth; # here\n$PASS\n}\nlocation = /auth { $RECIPE $PASS }",
        line   => '[warn] websocket_guard: location "/ws/" makes a subrequest (auth_request /auth) to location "/auth", which passes the '
            . 'upgrade on; set Upgrade and Connection to "" in the location that serves the subrequest, or use websocket_guard there '
            . '[subrequest-upgrade] in %s',
    },
    'uri-rewrite' => {
        wrong => {
            'to the root'  => 'location /ws { websocket_guard on; proxy_pass http://127.0.0.1:8081/; }',
            'no regex'     => 'location ^~ /ws { websocket_guard auto; proxy_pass http://127.0.0.1:8081/chat/; }',
            'nested'       => "location /app/ { $PASS location /app/ws { websocket_guard on; proxy_pass http://127.0.0.1:8081/; } }",
        },
        right => {
            'both'         => 'location /ws/ { websocket_guard on; proxy_pass http://127.0.0.1:8081/; }',
            'neither'      => 'location /ws { websocket_guard on; proxy_pass http://127.0.0.1:8081/chat; }',
            'no URI'       => "location /ws { websocket_guard on; $PASS }",
            'exact'        => 'location = /ws { websocket_guard on; proxy_pass http://127.0.0.1:8081/; }',
            'unmarked'     => 'location /ws { proxy_pass http://127.0.0.1:8081/; }',
        },
        server => "location /ws {\nwebsocket_guard on;\nproxy_pass http://127.0.0.1:8081/; # here\n}",
        line   => '[notice] websocket_guard: location "/ws" replaces "/ws" by "/", so that "/ws/x" becomes "//x"; end both with a slash, or '
            . 'neither [uri-rewrite] in %s',
    },
);

my $count = 0;
for my $case (grep {ref} @cases) {
    $count += 1 + keys(%{ $case->{wrong} }) + keys %{ $case->{right} };
}
$t->plan($count);

while (my ($finding, $case) = splice @cases, 0, 2) {
    for my $name (sort keys %{ $case->{wrong} }) {
        is(names($case->{wrong}{$name}), $finding, "$finding: $name");
    }
    for my $name (sort keys %{ $case->{right} }) {
        is(names($case->{right}{$name}), '', "not $finding: $name");
    }
    my @lines = audit_lines($case->{server});
    my $place = $t->testdir . '/nginx-test.conf:' . conf_line($t, $case->{server} =~ /# here/ ? qr/# here/ : qr/location/, 'nginx-test.conf');
    is("@lines", sprintf($case->{line} =~ s/%(?!s)/%%/gr, $place), "$finding: the line");
}

# The guard's lines at nginx -t about this server, except those that say what is guarded and how much fits.
sub audit_lines {
    my ($server) = @_;
    my ($code) = nginx_test($t, <<"EOC");
%%TEST_GLOBALS%%
worker_shutdown_timeout 1h;
events {
}
http {
    %%TEST_GLOBALS_HTTP%%
    map \$http_upgrade \$connection_upgrade {
        default upgrade;
        ''      '';
    }
    websocket_guard_forwarded on;
    websocket_guard_ignore unused-directive;
    server {
        listen 127.0.0.1:8080;
$server
    }
}
EOC
    my $log = $t->read_file('nginx-test.log');
    return $code ? "refused: $log" : grep { !/ is guarded |\[capacity\]/ } guard_lines($log);
}

sub names {
    my ($server) = @_;
    return join ' ', map { / \[([\w-]+)\] in \S+:\d+$/ ? $1 : $_ } audit_lines($server);
}
