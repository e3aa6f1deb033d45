#!/usr/bin/perl

# Requests, places and answers in all combinations (Test::WebSocketGuard::Sweep): no worker dies, no request and no
# connection stays, no attempt has two lines. A run takes a sample that is spread over all dimensions.
#
#   WEBSOCKET_GUARD_SEED=N            the sample of an earlier run
#   WEBSOCKET_GUARD_SWEEP=SECONDS     goes through the whole product, for so long at most ("make stress")
#   WEBSOCKET_GUARD_CASE='mode=...'   one case, as a failure names it

use strict;
use warnings;

use Test::More;
use Test::Nginx;
use Test::WebSocketGuard;
use Test::WebSocketGuard::Sweep;
use Time::HiRes qw/ time /;

my $t = Test::Nginx->new()->has(qw/ http proxy cache ssi slice auth_request mirror rewrite addition sub stub_status http_v2 /);

$t->write_file_expand('nginx.conf', Test::WebSocketGuard::Sweep::configuration($t))->plan(defined $ENV{WEBSOCKET_GUARD_CASE} ? 1 : 2);

my $seed   = $ENV{WEBSOCKET_GUARD_SEED} // int rand 2**31;
my $whole  = $ENV{WEBSOCKET_GUARD_SWEEP};
my $sweep  = Test::WebSocketGuard::Sweep::draw($seed);
my $until  = time + ($whole // 20);
my $begin  = time;
diag "seed $seed";
time_limit(($whole // 20) + 300);

Test::WebSocketGuard::Sweep::start($t);

my ($count, %seen, %wrong) = (0);
my @cases = map { $sweep->parse($_) } grep {defined} $ENV{WEBSOCKET_GUARD_CASE};
while (1) {
    if (!defined $ENV{WEBSOCKET_GUARD_CASE}) {
        @cases = ();
        while (@cases < ($whole ? 8000 : 1500)) {
            push @cases, $sweep->next_case($whole) // last;
        }
    }
    last unless @cases;
    for my $wrong (Test::WebSocketGuard::Sweep::play($t, \@cases, together => $whole ? 120 : 60)) {
        my ($what, $case) = @$wrong;
        push @{ $wrong{$what} }, $case ? Test::WebSocketGuard::Sweep::describe($case) : '';
    }
    Test::WebSocketGuard::Sweep::covered(\%seen, $_) for @cases;
    $count += @cases;
    last if defined $ENV{WEBSOCKET_GUARD_CASE} || time > $until;
}

my ($values, $pairs, $triples) = map {"$_->[0] of $_->[1]"} Test::WebSocketGuard::Sweep::coverage(\%seen);
diag sprintf '%d cases in %d s (the product has %d), seed %d: %s values, %s pairs, %s triples',
    $count, time - $begin, Test::WebSocketGuard::Sweep::product_size(), $seed, $values, $pairs, $triples;
is($values =~ s/ of .*//r, $values =~ s/.* of //r, 'every value of every dimension') unless defined $ENV{WEBSOCKET_GUARD_CASE};

# Each kind of failure with some of the cases that showed it.
my @report = map {
    my @shown = grep {length} @{ $wrong{$_} };
    splice @shown, 10 if @shown > 10;
    ("$_ (" . @{ $wrong{$_} } . ' times)', map {"  $_"} @shown);
} sort keys %wrong;
is(join("\n", @report), '', 'nothing went wrong');
