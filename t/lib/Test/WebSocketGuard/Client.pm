package Test::WebSocketGuard::Client;

# A client which can speak WebSocket, and which can also send what no client should.

use strict;
use warnings;

use Carp;
use Digest::SHA ();
use IO::Socket::IP ();
use MIME::Base64 ();
use Protocol::WebSocket::Frame ();
use Scalar::Util ();
use Socket ();
use Test::Nginx ();
use Time::HiRes qw/ time /;
use Test::WebSocketGuard::Head;
use Test::WebSocketGuard::Stream;

our @ISA = qw/ Test::WebSocketGuard::Stream Test::WebSocketGuard::Head /;

# See Test::WebSocketGuard.
my $slowness = $ENV{TEST_NGINX_SLOWNESS} // 1;

# Open connections hold up the end of nginx, so that they are closed before it.
my %clients;

sub close_all {
    $_->disconnect for grep { defined && $_->{owner} == $$ } values %clients;
}

sub connect {
    my ($class, %options) = @_;
    my $self = bless { timeout => $slowness * ($options{timeout} // 10), owner => $$, greedy => 1 }, $class;

    my $host = $options{host} // (($options{family} // 4) == 6 ? '::1' : '127.0.0.1');
    my $port = Test::Nginx::port($options{port} // ($options{ssl} ? 8443 : 8080));
    my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 5)
        or croak "cannot connect to $host:$port: $@";
    $socket->setsockopt(Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1);
    $self->attach($socket);
    Scalar::Util::weaken($clients{$self} = $self);

    $self->write($options{preface}) if defined $options{preface};
    $self->start_tls(
        SSL_verify_mode => 0,
        SSL_hostname    => $options{sni} // 'localhost',
        $options{alpn} ? (SSL_alpn_protocols => $options{alpn}) : (),
    ) if $options{ssl};

    return $self;
}

sub DESTROY {
    my ($self) = @_;
    delete $clients{$self};

    # A forked copy must not say goodbye on the connection of its parent.
    $self->disconnect if $self->{owner} == $$;
}

# ---- HTTP ----------------------------------------------------------------------------------------

# The text of a handshake and its key.
sub handshake_request {
    my (%options) = @_;
    my $key = $options{key} // MIME::Base64::encode_base64(join('', map { chr int rand 256 } 1 .. 16), '');

    my @lines = (
        'Host: ' . ($options{authority} // 'localhost'),
        'Upgrade: websocket',
        'Connection: Upgrade',
        "Sec-WebSocket-Key: $key",
        'Sec-WebSocket-Version: 13',
    );
    push @lines, "Origin: $options{origin}" if defined $options{origin};
    push @lines, "Sec-WebSocket-Protocol: $options{subprotocol}" if defined $options{subprotocol};

    my @own = @{ $options{headers} // [] };
    my %dropped = map { lc() => 1 } @{ $options{without} // [] }, map { /^([^:]*)/ } @own;
    @lines = ((grep { /^([^:]*)/; !$dropped{ lc $1 } } @lines), @own);

    my $text = join "\r\n",
        join(' ', $options{method} // 'GET', $options{path} // '/', 'HTTP/' . ($options{version} // '1.1')),
        @lines, '', '';
    return wantarray ? ($text, $key) : $text;
}

sub handshake {
    my ($self, %options) = @_;
    my ($text, $key) = handshake_request(%options);

    $self->{key} = $key;
    $text .= $options{pipeline} // '';
    $text .= $self->_frame(text => $options{pipeline_message}) if defined $options{pipeline_message};
    return $self->request($text, %options);
}

# Sends the bytes and reads the response; its body too, unless body => 0.
sub request {
    my ($self, $bytes, %options) = @_;
    Test::Nginx::log_out($bytes);
    $self->write($bytes);
    return $self->read_response(%options, method => $bytes =~ /^(\S+)/ ? $1 : '');
}

sub read_response {
    my ($self, %options) = @_;
    my $timeout = defined $options{timeout} ? $slowness * $options{timeout} : $self->{timeout};
    delete @$self{qw/ head first_line headers body /};
    $self->{headers} = [];

    my $head = $self->read_until(qr/\r?\n\r?\n/, $timeout) // return $self;
    Test::Nginx::log_in($head);
    $self->parse($head);

    my $bodiless = $self->status < 200 || $self->status =~ /^(?:204|304)$/
        || ($options{method} // '') eq 'HEAD';
    if (($options{body} // 1) && !$bodiless) {
        my $length = $self->header('Content-Length');
        $self->{body}
            = ($self->header('Transfer-Encoding') // '') =~ /chunked/i ? $self->read_chunked($timeout)
            : defined $length ? $self->read($length, $timeout)
            :                   $self->read_all($timeout);
    }
    return $self;
}

# Of the last response; without one the status is 0.
sub status_line { $_[0]{first_line} // '' }
sub status { $_[0]->status_line =~ m!^HTTP/\S+ (\d+)! ? $1 : 0 }
sub body { $_[0]{body} }
sub key  { $_[0]{key} }

sub accept_ok {
    my ($self) = @_;
    my @values = $self->header('Sec-WebSocket-Accept');
    return @values == 1 && $values[0] eq accept_for($self->{key});
}

# RFC 6455 4.2.2: the answer to a key.
sub accept_for {
    my ($key) = @_;
    return Digest::SHA::sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
}

# Whether the handshake ended well, judged as strictly as a browser would.
sub is_open {
    my ($self) = @_;
    return $self->status == 101
        && lc($self->header('Upgrade') // '') eq 'websocket'
        && ($self->header('Connection') // '') =~ /\bupgrade\b/i
        && $self->accept_ok;
}

# ---- messages ------------------------------------------------------------------------------------

# send($text), send($bytes, 'binary'), send($payload, 'ping'), ...
sub send {
    my ($self, $payload, $type) = @_;
    return $self->write($self->_frame($type // 'text', $payload));
}

sub _frame {
    my ($self, $type, $payload) = @_;
    return Protocol::WebSocket::Frame->new(
        buffer => $payload, type => $type, masked => 1, max_payload_size => 0)->to_bytes;
}

# The payload of the next message, undef if none comes in time or the peer closes. Pings are
# answered; after a Close frame close_code and close_reason are set.
sub recv {
    my ($self, $seconds) = @_;
    my $until = time + ($seconds // $self->{timeout});

    while (defined(my $payload = $self->recv_frame($until - time))) {
        my $frame = $self->{frame};
        if ($frame->is_ping) {
            $self->send($payload, 'pong');
        } elsif ($frame->is_close) {
            @$self{qw/ close_code close_reason /} = length $payload ? unpack('na*', $payload) : (1005, '');
            return undef;
        } elsif (!($frame->opcode & 8)) {
            return $payload;
        }
    }
    return undef;
}

# As recv, but control frames too; opcode tells which.
sub recv_frame {
    my ($self, $seconds) = @_;
    my $until = time + ($seconds // $self->{timeout});
    my $frame = $self->{frame} //= Protocol::WebSocket::Frame->new(
        max_payload_size => 0, max_fragments_amount => 1_000_000);

    while (1) {
        $frame->append($self->{in}) if length $self->{in};
        my $payload = $frame->next_bytes;
        return $payload if defined $payload;
        $self->fill($until - time) or return undef;
    }
}

sub opcode       { $_[0]{frame}->opcode }
sub close_code   { $_[0]{close_code} }
sub close_reason { $_[0]{close_reason} }

# One message there and back.
sub echo {
    my ($self, $payload, $seconds) = @_;
    $self->send($payload) or return undef;
    return $self->recv($seconds);
}

# The closing handshake; true if the peer answers and closes.
sub close {
    my ($self, $code, $reason) = @_;
    $self->send(pack('na*', $code // 1000, $reason // ''), 'close');
    1 while defined $self->recv;
    my $closed = defined $self->{close_code} && $self->closed_within($self->{timeout});
    $self->disconnect;
    return $closed;
}

# Sends that many bytes as binary messages of that size (one, if the two are equal) and compares
# every byte that comes back while it sends, with little memory. Returns the number of payload
# bytes that came back right; dies with a sentence at the first that does not.
sub echo_bytes {
    my ($self, $bytes, $message, $seconds) = @_;
    $message //= $bytes;
    my $until = time + ($seconds // 60);
    my $mask  = pack 'N', int rand 2**32;

    # Noise, each piece of it marked with its number, so that order matters.
    my $piece = 64 * 1024;
    my $noise = join '', map { pack 'N', int rand 2**32 } 1 .. $piece / 4;
    my ($number, $expected, $right, $sent) = (0, '', 0, 0);

    my $compare = sub {
        my $length = length $self->{in} < length $expected ? length $self->{in} : length $expected;
        substr($self->{in}, 0, $length, '') eq substr($expected, 0, $length, '')
            or die "the echo differs from what was sent, within $length bytes after byte $right\n";
        $right += $length;
    };

    # No more than this is on its way at a time. With both directions of a connection full Linux (seen with 6.18)
    # drops what lies beyond the window, and the acknowledgements with it: both ends wait for ever.
    my $in_flight = 4 << 20;
    my $receive = sub {
        my ($left) = @_;
        while (length $expected > $left) {
            $self->fill($until - time) or die 'after ' . $right . ' bytes: '
                . ($self->eof ? "the connection was closed\n" : "no more bytes in time\n");
            $compare->();
        }
    };

    my $framing = 0;
    while ($sent < $bytes) {
        my $size = $bytes - $sent < $message ? $bytes - $sent : $message;
        my $header = $self->_header($size);
        $framing += length $header;
        $expected .= $header;
        $self->write($self->_header($size, $mask), $until - time) or die "cannot send: $self->{error}\n";

        for (my $left = $size; $left > 0; $left -= $piece) {
            my $data = substr pack('Q>', $number++) . substr($noise, 8), 0, $left;
            $expected .= $data;
            $self->write($data ^ substr($mask x (1 + length($data) / 4), 0, length $data), $until - time)
                or die 'cannot send: ' . ($self->error || 'no progress') . "\n";
            $compare->();
            $receive->($in_flight);
        }
        $sent += $size;
    }

    $receive->(0);
    return $right - $framing;
}

# The header of a final binary frame, RFC 6455 5.2.
sub _header {
    my ($self, $size, $mask) = @_;
    my $bit = defined $mask ? 0x80 : 0;
    my $length = $size < 126 ? pack 'C', $bit | $size
        : $size < 65536      ? pack 'Cn', $bit | 126, $size
        :                      pack 'CQ>', $bit | 127, $size;
    return "\x82" . $length . ($mask // '');
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Client - a WebSocket client for tests

=head1 DESCRIPTION

See L<Test::WebSocketGuard> for C<websocket> and C<raw_request>, which make one. C<status>,
C<status_line>, C<header>, C<headers>, C<head>, C<body> tell of the response; C<is_open>,
C<accept_ok> of the handshake; C<send>, C<recv>, C<recv_frame>, C<opcode>, C<echo>, C<echo_bytes>,
C<close>, C<close_code>, C<close_reason> are for messages; C<request> sends another request on the same
connection. For the raw methods see L<Test::WebSocketGuard::Stream>; once C<recv> was used, what it
read ahead is no longer seen by them.

=cut
