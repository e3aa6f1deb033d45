package Test::WebSocketGuard::Audit;

# Small configurations for one finding of the audit at a time: those that have it, and those that
# only look like it.

use strict;
use warnings;

use Carp;
use Exporter 'import';
use Test::More ();
use Test::Nginx ();
use Test::WebSocketGuard ();

our @EXPORT = qw/ audits /;

# What a configuration may say for short.
my %SHORT = (
    PASS       => 'proxy_pass http://127.0.0.1:8081;',
    VERSION    => 'proxy_http_version 1.1;',
    TIMEOUT    => 'proxy_read_timeout 1h;',
    UPGRADE    => 'proxy_set_header Upgrade $http_upgrade;',
    CONNECTION => 'proxy_set_header Connection $connection_upgrade;',
    HOST       => 'proxy_set_header Host $http_host;',
    HTTP11     => 'VERSION TIMEOUT',
    HEADERS    => 'UPGRADE CONNECTION HOST',
    RECIPE     => 'HTTP11 HEADERS',
);

# audits($t, NAME, LINE, [WHAT => CONF, files => { NAME => TEXT }, line => LINE], ...)
#
# A configuration is what stands in http {}; without a server {}, what stands in one. A comment
# "#= NAME NAME" marks a line that has these findings, and nothing else may be an error or a warning.
# LINE is the whole line of the log up to the place, of the first configuration or the given one.
# There must be at least two with the finding and two without it.
sub audits {
    my ($t, $name, $line, @cases) = @_;
    my ($with, $without) = (0, 0);
    $cases[0] = [@{ $cases[0] }, line => $line];
    for my $case (@cases) {
        my ($what, $conf, %options) = @$case;
        my %files = map { $_ => _expand($options{files}{$_}) } keys %{ $options{files} // {} };
        $t->write_file_expand($_, $files{$_}) for keys %files;

        my ($code, $output) = Test::WebSocketGuard::nginx_test($t, _whole(_expand($conf)));
        $code == 0 or Test::More::diag($output);
        my @expected = sort map { _marked($t, $_) } 'nginx-test.conf', keys %files;
        my %wanted = map { (/^(\S+)/)[0] => 1 } @expected, $name;

        # The same line is on standard error and in the log.
        my %lines = map { $_ => 1 } Test::WebSocketGuard::guard_lines($output . $t->read_file('nginx-test.log'));
        my @found = sort map {
            my ($level, $its, $place) = /^\[(\w+)\] .* \[([a-z0-9-]+)\] in (\S+:\d+)$/;
            defined $its && ($level =~ /error|warn/ || $wanted{$its}) ? "$its $place" : ();
        } keys %lines;
        Test::More::is(join("\n", "exit $code", @found), join("\n", 'exit 0', @expected), "$name: $what");

        my ($place) = map { /^\Q$name\E (.*)/ ? $1 : () } @expected;
        defined $place ? $with++ : $without++;
        next unless defined $options{line};
        my $whole = $options{line} =~ s/%%PORT_(\d+)%%/Test::Nginx::port($1)/ger . " [$name] in $place";
        my @its = grep {/\Q[$name]\E/} keys %lines;
        Test::More::is("@its", $whole, "$name: $what, the line");
    }
    $with >= 2 && $without >= 2 or croak "$name: $with configurations with it, $without without";
}

sub _expand {
    my ($text) = @_;
    my $names = join '|', keys %SHORT;
    1 while $text =~ s/\b($names)\b/$SHORT{$1}/g;
    return $text;
}

sub _whole {
    my ($body) = @_;
    $body = "server {\nlisten 127.0.0.1:8080;\n$body}\n" if $body !~ /^\s*server \{/m;
    return <<"CONF";
%%TEST_GLOBALS%%
events {
}
http {
    %%TEST_GLOBALS_HTTP%%
    map \$http_upgrade \$connection_upgrade {
        default upgrade;
        '' close;
    }
$body}
CONF
}

sub _marked {
    my ($t, $file) = @_;
    my ($number, @marked) = (0);
    for my $line (split /\n/, $t->read_file($file)) {
        $number++;
        my ($names) = $line =~ /#= (.*)/ or next;
        push @marked, map { "$_ ${\ $t->testdir}/$file:$number" } split ' ', $names;
    }
    return @marked;
}

1;
