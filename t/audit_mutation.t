#!/usr/bin/perl

# The other way round: the right configurations of the corpus are damaged, one line at a time, and the
# audit must name each damage.
#
# A mutant is a copy of a server, with its own copy of the map, upstream or included file that was damaged.
# All mutants of a configuration are in one nginx.conf, and are told apart by the lines of the findings.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Corpus;

my $t = Test::Nginx->new()->has(qw/ http http_ssl http_v2 proxy uwsgi fastcgi map auth_request cache limit_conn unix /);

my $default_version = $t->has_version('1.29.7') ? '1.1' : '1.0';

my $header = sub { my ($name) = @_; return qr/^\s*proxy_set_header\s+$name\s/ };
my $version = qr/^\s*proxy_http_version\s/;
my $timeout = qr/^\s*(?:proxy_read_timeout|websocket_guard_timeout)\s/;
my $pass    = qr/^\s*proxy_pass\s/;

# What is done, in which forms, what comes of each line that matches, and the names of which one is
# expected. What is "hand" has no mark, only a recipe.

my @changes = (
    ['no Upgrade',             [qw/ check /],                    $header->('Upgrade'),     '', qw/ missing-upgrade headers-dropped /],
    ['no Connection',          [qw/ check hand /],               $header->('Connection'),  '', qw/ missing-connection headers-dropped /],
    ['no Host',                [qw/ check hand auto /],          $header->('Host'),        '', qw/ host-not-forwarded headers-dropped /],
    ['Upgrade cleared',        [qw/ check /],                    $header->('Upgrade'),     'proxy_set_header Upgrade "";', 'upgrade-wrong'],
    ['Upgrade without dollar', [qw/ check hand /],               $header->('Upgrade'),     'proxy_set_header Upgrade http_upgrade;', 'upgrade-wrong'],
    ['Upgrade constant',       [qw/ check hand /],               $header->('Upgrade'),     'proxy_set_header Upgrade websocket;', 'upgrade-hardcoded'],
    ['Connection cleared',     [qw/ check hand /],               $header->('Connection'),  'proxy_set_header Connection "";', 'connection-wrong'],
    ['Connection close',       [qw/ check hand /],               $header->('Connection'),  'proxy_set_header Connection close;', 'connection-wrong'],
    ['Connection keep-alive',  [qw/ check hand /],               $header->('Connection'),  'proxy_set_header Connection keep-alive;', 'connection-wrong'],
    ['no HTTP version',        [qw/ check hand /],               $version,                 '', 'http10-upstream'],
    ['HTTP/1.0',               [qw/ check hand /],               $version,                 'proxy_http_version 1.0;', 'http10-upstream'],
    ['no timeout',             [qw/ check hand /],               $timeout,                 '', 'short-read-timeout'],
    ['short timeout',          [qw/ check hand /],               $timeout,                 'proxy_read_timeout 30s;', 'short-read-timeout'],
    ['map misspelt',           [qw/ check hand /],               qr/^\s*default [Uu]pgrade;/, 'default upgarde;', 'connection-wrong'],
    ['map without default',    [qw/ check hand /],               qr/^\s*default [Uu]pgrade;/, '', 'connection-wrong'],
    ['no affinity',            [qw/ check hand on auto /],       qr/^\s*(?:ip_hash|hash)\b/, '', 'lb-no-affinity'],
    ['max_conns',              [qw/ check hand on auto /],       qr/^(\s*server [^{;]*\d)(?=[; ])/, sub {"$_[0] max_conns=9$_[1]"}, 'max-conns'],
    ['no resolver',            [qw/ check hand on auto /],       qr/^\s*resolver\s/,       '', 'resolver-missing'],
    ['no SNI',                 [qw/ check hand on auto /],       qr/^\s*proxy_ssl_server_name\s/, '', 'tls-sni-missing'],
    ['no cache bypass',        [qw/ check hand /],               qr/^\s*proxy_cache_bypass\s/, '', 'cache-on'],
);

# Lines that are put into the marked location, in place of its own that match.

my $key  = 'proxy_set_header Sec-WebSocket-Key "";';
my @added = (
    ['no proxy_pass',          [qw/ check on auto /],            $pass,                    '', 'no-proxy'],
    ['fastcgi_pass',           [qw/ check on auto /],            $pass,                    'fastcgi_pass 127.0.0.1:9000;', 'no-proxy'],
    ['return',                 [qw/ check on auto /],            undef,                    'return 410;', 'no-proxy'],
    ['redirect',               [qw/ check on auto /],            undef,                    'return 301 https://$host$request_uri;', 'redirect-in-location'],
    ['rewrite',                [qw/ check on auto /],            undef,                    'rewrite ^ /elsewhere last;', 'rewrite-leaves-location'],
    ['own list',               [qw/ check /],                    undef,                    'proxy_set_header X-Real-IP $remote_addr;', 'headers-dropped'],
    ['own Connection',         [qw/ on auto /],                  $header->('Connection'),  'proxy_set_header Connection keep-alive;', 'connection-wrong'],
    ['own Connection, mixed',  [qw/ on auto /],                  $header->('Connection'),  'proxy_set_header Connection close; proxy_set_header Connection keep-alive;', 'connection-wrong'],
    ['own Upgrade',            [qw/ on auto /],                  $header->('Upgrade'),     'proxy_set_header Upgrade "";', 'upgrade-wrong'],
    ['own HTTP/1.0',           [qw/ on auto /],                  $version,                 'proxy_http_version 1.0;', 'http10-upstream'],
    ['own timeout',            [qw/ on auto /],                  $timeout,                 'proxy_read_timeout 30s;', 'short-read-timeout'],
    ['key cleared',            [qw/ check hand on auto /],       undef,                    $key, 'sec-header-cleared'],
    ['header twice',           [qw/ check hand on auto /],       undef,                    'proxy_set_header X-A a; proxy_set_header X-A b;', 'duplicate-header'],
    ['no request headers',     [qw/ check hand on auto /],       undef,                    'proxy_pass_request_headers off;', 'pass-headers-off'],
    ['POST',                   [qw/ check hand on auto /],       undef,                    'proxy_method POST;', 'proxy-method'],
    ['hidden Upgrade',         [qw/ check hand on auto /],       undef,                    'proxy_hide_header Upgrade;', 'hidden-response-header'],
    ['hidden Accept',          [qw/ check hand on auto /],       undef,                    'proxy_hide_header Sec-WebSocket-Accept;', 'hidden-response-header'],
    ['intercepted errors',     [qw/ check hand on auto /],       undef,                    'proxy_intercept_errors on; error_page 500 /x;', 'intercept-errors'],
    ['origin',                 [qw/ check hand /],               undef,                    'websocket_guard_origin same;', 'unused-directive'],
    ['low send_timeout',       [qw/ check hand on auto /],       qr/^\s*send_timeout\s/,   'send_timeout 5s;', 'low-send-timeout'],
    ['limit_conn',             [qw/ check hand on auto /],       undef,                    'limit_conn mutants 9;', 'limit-conn'],
    ['limits let go',          [qw/ on auto /],                  undef,                    'websocket_guard_tunnel pump; websocket_guard_max_message 1m; websocket_guard_frames check;', 'limits-let-go'],
);

# Survivors that are none of the audit's business.

my %excused = (
    'sharded-rooms' => { 'max_conns' => 'only plain requests go there' },
);

my $corpus = corpus('correct');
my (@jobs, @job_mutants);
for my $name (sort keys %$corpus) {
    for my $form (qw/ hand check on auto /) {
        add_jobs($name, $form);
    }
}

$t->plan(2);

my @results = audit_confs($t, @jobs);
my ($all, $detected, @broken, @survivors, %sound) = (0, 0);
for my $i (0 .. $#jobs) {
    my $result = $results[$i];
    push @broken, $result->{output} unless $result->{ok};
    for my $mutant (@{ $job_mutants[$i] }) {
        # What is said about the sound configuration as well does not tell of the damage.
        $sound{"$mutant->{conf}, $mutant->{form}"} //=
            [map { $_->{name} } grep { $_->{file} eq 'nginx.conf' && $_->{line} < $mutant->{first} } @{ $result->{reports} }];
        $all++;
        my %found = map { $_->{name} => 1 } grep { belongs_to($_, $mutant) } @{ $result->{reports} };
        delete @found{ @{ $sound{"$mutant->{conf}, $mutant->{form}"} } };
        if (grep { $found{$_} } @{ $mutant->{expected} }) {
            $detected++;
        } elsif (my $excuse = $excused{ $mutant->{conf} }{ $mutant->{change} }) {
            $all--;
            note("survived: $mutant->{title}: $excuse");
        } else {
            push @survivors, "$mutant->{title}: not @{ $mutant->{expected} }, but " . join(' ', sort keys %found);
        }
    }
}

is(join("\n", @broken), '', 'nginx reads all of them');
diag(sprintf 'mutation: %d of %d detected (%.1f%%), %d others change nothing', $detected, $all, 100 * $detected / ($all || 1), equivalent());
is(join("\n", @survivors), '', 'each damage is named');

# ---- mutants -------------------------------------------------------------------------------------

# All mutants of one configuration in one form, as few jobs as will do.
sub add_jobs {
    my ($name, $form) = @_;
    my $job  = conf_in_form($corpus->{$name}, $form);
    my $conf = dissect($corpus->{$name}, $job);
    my @mutants;

    # One line damaged, on which the title ends; where it is in a marked location, only that one counts.
    my $add = sub {
        my ($change, $piece, $lines, $line, $location) = @_;
        my ($what, undef, undef, undef, @expected) = @$change;
        my $title = "$name, $form, $what, " . $piece->{lines}[$line] =~ s/^\s+//r;
        my @pieces = map { $_ == $piece ? { %$piece, lines => $lines } : $_ } @{ $conf->{pieces} };
        push @mutants, { change => $what, form => $form, conf => $name, expected => \@expected, title => $title,
            was => $conf, now => { pieces => \@pieces }, piece => $piece, location => $location };
    };

    for my $change (grep { in_form($_, $form) } @changes) {
        my (undef, undef, $pattern, $text) = @$change;
        for my $piece (grep { $_->{kind} ne 'server' || @{ $_->{marked} } } @{ $conf->{pieces} }) {
            for my $i (grep { $piece->{lines}[$_] =~ $pattern } 0 .. $#{ $piece->{lines} }) {
                my @lines = @{ $piece->{lines} };
                $lines[$i] =~ s/$pattern(?<rest>.*)/ref $text ? $text->($1, $+{rest}) : $text/e;
                $add->($change, $piece, \@lines, $i);
            }
        }
    }

    for my $piece (grep { $_->{kind} eq 'server' } @{ $conf->{pieces} }) {
        for my $location (@{ $piece->{marked} }) {
            for my $change (grep { in_form($_, $form) } @added) {
                my (undef, undef, $pattern, $text) = @$change;
                my @lines = @{ $piece->{lines} };
                for my $own (direct(\@lines, $location)) {
                    $lines[$own] = '' if defined $pattern && $lines[$own] =~ $pattern;
                }
                $lines[$location] .= " $text";
                # Not even a `location /` with the recipe helps those who are sent there.
                $lines[0] .= ' location = /elsewhere { return 404; }' if $text =~ m!/elsewhere!;
                $add->($change, $piece, \@lines, $location, $location);
            }

            # A regular expression goes before a plain prefix.
            my ($prefix) = $piece->{lines}[$location] =~ /location (\/\S*) \{/ or next;
            my @lines = @{ $piece->{lines} };
            $lines[0] .= " location ~ ^\Q$prefix\E { root /srv/www; }";
            $add->(['regex', undef, undef, undef, 'regex-shadowed'], $piece, \@lines, $location, $location);
        }
    }

    @mutants = grep { changes_something($_) } @mutants;
    my @together = grep { !stands_alone($_) } @mutants;
    my $body = "limit_conn_zone \$binary_remote_addr zone=mutants:64k;\n$job->{body}";
    my %files = %{ $job->{files} // {} };
    for my $number (0 .. $#together) {
        my $mutant = $together[$number];
        my ($copy, $more_files) = copy_of($mutant, $number);
        $mutant->{file}  = (keys %$more_files)[0];
        $mutant->{first} = 1 + ($body =~ tr/\n//);
        $body .= $copy;
        $mutant->{last} = $body =~ tr/\n//;
        %files = (%files, %$more_files);
    }
    push @jobs, { %$job, body => $body, files => \%files };
    push @job_mutants, \@together;

    for my $mutant (grep { stands_alone($_) } @mutants) {
        push @jobs, { %$job, body => join '', map {"$_\n"} map { @{ $_->{lines} } }
            grep { $_->{kind} ne 'file' } @{ $mutant->{now}{pieces} } };
        push @job_mutants, [$mutant];
    }
}

# What stands in http {}, or is used there or by an included file, is there for all.
sub stands_alone {
    my ($mutant) = @_;
    my $piece = $mutant->{piece};
    return 1 if $piece->{kind} eq 'line';
    return $piece->{kind} =~ /^(?:map|upstream)$/ && !grep {/\Q$piece->{name}\E\b/}
        map { @{ $_->{lines} } } grep { $_->{kind} eq 'server' } @{ $mutant->{was}{pieces} };
}

sub in_form { my ($change, $form) = @_; return grep { $_ eq $form } @{ $change->[1] } }

# A configuration as its blocks, its other lines and its included files. Marked are the first lines of
# the locations in which the guard's line stands.
sub dissect {
    my ($template, $job) = @_;
    my @lines = split /\n/, $job->{body}, -1;
    my (@pieces, $block, $depth);
    for my $i (0 .. $#lines) {
        if (!$block && $lines[$i] =~ /^(map|upstream|server)\b(.*)\{$/) {
            my @words = split ' ', $2;
            push @pieces, $block = { kind => $1, name => $words[-1], lines => [], marked => [], from => $i };
            $depth = 0;
        }
        if (!$block) {
            push @pieces, { kind => 'line', lines => [$lines[$i]] } if $lines[$i] =~ /\S/;
            next;
        }
        push @{ $block->{lines} }, $lines[$i];
        if (($template->[$i] // '') =~ /^\s*#\[on$/) {
            push @{ $block->{marked} }, (enclosing($block->{lines}, $i - $block->{from}))[0];
        }
        undef $block unless $depth += braces($lines[$i]);
    }
    my $files = $job->{files} // {};
    push @pieces, map { { kind => 'file', name => $_, lines => $files->{$_} } } sort keys %$files;
    return { pieces => \@pieces };
}

sub braces { my ($line) = @_; return ($line =~ tr/{//) - ($line =~ tr/}//) }

# The first lines of the blocks around a line, from the inside.
sub enclosing {
    my ($lines, $i) = @_;
    my ($depth, @around) = 0;
    for my $j (reverse 0 .. $i - 1) {
        $depth += braces($lines->[$j]);
        next if $depth < 1;
        push @around, $j;
        $depth = 0;
    }
    return @around;
}

# The numbers of the lines that stand in a block, but not in a block of that.
sub direct {
    my ($lines, $first) = @_;
    my ($depth, @direct) = 1;
    for my $i ($first + 1 .. $#$lines) {
        push @direct, $i if $depth == 1 && !braces($lines->[$i]);
        $depth += braces($lines->[$i]);
        last if $depth < 1;
    }
    return @direct;
}

# The servers of a mutant under new names, with the piece that is damaged.
sub copy_of {
    my ($mutant, $number) = @_;
    my ($piece) = grep { my $new = $_; !grep { $_ == $new } @{ $mutant->{was}{pieces} } } @{ $mutant->{now}{pieces} };
    my @servers = $piece->{kind} eq 'server' ? $piece : grep { $_->{kind} eq 'server' && @{ $_->{marked} } } @{ $mutant->{now}{pieces} };
    my $text = '';
    for my $server (@servers) {
        my $copy = join '', map {"$_\n"} @{ $server->{lines} };
        $copy =~ s/^(\s*server_name\s+)[^;]+/$1$number.mutant/m;
        $copy =~ s/^(\s*listen .*) default_server/$1/mg;
        $text .= $copy;
    }
    return ($text, {}) if $piece->{kind} eq 'server';

    my ($name, $before) = ($piece->{name}, $piece->{kind} eq 'upstream' ? '://' : '');
    my $new_name = $name =~ s/(\.conf|)$/_$number$1/r;
    $text =~ s/\Q$before$name\E(?!\w)/$before$new_name/g;
    return ($text, { $new_name => $piece->{lines} }) if $piece->{kind} eq 'file';

    my $copy = join '', map {"$_\n"} @{ $piece->{lines} };
    $copy =~ s/\Q$name\E(?=\s*\{)/$new_name/;
    $copy =~ s/\bzone=?\s*\K\Q$name\E/$new_name/;
    return ($copy . $text, {});
}

sub belongs_to {
    my ($report, $mutant) = @_;
    return 1 if stands_alone($mutant) || defined $mutant->{file} && $report->{file} eq $mutant->{file};
    return $report->{file} eq 'nginx.conf' && $report->{line} >= $mutant->{first} && $report->{line} <= $mutant->{last};
}

# ---- what nginx makes of it ----------------------------------------------------------------------

# Some damages are none: the line is set once more above, or below, or is nginx's default.
my $equivalent;
sub equivalent { return $equivalent // 0 }

sub changes_something {
    my ($mutant) = @_;
    my ($was, $now) = @$mutant{qw/ was now /};
    for my $server (grep { $_->{kind} eq 'server' } @{ $was->{pieces} }) {
        my ($mutated) = grep { $_->{kind} eq 'server' && $_->{from} == $server->{from} } @{ $now->{pieces} };
        for my $location (@{ $server->{marked} }) {
            next if defined $mutant->{location} && ($server != $mutant->{piece} || $location != $mutant->{location});
            # Without a mark it is a recipe that makes a location one for WebSocket.
            next if $mutant->{form} eq 'hand' && !has_own_recipe($now, $mutated, $location);
            return 1 if matters($mutant, $server, $mutated, $location);
        }
    }
    $equivalent++;
    return 0;
}

sub matters {
    my ($mutant, $server, $mutated, $location) = @_;
    my ($was, $now, $piece) = @$mutant{qw/ was now piece /};
    my ($change) = $mutant->{change};
    my ($target) = map { /proxy_pass (\S+);/ } @{ $server->{lines} }[direct($server->{lines}, $location)];
    if ($piece->{kind} eq 'upstream') {
        return 0 unless $target =~ m!://\$! || $target =~ m!://\Q$piece->{name}\E(?:[/:]|$)!;
        return $change ne 'no affinity' || 1 < grep { /^\s*server / && !/ (?:down|backup)/ } @{ $piece->{lines} };
    }
    if ($piece->{kind} eq 'map') {
        my $connection = settings($was, $server, $location)->{Connection} // '';
        return $connection eq $piece->{name};
    }
    return $target =~ /\$/ ? 1 : 0 if $change eq 'no resolver';
    return $target =~ m!^https://[a-z]! ? 1 : 0 if $change eq 'no SNI';
    return 1 if defined $mutant->{location} && $change ne 'own list';
    return 1 unless $change =~ /^(?:no Upgrade|no Connection|no Host|Upgrade|Connection|no HTTP|HTTP|no timeout|short timeout|own list)/;

    my ($before, $after) = map { settings(@$_) } [$was, $server, $location], [$now, $mutated, $location];
    return grep { $before->{$_} ne $after->{$_} } keys %$before;
}

sub has_own_recipe {
    my ($conf, $server, $location) = @_;
    my $upgrade = $header->('Upgrade');
    return grep { /$upgrade/ && !/""/ } own_lines($conf, $server->{lines}, $location);
}

# What is in force in a location, of what makes a WebSocket.
sub settings {
    my ($conf, $server, $location) = @_;
    my @levels = map { [own_lines($conf, $server->{lines}, $_)] } $location, enclosing($server->{lines}, $location);
    push @levels, [map { @{ $_->{lines} } } grep { $_->{kind} eq 'line' } @{ $conf->{pieces} }];

    my ($http)    = map { map { /^\s*proxy_http_version ([^;]+)/ } @$_ } @levels;
    my ($seconds) = map { map { /^\s*proxy_read_timeout ([^;]+)/ ? seconds($1) : () } @$_ } @levels;
    my ($headers) = grep {@$_} map { [map { /^\s*proxy_set_header\s+(\S+)\s+"?([^";]*)/ ? [$1, $2] : () } @$_] } @levels;
    my %headers = map { $_->[0] => $_->[1] } @{ $headers // [] };
    return {
        version => $http // $default_version,
        silence => ($seconds // 60) > 60,
        map { $_ => $headers{$_} // 'none' } qw/ Upgrade Connection Host /,
    };
}

sub own_lines {
    my ($conf, $lines, $block) = @_;
    my %file = map { $_->{name} => $_->{lines} } grep { $_->{kind} eq 'file' } @{ $conf->{pieces} };
    # What was put into the location stands on its first line.
    my ($first) = $lines->[$block] =~ /\{ (.*)/;
    return (defined $first ? $first : ()), map { /^\s*include (\S+);/ && $file{$1} ? @{ $file{$1} } : $_ } @$lines[direct($lines, $block)];
}

sub seconds {
    my ($time) = @_;
    my %unit = (s => 1, m => 60, h => 3600, d => 86400);
    return $time =~ /^(\d+)([smhd])$/ ? $1 * $unit{$2} : $time;
}
