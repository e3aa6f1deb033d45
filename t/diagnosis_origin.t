#!/usr/bin/perl

# A backend that compares Origin with the Host and the scheme that it got, and refuses with 403, 404, 401 or 400; one with
# a list of its own: the line has what was compared, and what to do about it, which helps.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;

my $t = Test::Nginx->new()->has(qw/ http proxy map /)->plan(44);

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream puma_app {
        server 127.0.0.1:8081;
    }

    upstream app.internal {
        server 127.0.0.1:8081;
    }

    map $http_x_front $front {
        default  $http_x_front;
        ''       https;
    }

    proxy_http_version  1.1;
    proxy_set_header    Upgrade $http_upgrade;
    proxy_set_header    Connection upgrade;
    HEADERS

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            proxy_pass  http://puma_app;
        }

        location /auto/ {
            websocket_guard            auto;
            websocket_guard_forwarded  off;
            AUTO
            proxy_pass                 http://puma_app;
        }

        location /domain/ {
            websocket_guard   on;
            DOMAIN
            proxy_pass        http://app.internal;
        }

        location /own/ {
            websocket_guard   on;
            proxy_set_header  Host OWN;
            proxy_pass        http://puma_app;
        }

        location /host/ {
            websocket_guard   on;
            proxy_set_header  Host $http_host;
            include           proto.conf;
            proxy_pass        http://puma_app;
        }

        location /same/ {
            websocket_guard   on;
            proxy_set_header  Host $http_host;
            proxy_set_header  X-Forwarded-Proto $front;
            proxy_pass        http://puma_app;
        }
    }
}
EOC

configure('', '', '');

