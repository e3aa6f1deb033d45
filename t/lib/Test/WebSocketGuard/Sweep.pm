package Test::WebSocketGuard::Sweep;

# The product of what a client sends, where nginx takes it, and what the backend answers: a configuration with a
# location for each kind of place, cases drawn from the product, and what must not happen in any of them.

use strict;
use warnings;

use JSON::PP ();
use List::Util qw/ max shuffle /;
use POSIX ();
use Test::WebSocketGuard;
use Test::WebSocketGuard::Backend;
use Test::WebSocketGuard::Sweep::Backend;
use Test::WebSocketGuard::Sweep::Client;
use Time::HiRes qw/ sleep time /;

# ---- the dimensions ------------------------------------------------------------------------------

my @PLACES = qw/ plain error error-uri retry cache-miss cache-hit cache-expired ssi ssi-all slice auth mirror post
    post-named accel if named filters addition rate /;

# hand and check forward the upgrade by hand.
my @MODES = qw/ off hand check auto on lenient /;

# Those whose product "make stress" goes through...
my @PRODUCT = (
    mode    => \@MODES,
    place   => \@PLACES,
    request => [qw/ held streamed /],
    body    => [qw/ none once pieces chunked chunked-pieces /],
    client  => [qw/ close keepalive pipelined h2 leaves /],
    backend => [Test::WebSocketGuard::Sweep::Backend::answers()],
);

# ...and those that each case draws. The side is whatever is asked besides: the second server, a subrequest, an error
# page, the target of X-Accel-Redirect.
my @DRAWN = (
    answer    => [qw/ held passed /],
    buffer    => [qw/ small big /],
    kind      => ['ws', 'ws', Test::WebSocketGuard::Sweep::Client::kinds()],
    side      => [200, 200, qw/ 101 bad-accept 401 404 close-before reset-before late big-header no-status no-status-big silent /],
    variables => [qw/ none logged added sent /],
    waits     => [0, 1],
    end       => [qw/ close reset wait /],
);

my %VALUES = (@PRODUCT, @DRAWN);
my @NAMES = map { my $dimensions = $_; map { $dimensions->[2 * $_] } 0 .. $#$dimensions / 2 } \@PRODUCT, \@DRAWN;

sub product_size {
    my $size = 1;
    $size *= @{ $PRODUCT[2 * $_ + 1] } for 0 .. $#PRODUCT / 2;
    return $size;
}

# ---- the configuration ---------------------------------------------------------------------------

my %MODE = (
    off     => '',
    hand    => '',
    check   => 'websocket_guard check;',
    auto    => 'websocket_guard auto;',
    on      => 'websocket_guard on;',
    lenient => 'websocket_guard on; websocket_guard_handshake lenient;',
);

my $FORWARD = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;';
my $ALWAYS  = 'proxy_set_header X-Sweep $request_uri; proxy_set_header X-Reason $reason_sent;';

sub configuration {
    my ($t) = @_;
    my ($http2, $listen) = $t->has_version('1.25.1') ? ('http2 on;', '') : ('', ' http2');
    my $locations = join '', map { _locations($_) } _settings();
    return <<"EOC";

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
    worker_connections  1000;
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log   %%TESTDIR%%/sweep.log info;
    access_log  off;

    websocket_guard_ignore short-read-timeout low-send-timeout subrequest-upgrade lb-no-affinity cache-on;

    log_format  sweep "\$number \$status [\$websocket_guard] \$websocket_guard_reason";

    keepalive_requests     100000;
    keepalive_timeout      2s;
    lingering_timeout      1s;
    client_body_timeout    3s;
    client_header_timeout  3s;
    client_max_body_size   100k;
    send_timeout           3s;
    variables_hash_max_size     2048;
    proxy_headers_hash_max_size 2048;

    proxy_cache_path  %%TESTDIR%%/cache levels=1:2 keys_zone=sweep:20m inactive=20s;

    $ALWAYS

    map \$request_uri \$number { "~[?&]n=(?<n>\\w+)" \$n; }
    map \$request_uri \$variables { "~[?&]v=(?<v>\\w+)" \$v; }
    map \$variables \$logged { none 0; default 1; }
    map \$variables \$reason_added { added "\$websocket_guard \$websocket_guard_reason"; }
    map \$variables \$reason_sent { sent "\$websocket_guard \$websocket_guard_reason"; }
    map \$http_upgrade \$connection_upgrade { default upgrade; "" close; }

    upstream pair {
        server  127.0.0.1:8081 max_fails=0;
        server  127.0.0.1:8082 max_fails=0;
    }

    server {
        listen       127.0.0.1:8080 backlog=1024;
        listen       127.0.0.1:8090$listen backlog=1024;
        server_name  localhost;
        $http2

        access_log  %%TESTDIR%%/sweep-access.log sweep if=\$logged;
        add_header  X-Reason \$reason_added always;

$locations
        location = /status {
            stub_status;
        }
    }
}
EOC
}

