package Test::WebSocketGuard::Stream;

# A socket, plain or TLS, with time limits on everything; base of the client and of the backend's
# connections.

use strict;
use warnings;

use Errno qw/ EAGAIN EINTR EWOULDBLOCK /;
use Socket ();
use Time::HiRes qw/ time /;

my $CHUNK = 256 * 1024;

sub attach {
    my ($self, $socket) = @_;
    $socket->blocking(0);
    $self->{socket} = $socket;
    $self->{in}     = '';
    $self->{eof}    = 0;
    return $self;
}

sub start_tls {
    my ($self, %options) = @_;
    require IO::Socket::SSL;
    $self->{socket}->blocking(1);
    IO::Socket::SSL->start_SSL($self->{socket}, Timeout => 10, %options)
        or die 'TLS: ' . IO::Socket::SSL::errstr() . "\n";
    $self->{socket}->blocking(0);
    return $self;
}

# True once the peer has closed or reset the connection, as far as we have read.
sub eof { $_[0]{eof} }

# errno text of the failure that ended the connection; empty after an orderly end.
sub error { $_[0]{error} // '' }

# Waits for more bytes from the peer; false at the end of the connection and of the time.
sub fill {
    my ($self, $seconds) = @_;
    my $until = time + $seconds;

    while (!$self->{eof}) {
        my $read = sysread $self->{socket}, $self->{in}, $CHUNK, length $self->{in};
        return 1 if $read;
        if (!defined $read && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR)) {
            my $left = $until - time;
            return 0 if $left <= 0;
            $self->_wait($left, 0);
            next;
        }
        $self->{error} = "$!" unless defined $read;
        $self->{eof} = 1;
    }
    return 0;
}

# Writes everything. Where {greedy} is set, reads meanwhile: a peer that echoes would otherwise
# stop reading.
sub write {
    my ($self, $bytes, $seconds) = @_;
    my $until = time + ($seconds // 30);
    my $done  = 0;
    local $SIG{PIPE} = 'IGNORE';

    while ($done < length $bytes) {
        my $written = syswrite $self->{socket}, $bytes, $CHUNK, $done;
        if ($written) {
            $done += $written;
            next;
        }
        if ($! != EAGAIN && $! != EWOULDBLOCK && $! != EINTR) {
            $self->{error} = "$!";
            return 0;
        }
        my $left = $until - time;
        return 0 if $left <= 0;
        $self->_wait($left, 1);
        $self->fill(0) if $self->{greedy};
    }
    return 1;
}

sub _wait {
    my ($self, $seconds, $to_write) = @_;
    my $bit = '';
    vec($bit, fileno $self->{socket}, 1) = 1;
    my ($readable, $writable) = ($to_write && !$self->{greedy} ? undef : $bit, $to_write ? $bit : undef);
    $readable = undef if $self->{eof};
    select $readable, $writable, undef, $seconds;
}

# Exactly that many bytes, or undef.
sub read {
    my ($self, $bytes, $seconds) = @_;
    my $until = time + ($seconds // 10);
    while (length $self->{in} < $bytes) {
        $self->fill($until - time) or return undef;
    }
    return substr $self->{in}, 0, $bytes, '';
}

# Whatever has arrived by now, at most that many bytes; waits for the first byte.
sub read_some {
    my ($self, $bytes, $seconds) = @_;
    $self->fill($seconds // 10) unless length $self->{in};
    my $length = length $self->{in};
    return substr $self->{in}, 0, $length < $bytes ? $length : $bytes, '';
}

# Everything up to the end of the pattern's first match, or undef; then nothing is consumed.
sub read_until {
    my ($self, $pattern, $seconds) = @_;
    my $until = time + ($seconds // 10);
    while (1) {
        return substr $self->{in}, 0, $+[0], '' if $self->{in} =~ $pattern;
        $self->fill($until - time) or return undef;
    }
}

# Everything up to the end of the connection; undef if it does not end in time.
sub read_all {
    my ($self, $seconds) = @_;
    return undef unless $self->closed_within($seconds // 10);
    return substr $self->{in}, 0, length $self->{in}, '';
}

# Whether the peer ends the connection in that time. What arrives before stays readable.
sub closed_within {
    my ($self, $seconds) = @_;
    my $until = time + $seconds;
    1 while $self->fill($until - time);
    return $self->{eof};
}

# Whether the connection lasts that long; takes that long.
sub open_for {
    my ($self, $seconds) = @_;
    return !$self->closed_within($seconds);
}

# A chunked body, decoded.
sub read_chunked {
    my ($self, $seconds) = @_;
    my $body = '';
    while (defined(my $line = $self->read_until(qr/\r?\n/, $seconds))) {
        my ($length) = map {hex} $line =~ /^([0-9a-f]+)/i or return undef;
        if ($length == 0) {
            $self->read_until(qr/\A(?:[^\r\n]+\r?\n)*\r?\n/, $seconds);
            return $body;
        }
        $body .= $self->read($length, $seconds) // return undef;
        $self->read_until(qr/\A\r?\n/, $seconds);
    }
    return undef;
}

sub disconnect {
    my ($self) = @_;
    my $socket = delete $self->{socket} or return;
    close $socket;
    $self->{eof} = 1;
}

# Ends the connection with a TCP reset.
sub reset {
    my ($self) = @_;
    my $socket = delete $self->{socket} or return;
    setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0;
    $socket->isa('IO::Socket::SSL') ? $socket->close(SSL_no_shutdown => 1) : close $socket;
    $self->{eof} = 1;
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Stream - a socket with time limits

=head1 DESCRIPTION

Methods of both ends, all times in seconds: C<write($bytes)>, C<read($n)>, C<read_some($max)>,
C<read_until(qr/../)>, C<read_all>, C<fill>, C<closed_within($seconds)>, C<open_for($seconds)>,
C<eof>, C<error>, C<disconnect>, C<reset>. A read that does not succeed in time gives undef.

=cut
