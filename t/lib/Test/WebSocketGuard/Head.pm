package Test::WebSocketGuard::Head;

# The head of an HTTP message, kept as it came.

use strict;
use warnings;

sub parse {
    my ($self, $head) = @_;
    $self->{head} = $head;
    ($self->{first_line}, my @lines) = split /\r?\n/, $head;
    $self->{headers} = [map { /^([^:]*):[ \t]*(.*?)[ \t]*$/ ? [$1, $2] : () } @lines];
    return $self;
}

# Raw text; first line; [[name, value], ...] in order.
sub head       { $_[0]{head} }
sub first_line { $_[0]{first_line} }
sub headers    { $_[0]{headers} }

# All values of a header, in order; in scalar context joined with ", ", undef without one.
sub header {
    my ($self, $name) = @_;
    my @values = map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $self->{headers} };
    return wantarray ? @values : @values ? join(', ', @values) : undef;
}

package Test::WebSocketGuard::Request;

our @ISA = 'Test::WebSocketGuard::Head';

# {connection} and {request} count from 1: which connection, and which request on it.
sub new {
    my ($class, $head, %fields) = @_;
    my $self = bless {%fields}, $class;
    $self->parse($head);
    @$self{qw/ method uri version /} = split / /, $self->{first_line}, 3;
    @$self{qw/ path args /} = split /\?/, $self->{uri} // '', 2;
    $self->{args} //= '';
    return $self;
}

sub method     { $_[0]{method} }
sub uri        { $_[0]{uri} }
sub path       { $_[0]{path} }
sub args       { $_[0]{args} }
sub version    { $_[0]{version} }
sub connection { $_[0]{connection} }
sub request    { $_[0]{request} }

sub has_token {
    my ($self, $name, $token) = @_;
    return scalar grep { lc eq lc $token } map { split /\s*,\s*/ } $self->header($name);
}

sub is_upgrade { $_[0]->has_token(Upgrade => 'websocket') }

sub keep_alive {
    my ($self) = @_;
    return $self->has_token(Connection => 'keep-alive') if ($self->{version} // '') ne 'HTTP/1.1';
    return !$self->has_token(Connection => 'close');
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Head - the head of a request or response

=head1 DESCRIPTION

C<header('Name')> gives all values in list context, in scalar context one joined string or undef. C<head> is the raw
text. A request has C<method>, C<uri>, C<path>, C<args>, C<version>, C<connection> and C<request>
(numbers from 1), C<has_token($header, $token)>, C<is_upgrade>.

=cut