# What a location is set to: its mode, the buffer for the header, how requests and answers are passed.
sub _settings {
    my @all;
    for my $mode (@MODES) {
        for my $buffer (qw/ small big /) {
            for my $request (qw/ held streamed /) {
                push @all, map {"$mode-$buffer-$request-$_"} qw/ held passed /;
            }
        }
    }
    return @all;
}

sub _locations {
    my ($name) = @_;
    my ($mode, $buffer, $request, $answer) = split /-/, $name;
    my $forward = $mode =~ /^(?:hand|check)$/;
    my $common = join ' ', $MODE{$mode}, $forward ? "$FORWARD $ALWAYS" : (),
        $buffer eq 'big' ? 'proxy_buffer_size 256k; proxy_buffers 4 256k; proxy_busy_buffers_size 256k;' : (),
        $request eq 'streamed' ? 'proxy_request_buffering off;' : (), $answer eq 'passed' ? 'proxy_buffering off;' : (),
        'proxy_read_timeout 1s; proxy_send_timeout 1s; proxy_connect_timeout 2s;';
    my $proxied = "$common proxy_pass http://127.0.0.1:8081;";
    my $side    = "$common proxy_pass http://127.0.0.1:8082;";
    my $errors  = 'proxy_intercept_errors on; error_page 400 401 403 404 413 426 500 502 503 504 =';
    my %place = (
        plain        => $proxied,
        error        => "$proxied $errors \@error-$name;",
        'error-uri'  => "$proxied $errors /_error/$name/;",
        retry        => "$common proxy_pass http://pair; proxy_next_upstream error timeout invalid_header http_500 http_503 "
            . 'http_403 http_404 non_idempotent;',
        cache        => "$proxied proxy_cache sweep; proxy_cache_key \$number; proxy_cache_valid 200 301 302 404 1m; proxy_cache_lock on; "
            . 'proxy_cache_use_stale error timeout invalid_header updating http_500 http_503 http_403 http_404; '
            . 'proxy_cache_background_update on; proxy_cache_revalidate on; proxy_cache_methods GET HEAD POST;',
        ssi          => "$proxied ssi on;",
        'ssi-all'    => "$proxied ssi on; ssi_types *;",
        slice        => ($forward ? '' : $ALWAYS) . " $proxied slice 100; proxy_set_header Range \$slice_range;",
        auth         => "$proxied auth_request /_auth/$name/;",
        mirror       => "$proxied mirror /_side/$name/;",
        post         => "$proxied post_action /_side/$name/;",
        'post-named' => "$proxied post_action \@error-$name;",
        accel        => $proxied,
        if           => "$proxied if (\$http_upgrade) { proxy_pass http://127.0.0.1:8081; }",
        named        => "try_files /none \@named-$name;",
        filters      => "$proxied gzip on; gzip_types *; gzip_min_length 1; sub_filter line LINE; sub_filter_types *;",
        addition     => "$proxied add_before_body /_ssi/$name/; addition_types *;",
        rate         => "$proxied limit_rate 100k;",
    );
    my %location = (
        (map { ("/$name/$_/" => $place{$_}) } keys %place),
        "\@error-$name"    => $side,
        "\@named-$name"    => $proxied,
        "/_error/$name/"   => "internal; $side",
        "/_side/$name/"    => "internal; $side",
        "/_ssi/$name/"     => "internal; $side",
        "/_accel/$name/"   => "internal; $side",
        "/_auth/$name/"    => "internal; $side proxy_pass_request_body off; proxy_set_header Content-Length '';"
            . ($forward ? '' : $ALWAYS),
    );
    return join '', map {"location $_ { $location{$_} }\n"} sort keys %location;
}

# ---- the cases -----------------------------------------------------------------------------------

