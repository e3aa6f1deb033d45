package Test::WebSocketGuard::Sweep::Client;

# The clients of the sweep: each plays one case, many at a time, and says what went wrong.

use strict;
use warnings;

use IO::Socket::INET ();
use Test::Nginx ();
use Test::WebSocketGuard::Sweep::Loop;
use Time::HiRes qw/ time /;

our @ISA = 'Test::WebSocketGuard::Sweep::Loop';

# A request, or the end of a tunnel that the backend has closed, takes far less.
my $LIMIT = 30 * ($ENV{TEST_NGINX_SLOWNESS} // 1);

my $PAUSE = 0.01;
my $BODY  = join '', map { "part $_\n" } 1 .. 40;

my @WEBSOCKET = ('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version', 13);

# The headers of each kind of request.
my %KINDS = (
    plain => [],
    ws    => [Upgrade => 'websocket', Connection => 'Upgrade', @WEBSOCKET],
    old   => [Upgrade => 'websocket', Connection => 'Upgrade', @WEBSOCKET[0 .. 2], 8],
    bare  => [Upgrade => 'websocket', Connection => 'Upgrade'],
    key   => [@WEBSOCKET],
    h2c   => [Upgrade => 'h2c', Connection => 'Upgrade, HTTP2-Settings', 'HTTP2-Settings' => 'AAMAAABkAAQAAP__'],
    foo   => [Upgrade => 'foo', Connection => 'Upgrade'],
);

sub kinds { return sort keys %KINDS }

# Plays the cases, so many at a time. Each result is [number, what, local port of the connection, number of bytes received];
# what is "ok" or what failed.
sub play {
    my ($cases, $together) = @_;
    my @waiting = @$cases;
    my @results;
    while (@waiting || Test::WebSocketGuard::Sweep::Loop::connections()) {
        while (@waiting && Test::WebSocketGuard::Sweep::Loop::connections() < $together) {
            my $self = bless { case => shift @waiting, results => \@results }, __PACKAGE__;
            $self->_connect;
        }
        Test::WebSocketGuard::Sweep::Loop::turn(1);
    }
    return \@results;
}

sub _connect {
    my ($self) = @_;
    my $case = $self->{case};
    my $port = Test::Nginx::port($case->{client} eq 'h2' ? 8090 : 8080);
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
    if (!$socket) {
        push @{ $self->{results} }, [$case->{number}, "no connection: $@", 0, 0];
        return;
    }
    $self->{port} = $socket->sockport;
    $self->attach($socket);
    $self->{until}    = time + $LIMIT;
    $self->{received} = 0;
    $self->{script}   = [$case->{client} eq 'h2' ? _script_h2($case) : _script($case)];
    $self->_next;
}

# ---- what is sent --------------------------------------------------------------------------------

# Texts to send, pauses as references, and names of methods.
sub _script {
    my ($case) = @_;
    my $first = _request($case, $case->{number});
    my @parts = _body($case);
    my $plain = sub { "GET $case->{place_uri}?b=200&s=200&v=none&n=$_[0] HTTP/1.1\r\nHost: localhost\r\n\r\n" };
    my $again = $plain->("$case->{number}b");

    return (substr($first, 0, 60), \'pause', substr($first, 60), @parts, \'pause', 'leave') if $case->{client} eq 'leaves';
    my ($state) = $case->{place} =~ /^cache-(hit|expired)$/;
    my @prime = $state ? ($plain->("$case->{number}&prime=$state"), '_response') : ();

    # The first bytes of a body come with the header.
    $first .= shift @parts if @parts;
    if ($case->{client} eq 'pipelined') {
        return (@prime, $first . (@parts ? '' : $again), @parts ? (@parts, $again) : (), '_response', '_response', '_finish');
    }
    return (@prime, $first, @parts, '_response', $case->{client} eq 'keepalive' ? ($again, '_response') : (), '_finish');
}

sub _request {
    my ($case, $number) = @_;
    my @headers = @{ $KINDS{ $case->{kind} } };
    my $method = $case->{body} eq 'none' ? 'GET' : 'POST';
    my $text = "$method " . _uri($case, $number) . " HTTP/1.1\r\nHost: localhost\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }
    $text .= "Connection: close\r\n" if $case->{client} eq 'close' && $text !~ /^Connection:/m;
    $text .= $case->{body} =~ /^chunked/ ? "Transfer-Encoding: chunked\r\n"
        : $case->{body} eq 'none' ? '' : 'Content-Length: ' . length($BODY) . "\r\n";
    return "$text\r\n";
}

sub _uri {
    my ($case, $number) = @_;
    return "$case->{place_uri}?b=$case->{backend}&s=$case->{side}&w=$case->{waits}&v=$case->{variables}&n=$number";
}

sub _body {
    my ($case) = @_;
    my $half = int length($BODY) / 2;
    my $chunk = sub { sprintf("%x\r\n", length $_[0]) . "$_[0]\r\n" };
    return {
        none             => [],
        once             => [$BODY],
        pieces           => [substr($BODY, 0, 1), \'pause', substr($BODY, 1, $half), \'pause', substr $BODY, 1 + $half],
        chunked          => [$chunk->($BODY) . "0\r\n\r\n"],
        'chunked-pieces' => ["1\r\n" . substr($BODY, 0, 1), \'pause', "\r\n" . $chunk->(substr $BODY, 1), \'pause', "0\r\n\r\n"],
    }->{ $case->{body} }->@*;
}

# As little HTTP/2 as that takes (RFC 9113; RFC 7541 section 6.2.2 for the headers).
sub _script_h2 {
    my ($case) = @_;
    my $method = $case->{body} eq 'none' ? 'GET' : 'POST';
    my $uri    = _uri($case, $case->{number});
    my @fields = (':method', $method, ':scheme', 'http', ':path', $uri, ':authority', 'localhost');
    my @pairs = @{ $KINDS{ $case->{kind} } };
    while (my ($name, $value) = splice @pairs, 0, 2) {
        push @fields, lc $name, $value if $name !~ /^(?:Connection|HTTP2-Settings)$/;
    }
    push @fields, 'content-length', length $BODY if $case->{body} =~ /^(?:once|pieces)$/;
    my $block = '';
    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= pack 'C C/a C/a', 0, $name, $value;
    }

    # Windows for whatever comes.
    my $start = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . _frame(4, 0, 0, pack 'n N', 4, 1 << 24) . _frame(8, 0, 0, pack 'N', 1 << 24);
    return ($start . _frame(1, 5, 1, $block), '_stream', '_finish') if $case->{body} eq 'none';
    my @parts = $case->{body} =~ /pieces/ ? (substr($BODY, 0, 1), \'pause', substr $BODY, 1) : $BODY;
    return ($start . _frame(1, 4, 1, $block),
        (map { ref ? $_ : _frame(0, 0, 1, $_) } @parts), _frame(0, 1, 1, ''), '_stream', '_finish');
}

