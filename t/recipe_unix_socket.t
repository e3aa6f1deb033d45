#!/usr/bin/perl

# docs/recipes.md, a Unix socket: what reaches the backend, and what the log says of a socket that is forbidden, absent
# or deserted.

use strict;
use warnings;

use IO::Socket::UNIX;
use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Recipe;

my $t = Test::Nginx->new()->has(qw/ http proxy unix /)->plan(10);

my ($recipe, $forbidden, $gone) = blocks('docs/recipes.md', 'A Unix socket');
my ($absent, $deserted) = split /\n/, $gone;
my $dir = $t->testdir;
my @addresses = ('listen 80;' => 'listen 127.0.0.1:8080;', '/run/app' => $dir);

write_recipe($t, $recipe, @addresses);
is(silent_test($t), '', 'nginx -t is silent');

my $listener = IO::Socket::UNIX->new(Local => "$dir/app.sock", Listen => 16) or die "app.sock: $!\n";
$t->run_daemon(\&websocket_backend, $t, 8081, listener => $listener);
close $listener;
$t->run();

# The workers of an nginx that root has started are others.
chmod 0600, "$dir/app.sock";
is($> == 0 ? said() : as_printed($t, $forbidden, @addresses), as_printed($t, $forbidden, @addresses), 'forbidden');
chmod 0666, "$dir/app.sock";

is(websocket(path => '/ws/', authority => 'app.example.com')->echo('hello'), 'hello', 'allowed');
my ($seen) = requests_seen($t, 8081);
is($seen->header('Host'), 'app.example.com', 'the Host of the client');

write_recipe($t, put($recipe, 'app.sock;' => 'app.sock:/path/;'), @addresses);
is(silent_test($t), '', 'with a URI: nginx -t is silent');
ok(reload($t), 'with a URI: reloaded');
is(websocket(path => '/ws/chat')->echo('hello'), 'hello', 'with a URI');
($seen) = reverse requests_seen($t, 8081);
is($seen->uri, '/path/chat', 'with a URI: as the backend sees it');

write_recipe($t, $recipe, '/run/app/' => "$dir/none/", 'listen 80;' => 'listen 127.0.0.1:8080;');
reload($t);
is(said(), as_printed($t, $absent, '/run/app/' => "$dir/none/"), 'absent');

IO::Socket::UNIX->new(Local => "$dir/deserted.sock", Listen => 1) or die "deserted.sock: $!\n";
chmod 0666, "$dir/deserted.sock";
write_recipe($t, $recipe, '/run/app/app' => "$dir/deserted", 'listen 80;' => 'listen 127.0.0.1:8080;');
reload($t);
is(said(), as_printed($t, $deserted, '/run/app/app' => "$dir/deserted"), 'deserted');

sub said {
    my $since = log_size($t);
    websocket(path => '/ws/');
    wait_until(sub { run_time_log($t, 'error', since => $since) }, 5);
    return join "\n", map { s/, client: .*//r } run_time_log($t, 'error', since => $since);
}
