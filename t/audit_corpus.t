#!/usr/bin/perl

# Complete configurations as they are in use: whether the recipe is written by hand, or comes from
# one line in the location or at the level of http, the audit has nothing to warn about.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Corpus;

my $t = Test::Nginx->new()->has(qw/ http http_ssl http_v2 proxy uwsgi fastcgi map auth_request cache unix /);

my $corpus = corpus('correct');
my @cases  = map { my $name = $_; map { [$name, $_] } qw/ hand check both on auto http / } sort keys %$corpus;
$t->plan(@cases + 1);

cmp_ok(scalar keys %$corpus, '>=', 42, 'there are enough of them');

my @results = audit_confs($t, map { conf_in_form($corpus->{ $_->[0] }, $_->[1]) } @cases);
for my $case (@cases) {
    my ($name, $form) = @$case;
    my $result = shift @results;
    my @complaints = map {"$_->{text} [$_->{name}] in $_->{file}:$_->{line}"}
        grep { $_->{level} =~ /^(?:warn|error)$/ } @{ $result->{reports} };
    is(join("\n", $result->{ok} ? @complaints : $result->{output}), '', "$name, $form");
}
