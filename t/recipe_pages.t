#!/usr/bin/perl

# Each recipe of docs/recipes.md has a test that runs it, and what README.md and the pages in docs/ link to is there.

use strict;
use warnings;

use File::Basename ();
use Test::More;
use Test::WebSocketGuard::Recipe;

my @pages = ('README.md', 'CONTRIBUTING.md', glob 'docs/*.md');
plan(tests => 1 + @pages);

my $tests = join '', map { text($_) } grep { !/recipe_pages/ } glob 't/recipe_*.t';
my (undef, @recipes) = sections('docs/recipes.md');
is_deeply([grep { $tests !~ /blocks\('docs\/recipes\.md', '\Q$_\E'\)/ && $_ ne 'From a recipe by hand' } @recipes], [],
    'each recipe has a test');

for my $page (@pages) {
    my @missing;
    for my $link (text($page) =~ /\]\(([^)\s]+)\)/g) {
        my ($file, $section) = $link =~ /^(?!https?:)([^#]*)#?(.*)/ or next;
        my $path = $file eq '' ? $page : File::Basename::dirname($page) . "/$file";
        push @missing, $link if !-e $path || $section ne '' && !grep { anchor($_) eq $section } sections($path);
    }
    is_deeply(\@missing, [], "$page: its links");
}

# How GitHub calls the place of a heading.
sub anchor {
    my ($heading) = @_;
    return lc($heading =~ s/[^\w\- ]//gr) =~ tr/ /-/r;
}

sub text {
    my ($name) = @_;
    open my $file, '<', $name or die "$name: $!\n";
    local $/;
    return scalar <$file>;
}
