#!/usr/bin/perl

# Mistakes as people make them: the audit names each of them, and nothing else.

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Corpus;

my $t = Test::Nginx->new()->has(qw/ http http_ssl http_v2 proxy fastcgi grpc map auth_request mirror cache limit_conn unix /);

my $corpus = corpus('broken');
my @names  = sort keys %$corpus;
$t->plan(@names + 1);

cmp_ok(scalar @names, '>=', 42, 'there are enough of them');

my @results = audit_confs($t, map { conf_in_form($corpus->{$_}, 'none') } @names);
for my $name (@names) {
    my $result = shift @results;
    my (%expected, $refused);
    for my $line (@{ $corpus->{$name} }) {
        $line =~ /^# needs: (\S+)/ and $refused = !$t->has_version($1);
        my ($before, $findings) = $line =~ /^# expect(?: before (\S+))?: (.*)/ or next;
        next if defined $before && $t->has_version($before);
        $expected{$_} = 1 for split ' ', $findings;
    }
    if ($refused) {
        ok(!$result->{ok}, "$name, too new");
        next;
    }

    # What is only information is about the whole configuration, and hardly ever the point.
    my %found = map { $_->{name} => 1 }
        grep { $_->{level} ne 'info' || $expected{ $_->{name} } } @{ $result->{reports} };
    my $found = $result->{ok} ? join ' ', sort keys %found : $result->{output};
    is($found, join(' ', sort keys %expected), $name);
}