# As frameworks do: the page must be of the host and the scheme that the backend believes to have.
run_backend($t, 8081, handlers => { map { my $status = $_; $status => sub {
    my ($c, $request) = @_;
    my ($proto) = $request->header('X-Forwarded-Proto');
    my ($origin, $host) = map { ($request->header($_))[0] // '' } 'Origin', 'Host';
    my $own = ($proto // 'http') . "://$host";
    return $c->respond($status, '') if $origin ne $own || $request->uri =~ /list/;
    return $c->default($request);
} } 400, 401, 403, 404 });
$t->run();

my $backend = 'backend 127.0.0.1:' . port(8081);
my $app = 'app.example';
my $hand = 'set "proxy_set_header Host $http_host;" where Upgrade is set, or allow the origin in the backend';
my $else = 'or allow the origin in the backend';
my $auto = qq{set "websocket_guard_forwarded host;" in the location, $else};
my $proto = 'have X-Forwarded-Proto say https, also where TLS ends in front of this nginx, or allow the origin in the backend';
my $cookies = ', else see that cookies or tokens reach it';
my $path = ', else correct the path in the client';

for my $case ([400, ''], [401, $cookies], [403, ''], [404, $path]) {
    my ($status, $else) = @$case;
    my $sent = qq{it was sent Host "puma_app" with Origin "http://$app", which looks like another site};
    # A name with "_" is refused by itself, too.
    my $name = $status == 400 ? '; Host "puma_app" is no name of a host, because of the "_"' : '';
    is(try("/$status", "http://$app"), line($status, "$sent$name; $hand$else"), "by hand, $status");
    is(try("/auto/$status", "http://$app"), line($status, "$sent$name; $auto$else"), "auto, $status");
}

# The guard's word for it does nothing where Host is set by hand, or where proxy_pass names a domain.
is(try('/domain/403', "http://$app"), line(403, qq{it was sent Host "app.internal" with Origin "http://$app", which looks like another }
    . qq{site; set "proxy_set_header Host \$http_host;" beside the location's other headers, $else}), 'a domain');
is(try('/own/403', "http://$app"), line(403, qq{it was sent Host "puma.internal" with Origin "http://$app", which looks like another }
    . qq{site; have the location's "proxy_set_header Host" say \$http_host, $else}), 'a Host of its own');

# The scheme.
is(try('/host/403', "https://$app"), line(403, qq{it was sent Origin "https://$app" without X-Forwarded-Proto, which looks }
    . "like another scheme; $proto"), 'no scheme');
is(try('/same/403', "https://$app", 'X-Front: http'), line(403, qq{it was sent Origin "https://$app" with X-Forwarded-Proto }
    . qq{"http", which looks like another scheme; $proto}), 'the wrong scheme');
is(try('/host/404', "https://$app"), qq{404, [error] upgrade failed: $backend answered 404 to "/host/404", the path that the }
    . qq{client asked for: it was sent Origin "https://$app" without X-Forwarded-Proto, which looks like another scheme; correct }
    . 'the path in the client, or the URI in proxy_pass, and have X-Forwarded-Proto say https, also where TLS ends in front of '
    . 'this nginx [backend-not-found]', 'no scheme, 404');

# To send the Host of the client would not help.
my $list = 'allow that origin in the backend: it is not the host that the client asked for';
is(try('/403', 'https://other.example'), line(403, 'it was sent Host "puma_app" with Origin "https://other.example", which looks '
    . "like another site; $list"), 'the page of another site');
is(try('/same/403', 'https://other.example'), line(403, qq{it was sent Host "$app" with Origin "https://other.example", which }
    . "looks like another site; $list"), 'the same, with the Host');

# All is the same: the application has a list.
is(try('/same/list/403', "https://$app"), "403, [error] upgrade failed: $backend refused access with 403; it was sent Origin "
    . qq{"https://$app", of the same site as Host; allow that origin in the application's own list of origins if it has one, else }
    . q{see the backend's log, and that cookies or tokens reach it [backend-auth]}, 'a list');

# Where the origin is not it.
my $auth = q{see the backend's log, and that cookies or tokens reach it [backend-auth]};
is(try('/403', undef), "403, [error] upgrade failed: $backend refused access with 403; $auth", 'no Origin');
is(try('/same/list/401', "https://$app"), "401, [error] upgrade failed: $backend refused access with 401; $auth", 'not an origin, 401');
is(try('/same/list/404', "https://$app"), qq{404, [error] upgrade failed: $backend answered 404 to "/same/list/404", the path }
    . 'that the client asked for; correct the path in the client, or the URI in proxy_pass [backend-not-found]', 'not an origin, 404');
like(try('/status?405', "http://$app"), qr/^405, [^;]* it has no WebSocket there; correct the path/, 'not an origin, 405');

# What the lines say.
configure('proxy_set_header Host $http_host;', 'websocket_guard_forwarded host;', 'proxy_set_header X-Forwarded-Proto https;',
    'proxy_set_header Host $http_host;', '$http_host');
reload($t);
for my $status (400, 401, 403, 404) {
    is(try("/$status", "http://$app"), 101, "by hand, $status, Host");
    is(try("/auto/$status", "http://$app"), 101, "auto, $status, forwarded");
    is(try("/host/$status", "https://$app"), 101, "$status, the scheme");
    is(try("/domain/$status", "http://$app"), 101, "a domain, $status, Host");
    is(try("/own/$status", "http://$app"), 101, "a Host of its own, $status, Host");
}

# Nothing but the Host: a proxy in front that ends TLS says so itself.
is(try('/auto/403', "https://$app", 'X-Forwarded-Proto: https'), 101, 'auto, X-Forwarded-Proto as it came');
configure('', 'proxy_set_header Host $http_host;', '');
reload($t);
is(try('/auto/403', "http://$app"), 101, 'auto, Host by hand');

# Besides, other things than an origin.
is(try('/same/403', "https://$app"), 101, 'all the same');
is(try('/ws', "http://$app"), 101, 'a backend that does not compare');

sub configure {
    my ($headers, $auto, $proto, $domain, $own) = @_;
    my $text = $conf =~ s/HEADERS/$headers/r =~ s/DOMAIN/$domain \/\/ ''/er =~ s/OWN/$own \/\/ 'puma.internal'/er;
    $text =~ s/websocket_guard_forwarded +off;\n// if $auto;
    $t->write_file_expand('nginx.conf', $text =~ s/AUTO/$auto/r);
    $t->write_file('proto.conf', $proto);
}

sub try {
    my ($path, $origin, @headers) = @_;
    return outcome($t, path => $path, origin => $origin, authority => $app, headers => \@headers);
}

sub line {
    my ($status, $rest) = @_;
    return "$status, [error] upgrade failed: $backend answered $status: $rest [backend-origin]";
}
