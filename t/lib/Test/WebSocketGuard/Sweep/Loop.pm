package Test::WebSocketGuard::Sweep::Loop;

# Many sockets in one process: what is to be read and written, and when which timer is due. A connection is an
# object with the methods readable (bytes arrived in {in}, or {eof}), and due (its timer); this class is its base.

use strict;
use warnings;

use Errno qw/ EAGAIN EINTR EWOULDBLOCK EINPROGRESS /;
use IO::Select ();
use Socket ();
use Time::HiRes qw/ time /;

# All connections of this process by their descriptor.
my %open;

sub attach {
    my ($self, $socket) = @_;
    $socket->blocking(0);
    @$self{qw/ socket in out eof at /} = ($socket, '', '', 0, undef);
    $open{ fileno $socket } = $self;
    return $self;
}

sub connections { return scalar keys %open }

# The timer; without seconds it is off.
sub after {
    my ($self, $seconds) = @_;
    $self->{at} = defined $seconds ? time + $seconds : undef;
}

# What cannot be written now is written when it can. {then} is called when all of it has gone.
sub put {
    my ($self, $bytes, $then) = @_;
    $self->{out} .= $bytes;
    $self->{then} = $then;
    $self->_flush;
}

sub _flush {
    my ($self) = @_;
    local $SIG{PIPE} = 'IGNORE';
    while (length $self->{out}) {
        my $written = syswrite $self->{socket}, $self->{out}, 65536;
        if (!defined $written) {
            return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
            # The peer has gone; what it said before may still be there.
            $self->{out} = '';
        }
        substr $self->{out}, 0, $written // 0, '';
    }
    my $then = delete $self->{then};
    $then->() if $then;
}

sub _fill {
    my ($self) = @_;
    while (!$self->{eof}) {
        my $read = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
        next if $read;
        return if !defined $read && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
        $self->{eof} = 1;
    }
}

# how: close, reset
sub end {
    my ($self, $how) = @_;
    my $socket = delete $self->{socket} or return;
    delete $open{ fileno $socket };
    delete $self->{then};
    setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0 if $how eq 'reset';
    close $socket;
}

# One round: waits until something happens, at most for so long. Returns the others of @also that are readable.
sub turn {
    my ($seconds, @also) = @_;
    my ($read, $write) = ('', '');
    vec($read, fileno $_, 1) = 1 for @also;
    my $now = time;
    for my $fd (keys %open) {
        my $self = $open{$fd};
        vec($read, $fd, 1) = 1 unless $self->{eof};
        vec($write, $fd, 1) = 1 if length $self->{out};
        $seconds = $self->{at} - $now if defined $self->{at} && $self->{at} - $now < $seconds;
    }
    my $ready = select $read, $write, undef, $seconds > 0 ? $seconds : 0;
    $now = time;

    for my $fd (keys %open) {
        my $self = $open{$fd};
        if ($ready > 0 && vec $write, $fd, 1) {
            $self->_flush;
        }
        if ($ready > 0 && $self->{socket} && vec $read, $fd, 1) {
            $self->_fill;
            $self->readable;
        }
        if ($self->{socket} && defined $self->{at} && $self->{at} <= $now) {
            $self->{at} = undef;
            $self->due;
        }
    }
    return grep { $ready > 0 && vec $read, fileno $_, 1 } @also;
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Sweep::Loop - many connections in one process

=cut