# An endless row of cases. In a product each one differs from those before in the first dimensions, until all have been;
# what is drawn comes from a pack of cards for each dimension, so that all values come equally often.
sub draw {
    my ($seed) = @_;
    my %self = (pack => {}, number => 0, order => undef);
    srand $seed;
    return bless \%self, __PACKAGE__;
}

sub _card {
    my ($self, $name) = @_;
    $self->{pack}{$name} = [shuffle @{ $VALUES{$name} }] if !@{ $self->{pack}{$name} // [] };
    return shift @{ $self->{pack}{$name} };
}

sub next_case {
    my ($self, $whole) = @_;
    my %case = map { $_ => $self->_card($_) } @NAMES;
    if ($whole) {
        $self->{order} //= _permutation(product_size());
        my $index = $self->{order}->() // return;
        for (0 .. $#PRODUCT / 2) {
            my $values = $PRODUCT[2 * $_ + 1];
            $case{ $PRODUCT[2 * $_] } = $values->[$index % @$values];
            $index = int $index / @$values;
        }
    }
    return $self->_finished(\%case);
}

sub _finished {
    my ($self, $case) = @_;
    _spare_nginx($case);
    $case->{number} = ++$self->{number};
    my $settings = "$case->{mode}-$case->{buffer}-$case->{request}-$case->{answer}";
    $case->{place_uri} = "/$settings/" . $case->{place} =~ s/^cache-.*/cache/r . '/';
    return $case;
}

# All numbers below the size, each once, in an order that looks like none, without a table of them.
sub _permutation {
    my ($size) = @_;
    my $step = int($size * 0.618) | 1;
    $step += 2 while _gcd($step, $size) > 1;
    my ($at, $left) = (int rand $size, $size);
    return sub {
        return if $left-- <= 0;
        return $at = ($at + $step) % $size;
    };
}

sub _gcd { my ($one, $other) = @_; ($one, $other) = ($other, $one % $other) while $other; return $one }

sub describe {
    my ($case) = @_;
    return join ' ', map {"$_=$case->{$_}"} @NAMES;
}

# What nginx itself does wrong without the guard is not looked for: the case is changed into one next to it.
sub _spare_nginx {
    my ($case) = @_;

    # A post_action that fails deletes the timer that a limit on the rate has set (ngx_http_finalize_request): "delayed" stays, and
    # the next request of the connection is never answered.
    $case->{backend} = '101' if $case->{place} =~ /^post/ && $case->{backend} =~ /^switch-rate/;

    # nginx still reads, to throw it away, the body of a request that was refused when a post_action runs it again; a timer of
    # that reading then ends a request that is ended by what it ends (ngx_http_discarded_request_body_handler).
    $case->{body} =~ s/(?:-|^)pieces// if $case->{place} =~ /^post/;
    $case->{body} ||= 'once';

    # A limit on the rate stays with the request: what else answers it has to be short, or is only slow.
    $case->{side} = 200 if $case->{place} =~ /^(?:error|accel)/ && $case->{backend} =~ /^switch-rate/;

    my $upgrade = $case->{kind} !~ /^(?:plain|key)$/;
    my $switch  = grep { Test::WebSocketGuard::Sweep::Backend::switches($_) } @$case{qw/ backend side /};
    my $guarded = $case->{mode} =~ /^(?:auto|on|lenient)$/;
    return if !$upgrade || !$switch;

    # Before 1.31.0 nginx makes a tunnel of an HTTP/2 stream if a client sends Upgrade there, and adds a descriptor to epoll that
    # is there already: an alert, and a stream that hangs. Guarded locations refuse that.
    $case->{kind} = 'key' if $case->{client} eq 'h2' && !$guarded;

    # nginx's own loop in a tunnel forgets what a limit on the rate has kept back.
    if (!$guarded || ($ENV{TEST_NGINX_GLOBALS_HTTP} // '') =~ /websocket_guard_tunnel native/) {
        $case->{place}   = 'plain' if $case->{place} eq 'rate';
        $case->{backend} = '101'   if $case->{backend} =~ /^switch-rate/;
    }
}

# The case that describe wrote.
sub parse {
    my ($self, $text) = @_;
    my %given = map { split /=/, $_, 2 } split ' ', $text;
    return $self->_finished({ (map { $_ => $VALUES{$_}[0] } @NAMES), %given });
}

# ---- the run -------------------------------------------------------------------------------------

sub start {
    my ($t) = @_;
    my %listeners = map { ($_->[0] => Test::WebSocketGuard::Backend::listener($_->[1])) } [b => 8081], [s => 8082];
    $t->run_daemon(\&Test::WebSocketGuard::Sweep::Backend::serve, %listeners);
    close $_ for values %listeners;
    $t->run;
    wait_until(sub { worker_pids($t) == 2 }, 10) or die "no workers\n";
}

# Plays the cases in several processes. What failed, as [sentence, case].
sub play {
    my ($t, $cases, %options) = @_;
    my $processes = $options{processes} // 2;
    my @before = sort { $a <=> $b } worker_pids($t);
    my $errors = log_size($t);

    my %case = map { $_->{number} => $_ } @$cases;
    my @results = _in_processes($t, $processes, $options{together} // 60, $cases);
    my @wrong = map { [$_->[1], $case{ $_->[0] }] } grep { $_->[1] ne 'ok' } @results;

    my @open = _left_open($t, {map { ($_->[2] => $case{ $_->[0] }) } @results});
    push @wrong, @open;

    my @after = sort { $a <=> $b } worker_pids($t);
    my @deaths = _deaths($t, $errors);
    my $died = @deaths || "@before" ne "@after";
    push @wrong, _wrong_lines($t, \%case, $died);
    if ($died) {
        my %ways;
        $ways{$_}++ for @deaths;
        push @wrong, [join ', ', 'workers died', map {"$_ ($ways{$_} times)"} sort keys %ways];
        # Those that got no byte are suspects.
        push @wrong, map { ['alone it kills a worker', $_] } _culprits($t, map { $case{ $_->[0] } } grep { !$_->[3] } @results);
        wait_until(sub { worker_pids($t) == 2 }, 10);
        _wrong_lines($t, {}, 1);
    }
    return @wrong;
}

# In groups first, since few of them are guilty. What depends on the memory that others left behind may not show alone.
sub _culprits {
    my ($t, @suspects) = @_;
    my ($until, @found) = (time + 90);
    while (my @group = splice @suspects, 0, 25) {
        next unless _kills($t, \@group);
        for my $case (@group) {
            push @found, $case if grep { _kills($t, [$case]) } 1 .. 3;
        }
        last if time > $until || @found >= 20;
    }
    return @found;
}

sub _kills {
    my ($t, $cases) = @_;
    my $errors = log_size($t);
    _in_processes($t, 1, scalar @$cases, $cases);
    # nginx says it when it has seen it.
    sleep 0.02;
    return _deaths($t, $errors);
}

# How workers ended that were not told to, since that place in error.log.
sub _deaths {
    my ($t, $since) = @_;
    return substr($t->read_file('error.log'), $since) =~ /worker process \d+ (exited on signal \d+|exited with (?:fatal )?code [1-9]\d*)/g;
}

sub _in_processes {
    my ($t, $processes, $together, $cases) = @_;
    my @running;
    for my $process (0 .. $processes - 1) {
        my @mine = map { $cases->[$_] } grep { $_ % $processes == $process } 0 .. $#$cases;
        my $file = $t->testdir . "/results-$process";
        my $pid = fork() // die "fork: $!\n";
        if ($pid == 0) {
            my $results = eval { Test::WebSocketGuard::Sweep::Client::play(\@mine, $together) };
            warn $@ if $@;
            open my $out, '>', $file or POSIX::_exit(1);
            print $out JSON::PP::encode_json($results // []);
            close $out;
            POSIX::_exit($results ? 0 : 1);
        }
        push @running, [$pid, $file];
    }
    my @results;
    for (@running) {
        my ($pid, $file) = @$_;
        waitpid $pid, 0;
        $? == 0 or die "a client of the sweep failed\n";
        open my $in, '<', $file or die "$file: $!\n";
        local $/;
        push @results, @{ JSON::PP::decode_json(<$in>) };
    }
    return @results;
}

# All clients have gone: nothing of them may stay. Each connection that does, with the case that it belonged to.
sub _left_open {
    my ($t, $case_of_port) = @_;
    my %clients  = map { sprintf('%04X', Test::Nginx::port($_)) => 1 } 8080, 8090;
    my %backends = map { sprintf('%04X', Test::Nginx::port($_)) => 1 } 8081, 8082;
    my @left;
    my $none = wait_until(sub {
        @left = ();
        for my $line (split /\n/, Test::WebSocketGuard::_slurp('/proc/net/tcp')) {
            my ($local, $remote, $state) = $line =~ /^\s*\d+: \w+:(\w+) \w+:(\w+) (\w\w)/ or next;
            # Established (01), FIN_WAIT1 (04), CLOSE_WAIT (08), LAST_ACK (09)
            push @left, ['a connection stays open', $case_of_port->{ hex $remote }] if $clients{$local} && $state =~ /^0[1489]$/;
            push @left, ['a connection to the backend stays open'] if $backends{$remote} && $state eq '08';
        }
        return !@left;
    }, 20);
    return $none ? () : @left;
}

# At most one diagnosis for each attempt; and none that failed where a guard is without one. Nor an alert.
sub _wrong_lines {
    my ($t, $case, $died) = @_;
    my ($log, $access) = map { -e $t->testdir . "/$_" ? $t->read_file($_) : '' } qw/ sweep.log sweep-access.log /;
    truncate $t->testdir . "/$_", 0 for qw/ sweep.log sweep-access.log /;

    my (@wrong, %lines);
    for my $line (split /\n/, $log) {
        if ($line =~ /\[(?:alert|emerg)\]|Sanitizer|runtime error:/) {
            my ($number) = $line =~ /[?&]n=(\d+)/;
            push @wrong, [$line =~ s/^\S+ \S+ | \d+#\d+:| \*\d+|, client: .*| \(\d+, \d+\)//gr, $case->{ $number // '' }];
        }
        next unless $line =~ /websocket_guard: /;
        my ($number) = $line =~ /request: "[^"]*[?&]n=(\w+)/ or next;
        my ($name) = $line =~ / \[([\w-]+)\], client: / or next;
        next if $name =~ /^tunnel-/;
        push @{ $lines{$number} }, $name;
    }
    for my $number (keys %lines) {
        my $own = $case->{ $number =~ s/b$//r } or next;
        # What primes the cache has the same number.
        my $allowed = 1;
        push @wrong, ["lines: @{ $lines{$number} }", $own] if @{ $lines{$number} } > $allowed;
    }
    for my $line (split /\n/, $access) {
        my ($number, $status, $guard) = $line =~ /^(\d+) (\d+) \[(\S*)\]/ or next;
        my $own = $case->{$number} or next;
        next unless $own->{kind} =~ /^(?:ws|old|bare)$/ && $own->{mode} =~ /^(?:auto|on|lenient)$/;
        push @wrong, ["\$websocket_guard is empty, status $status", $own] if $guard eq '' && !$died;
        # A post_action has a status of its own, which takes the place of the first.
        push @wrong, ["\$websocket_guard is \"$guard\", status $status", $own]
            if $guard eq 'upgraded' && $status != 101 && $own->{place} !~ /^post/;
    }
    return @wrong;
}

# ---- what was covered ----------------------------------------------------------------------------

# How many values, pairs and triples of the dimensions of the product there were.
sub covered {
    my ($seen, $case) = @_;
    my @parts = map {"$_=$case->{$_}"} @NAMES;
    for my $one (0 .. $#parts) {
        $seen->{1}{ $parts[$one] } = 1;
        for my $two ($one + 1 .. $#parts) {
            $seen->{2}{"$parts[$one] $parts[$two]"} = 1;
        }
    }
    for my $one (0 .. 3) {
        for my $two ($one + 1 .. 4) {
            $seen->{3}{"$parts[$one] $parts[$two] $parts[$_]"} = 1 for $two + 1 .. 5;
        }
    }
}

sub coverage {
    my ($seen) = @_;
    my @sizes = map { my %different = map { $_ => 1 } @{ $VALUES{$_} }; scalar keys %different } @NAMES;
    my %all;
    for my $one (0 .. $#sizes) {
        $all{1} += $sizes[$one];
        for my $two ($one + 1 .. $#sizes) {
            $all{2} += $sizes[$one] * $sizes[$two];
            next if $two > 5;
            $all{3} += $sizes[$one] * $sizes[$two] * $sizes[$_] for $two + 1 .. 5;
        }
    }
    return map { [scalar keys %{ $seen->{$_} // {} }, $all{$_}] } 1 .. 3;
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Sweep - the product of clients, places and backends

=cut