sub _frame {
    my ($type, $flags, $stream, $payload) = @_;
    return pack('C n C C N', 0, length $payload, $type, $flags, $stream) . $payload;
}

# ---- the play ------------------------------------------------------------------------------------

sub _next {
    my ($self) = @_;
    while ($self->{socket}) {
        my $step = $self->{script}[0] // return $self->_done('ok');
        if (ref $step) {
            shift @{ $self->{script} };
            return $self->after($PAUSE);
        } elsif ($step =~ /^_/) {
            if (!$self->$step) {
                return $self->after($self->{until} - time) if $self->{socket};
                return;
            }
            shift @{ $self->{script} };
        } elsif ($step eq 'leave') {
            return $self->_done('ok');
        } else {
            shift @{ $self->{script} };
            $self->put($step) unless $self->{eof};
        }
    }
}

sub readable {
    my ($self) = @_;
    $self->{received} = 1 if length $self->{in};
    # While it pauses, what arrives is left for later.
    $self->_next if ($self->{script}[0] // '') =~ /^_/;
    # An end does not come twice.
}

sub due {
    my ($self) = @_;
    return $self->_done("no end within $LIMIT s, at $self->{script}[0]") if time >= $self->{until};
    $self->_next;
}

sub _done {
    my ($self, $what) = @_;
    push @{ $self->{results} }, [$self->{case}{number}, $what, $self->{port}, $self->{received}];
    $self->end($self->{case}{end} eq 'reset' || $what ne 'ok' ? 'reset' : 'close');
}

# Each is true when it is over, and asked again when something arrives.

# One response of HTTP/1. The end of the connection ends it as well.
sub _response {
    my ($self) = @_;
    return 1 if $self->{tunnel};
    my $in = \$self->{in};
    1 while $$in =~ s!\AHTTP/1\.1 100[^\n]*\n(?:[^\r\n]+\r?\n)*\r?\n!!;
    # What a backend without a status line sent is passed on as it is.
    return $self->{eof} if length $$in >= 5 && $$in !~ m!\AHTTP/!;
    $$in =~ /\A(.*?\r\n\r\n)/s or return $self->{eof};
    my ($head, $length) = ($1, length $1);
    if ($head =~ m!\AHTTP/1\.\d 101!) {
        substr $$in, 0, $length, '';
        return $self->{tunnel} = 1;
    }
    if ($head =~ m!\AHTTP/1\.\d (?:204|304)!) {
        substr $$in, 0, $length, '';
        return 1;
    }
    if ($head =~ /^Content-Length: (\d+)/mi) {
        return $self->{eof} if length $$in < $length + $1;
        substr $$in, 0, $length + $1, '';
        return 1;
    }
    if ($head =~ /^Transfer-Encoding: chunked/mi) {
        $$in =~ s/\A\Q$head\E.*?(?:\A|\n)0\r\n\r\n//s or return $self->{eof};
        return 1;
    }
    return $self->{eof};
}

# The one of stream 1.
sub _stream {
    my ($self) = @_;
    while (length $self->{in} >= 9) {
        my ($high, $low, $type, $flags, $stream) = unpack 'C n C C N', $self->{in};
        my $length = $high << 16 | $low;
        last if length $self->{in} < 9 + $length;
        substr $self->{in}, 0, 9 + $length, '';
        return 1 if $type == 7 || $stream == 1 && ($type == 3 || $type <= 1 && $flags & 1);
    }
    return $self->{eof};
}

# A tunnel has a message before it ends, and one that the backend leaves is closed for the client.
sub _finish {
    my ($self) = @_;
    return 1 if $self->{eof} || !$self->{tunnel};
    if (!$self->{said}++) {
        $self->put("\x81\x82\0\0\0\0hi");
        return 0;
    }
    return 1 if $self->{case}{end} ne 'wait' && length $self->{in};
    return 0;
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Sweep::Client - the clients of the sweep

=cut
