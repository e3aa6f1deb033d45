package Test::WebSocketGuard::Recipe;

# The configurations that the pages of the documentation print, for tests that run them as they are printed. A page
# is the only place where such a text stands.

use strict;
use warnings;

use Carp;
use Exporter 'import';
use File::Basename ();

our @EXPORT = qw/ sections blocks put write_recipe as_printed silent_test /;

my $ROOT = File::Basename::dirname(__FILE__) . '/../../../..';

# The headings of a page.
sub sections {
    my ($page) = @_;
    return map { /^#+ (.*)/ ? $1 : () } _lines($page);
}

# The code blocks below a heading of a page, up to the next heading.
sub blocks {
    my ($page, $heading) = @_;
    my ($here, $in_block, @blocks);
    for my $line (_lines($page)) {
        if ($line =~ /^#+ (.*)/) {
            $here = $1 eq $heading;
        } elsif ($line =~ /^ {4}(.*)/s || $in_block && $line =~ /^(\n)/) {
            push @blocks, '' if $here && !$in_block;
            $blocks[-1] .= $1 if $here;
            $in_block = $here;
        } else {
            $in_block = 0;
        }
    }
    @blocks or croak "$page has no code below \"$heading\"";
    return map { s/\n+\z/\n/r } @blocks;
}

# The text with each "from" replaced by its "to", wherever it stands. One that stands nowhere is an error: then the
# page has changed and the test has not.
sub put {
    my ($text, @pairs) = @_;
    while (my ($from, $to) = splice @pairs, 0, 2) {
        $text =~ s/\Q$from\E/$to/g or croak "no \"$from\" in\n$text";
    }
    return $text;
}

# Writes a recipe, with the addresses and paths of the test put in, as recipe.conf, and an nginx.conf that includes it
# in http: so its lines have the numbers that they have on the page.
sub write_recipe {
    my ($t, $recipe, @pairs) = @_;
    my $text = put($recipe, @pairs);
    my @foreign = grep { !/^127\.0\.0\.1(?::8\d{3})?$/ } $text =~ /\b\d+\.\d+\.\d+\.\d+(?::\d+)?/g;
    push @foreign, $text =~ /^\s*(listen\s+\d+\b[^.:\n]*;)/mg, $text =~ m{(?<![\w%.-])/(?:etc|var|srv|run)/\S*}g;
    @foreign and croak "not replaced: @foreign in\n$text";

    $t->write_file_expand('recipe.conf', $text);
    return $t->write_file_expand('nginx.conf', <<'EOC');
%%TEST_GLOBALS%%
daemon off;
worker_processes 2;
events {
}
http {
    %%TEST_GLOBALS_HTTP%%
    include recipe.conf;
}
EOC
}

# Lines of the log as a page prints them, with what the test has put in.
sub as_printed {
    my ($t, $text, @pairs) = @_;
    while (my ($from, $to) = splice @pairs, 0, 2) {
        $text =~ s/\Q$from\E/$to/g;
    }
    $text =~ s!/etc/nginx/conf\.d/[\w-]+\.conf!$t->testdir . '/recipe.conf'!ge;
    $text =~ s/127\.0\.0\.1:(8\d{3})(?!\d)/'127.0.0.1:' . Test::Nginx::port($1)/ge;
    return $text =~ s/\n\z//r;
}

# What nginx -t has against the configuration that was written, at notice and worse.
sub silent_test {
    my ($t) = @_;
    my ($code, $output) = Test::WebSocketGuard::nginx_test($t, $t->read_file('nginx.conf'));
    return $output if $code;
    my %lines = map { $_ => 1 }
        Test::WebSocketGuard::guard_lines($output . $t->read_file('nginx-test.log'), 'notice');
    return join "\n", sort keys %lines;
}

sub _lines {
    my ($page) = @_;
    open my $file, '<', "$ROOT/$page" or croak "$page: $!";
    return <$file>;
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Recipe - the configurations of the documentation, for tests

=head1 SYNOPSIS

    my ($recipe, $line) = blocks('docs/recipes.md', 'socket.io');
    my @addresses = ('listen 80;' => 'listen 127.0.0.1:8080;', '10.0.0.11:3000' => '127.0.0.1:8081');
    write_recipe($t, $recipe, @addresses);
    is(silent_test($t), '', 'nginx -t is silent');
    $t->run();
    ...
    is(join("\n", guard_log($t, 'error')), as_printed($t, $line, @addresses), 'the line on the page');

=cut
