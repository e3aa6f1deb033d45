#!/usr/bin/perl

# What the audit says about how a location speaks to the backend, and what of its answer gets back.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Audit;

my $t = Test::Nginx->new()->has(qw/ http proxy uwsgi scgi map /);
my $h2 = $t->has_version('1.29.4');

# From here on the default is HTTP/1.1.
my $http11 = $t->has_version('1.29.7');
$t->plan(42 + ($h2 ? 4 : 0) - ($http11 ? 1 : 0));

# ---- http10-upstream -----------------------------------------------------------------------------

my $by_default = $http11 ? '' : '#= http10-upstream';

audits($t, 'http10-upstream',
    '[warn] websocket_guard: location "/ws" speaks HTTP/1.0 to the backend; set "proxy_http_version 1.1;" in the location',
    ['in the location' => <<'CONF'],
location /ws {
    TIMEOUT HEADERS
    proxy_http_version 1.0; #= http10-upstream
    PASS
}
CONF
    ['own, where the guard must not touch it' => <<'CONF'],
location = /ws {
    websocket_guard on;
    HOST
    proxy_http_version 1.0; #= http10-upstream
    PASS
}
CONF
    ['inherited by a nested location and a regex one, in an included file' => <<'CONF',
websocket_guard check;
proxy_http_version 1.0; #= http10-upstream
include ws.conf;
CONF
        files => { 'ws.conf' => <<'CONF' },
location /app/ {
    location /app/ws { TIMEOUT HEADERS PASS }
}
location ~ ^/ws { TIMEOUT HEADERS PASS }
CONF
        line => '[warn] websocket_guard: location "/app/ws" (and in another location) speaks HTTP/1.0 to the backend; add '
            . '"websocket_guard on;" to the location, or "proxy_http_version 1.1;"'],
    ['by default' => <<"CONF", $by_default ? (line => '[warn] websocket_guard: location "/ws" speaks HTTP/1.0 to '
location /ws { $by_default
    TIMEOUT HEADERS PASS
}
CONF
            . q{the backend, nginx's default before 1.29.7; add "websocket_guard on;" to the location, or }
            . '"proxy_http_version 1.1;"') : ()],
    ['set above' => <<'CONF'],
proxy_http_version 1.1;
location /ws { TIMEOUT HEADERS PASS }
CONF
    ['the guard replaces it' => <<'CONF'],
HOST
proxy_http_version 1.0;
location /on { websocket_guard on; PASS }
location /auto { websocket_guard auto; PASS }
CONF
    ['uwsgi and scgi have no versions' => <<'CONF'],
websocket_guard check;
location /uwsgi { uwsgi_read_timeout 1h; uwsgi_pass 127.0.0.1:8081; }
location /scgi { scgi_read_timeout 1h; scgi_pass 127.0.0.1:8081; }
CONF
);

# ---- h2-upstream ---------------------------------------------------------------------------------

if ($h2) {
    audits($t, 'h2-upstream',
        '[error] websocket_guard: location "/ws" speaks HTTP/2 to the backend, which has no upgrade; set '
            . '"proxy_http_version 1.1;" in the location',
        ['in the location' => <<'CONF'],
location /ws {
    TIMEOUT HEADERS
    proxy_http_version 2; #= h2-upstream
    PASS
}
CONF
        ['inherited by a nested location' => <<'CONF'],
proxy_http_version 2; #= h2-upstream
location /app/ {
    location /app/ws { TIMEOUT HEADERS PASS }
}
CONF
        ['the location has another' => <<'CONF'],
proxy_http_version 2;
location /ws { RECIPE PASS }
CONF
        ['the guard replaces it' => <<'CONF'],
HOST
proxy_http_version 2;
location /ws { websocket_guard on; PASS }
CONF
    );
} else {
    my ($code, $output) = nginx_test($t, <<'CONF');
%%TEST_GLOBALS%%
events {
}
http {
    %%TEST_GLOBALS_HTTP%%
    server {
        listen 127.0.0.1:8080;
        location /ws {
            websocket_guard check;
            proxy_http_version 2;
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
CONF
    is_deeply([$code, guard_lines($output . $t->read_file('nginx-test.log'))], [1],
        'h2-upstream: nginx refuses that, the guard has nothing to say');
}

# ---- pass-headers-off ----------------------------------------------------------------------------

audits($t, 'pass-headers-off',
    '[error] websocket_guard: location "/ws" passes no Sec-WebSocket-Key and no other header of the client on '
        . '(proxy_pass_request_headers off); remove "proxy_pass_request_headers off;", or set it to on in the location',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    proxy_pass_request_headers off; #= pass-headers-off
    PASS
}
CONF
    ['inherited by a guarded regex location in an included file' => <<'CONF',
proxy_pass_request_headers off; #= pass-headers-off
include ws.conf;
CONF
        files => { 'ws.conf' => "location ~ ^/ws { websocket_guard on; HOST PASS }\n" }],
    ['of uwsgi' => <<'CONF',
websocket_guard check;
uwsgi_read_timeout 1h;
location /app/ {
    uwsgi_pass_request_headers off; #= pass-headers-off
    location /app/ws { uwsgi_pass 127.0.0.1:8081; }
}
CONF
        line => '[error] websocket_guard: location "/app/ws" passes no Sec-WebSocket-Key and no other header of the '
            . 'client on (uwsgi_pass_request_headers off); remove "uwsgi_pass_request_headers off;", or set it to on in '
            . 'the location'],
    ['the location has it on' => <<'CONF'],
proxy_pass_request_headers off;
location /ws { RECIPE proxy_pass_request_headers on; PASS }
CONF
    ['that of another module' => <<'CONF'],
uwsgi_pass_request_headers off;
location /ws { RECIPE PASS }
CONF
    ['the location sends what a handshake needs' => <<'CONF'],
location /ws {
    RECIPE
    proxy_pass_request_headers off;
    proxy_set_header Sec-WebSocket-Key $http_sec_websocket_key;
    proxy_set_header Sec-WebSocket-Version $http_sec_websocket_version;
    PASS
}
CONF
    ['the body' => <<'CONF'],
location /ws { RECIPE proxy_pass_request_body off; PASS }
CONF
);

# ---- proxy-method --------------------------------------------------------------------------------

audits($t, 'proxy-method',
    '[warn] websocket_guard: location "/ws" sends the handshake as POST; remove proxy_method from the location',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    proxy_method POST; #= proxy-method
    PASS
}
CONF
    ['inherited by a nested regex location' => <<'CONF'],
location /app/ {
    proxy_method HEAD; #= proxy-method
    PASS
    location ~ ^/app/ws { RECIPE PASS }
}
CONF
    ['GET' => <<'CONF'],
proxy_method POST;
location /ws { RECIPE proxy_method GET; PASS }
CONF
    ['a variable' => <<'CONF'],
location /ws { RECIPE proxy_method $request_method; PASS }
CONF
    ['of another location' => <<'CONF'],
location /ws { RECIPE PASS }
location /ws/form { proxy_method POST; PASS }
CONF
);

# ---- hidden-response-header ----------------------------------------------------------------------

audits($t, 'hidden-response-header',
    '[error] websocket_guard: location "/ws" hides Upgrade from the client (proxy_hide_header); remove that '
        . 'proxy_hide_header',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    proxy_hide_header Upgrade; #= hidden-response-header
    PASS
}
CONF
    ['inherited from an included file, in small letters' => <<'CONF',
include proxy.conf;
location ~ ^/ws { websocket_guard on; HOST PASS }
CONF
        files => { 'proxy.conf' => "\nproxy_hide_header sec-websocket-accept; #= hidden-response-header\n" }],
    ['of uwsgi, nested' => <<'CONF',
location /app/ {
    uwsgi_hide_header Sec-WebSocket-Accept; #= hidden-response-header
    location /app/ws { websocket_guard check; uwsgi_read_timeout 1h; uwsgi_pass 127.0.0.1:8081; }
}
CONF
        line => '[error] websocket_guard: location "/app/ws" hides Sec-WebSocket-Accept from the client '
            . '(uwsgi_hide_header); remove that uwsgi_hide_header'],
    ['the second of two' => <<'CONF'],
location /ws {
    RECIPE
    proxy_hide_header X-Powered-By;
    proxy_hide_header Upgrade; #= hidden-response-header
    PASS
}
CONF
    ['the first of two' => <<'CONF'],
location /ws {
    RECIPE
    proxy_hide_header Upgrade; #= hidden-response-header
    proxy_hide_header X-Powered-By;
    PASS
}
CONF
    ['other headers' => <<'CONF'],
location /ws { RECIPE proxy_hide_header X-Powered-By; proxy_hide_header Sec-WebSocket-Accepted; PASS }
CONF
    ['Connection, which nginx writes itself' => <<'CONF'],
location /ws { RECIPE proxy_hide_header Connection; PASS }
CONF
    ['not inherited by a location with its own' => <<'CONF'],
proxy_hide_header Upgrade;
location /ws { RECIPE proxy_hide_header X-Powered-By; PASS }
CONF
);

# ---- intercept-errors ----------------------------------------------------------------------------

audits($t, 'intercept-errors',
    '[notice] websocket_guard: location "/ws" answers a refused upgrade with an error_page, which hides the reason '
        . '(proxy_intercept_errors); set "proxy_intercept_errors off;" in the location',
    ['in the location' => <<'CONF'],
location /ws {
    RECIPE
    error_page 403 404 /error.html;
    proxy_intercept_errors on; #= intercept-errors
    PASS
}
CONF
    ['both from above, in a nested location of an included file' => <<'CONF',
proxy_intercept_errors on; #= intercept-errors
include ws.conf;
CONF
        files => { 'ws.conf' => <<'CONF' }],
location /app/ {
    error_page 400 @error;
    location ~ ^/app/ws { websocket_guard on; HOST PASS }
}
location @error { return 404; }
CONF
    ['no error_page' => <<'CONF'],
location /ws { RECIPE proxy_intercept_errors on; PASS }
CONF
    ['no interception' => <<'CONF'],
error_page 403 /error.html;
location /ws { RECIPE PASS }
CONF
    ['switched off again' => <<'CONF'],
error_page 403 /error.html;
proxy_intercept_errors on;
location /ws { RECIPE proxy_intercept_errors off; PASS }
CONF
);
