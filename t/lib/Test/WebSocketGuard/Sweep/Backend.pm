package Test::WebSocketGuard::Sweep::Backend;

# The backend of the sweep. What it does is told by the request line of the client, which nginx sends it as
# X-Sweep: b=NAME for what goes to the first port, s=NAME for what goes to the second.

use strict;
use warnings;

use Test::WebSocketGuard::Client;
use Test::WebSocketGuard::Sweep::Loop;

our @ISA = 'Test::WebSocketGuard::Sweep::Loop';

# A tunnel, or a request that is not to be answered, ends after so many seconds without a byte.
my $IDLE = 0.4;

my $SMALL = join '', map { "line $_ of a body\n" } 1 .. 20;

# What an answer consists of: steps, each a text to send or one of wait, close, reset, echo, keep (until the
# client closes). "big" is more than the buffer of the location holds.
my %ANSWERS = (
    200       => sub { (_answer($_[0], '200 OK', $SMALL), 'keep') },
    chunked   => sub {
        my $chunk = sprintf "%x\r\n%s\r\n", length $SMALL, $SMALL;
        (_head($_[0], '200 OK', 'Transfer-Encoding: chunked') . $chunk, \'wait', "0\r\n\r\n", 'keep');
    },
    unsized   => sub { (_head($_[0], '200 OK') . $SMALL, \'wait', $SMALL, 'close') },
    large     => sub { (_answer($_[0], '200 OK', 'x' x ($_[0]{head} =~ /^Range:/m ? 1_000 : 200_000)), 'keep') },
    304       => sub { (_head($_[0], '304 Not Modified'), 'keep') },
    302       => sub { (_answer($_[0], '302 Found', '', 'Location: http://localhost/elsewhere'), 'keep') },
    (map { my $status = $_; $status => sub { (_answer($_[0], "$status Answer", "no\n"), 'keep') } } 400, 401, 403, 404, 426, 500, 503),
    continue  => sub { ("HTTP/1.1 100 Continue\r\n\r\n" . _answer($_[0], '200 OK', $SMALL), 'keep') },

    101       => sub { (_switch($_[0]), 'echo') },
    'switch-close' => sub { (_switch($_[0]), 'close') },
    'switch-reset' => sub { (_switch($_[0]), 'reset') },
    'switch-bytes' => sub { (_switch($_[0]) . "\x81\x02hi", 'echo') },
    'switch-pieces' => sub { my $text = _switch($_[0]); (substr($text, 0, 50), \'wait', substr($text, 50) . "\x81\x02hi", 'echo') },
    'switch-large' => sub { (_switch($_[0]) . "\x82\x7f" . pack('Q>', 100_000) . 'x' x 100_000, 'echo') },
    'switch-rate'  => sub { (_switch($_[0], headers => ['X-Accel-Limit-Rate: 100']), 'echo') },
    'switch-rate-close' => sub { (_switch($_[0], headers => ['X-Accel-Limit-Rate: 120']), 'close') },
    'switch-length' => sub { (_switch($_[0], headers => ['Content-Length: 3']) . 'abc', 'echo') },
    'switch-chunked' => sub { (_switch($_[0], headers => ['Transfer-Encoding: chunked']) . "1\r\na\r\n0\r\n\r\n", 'echo') },

    'bad-accept'    => sub { (_switch($_[0], accept => 'c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlcg=='), 'echo') },
    'no-accept'     => sub { (_switch($_[0], accept => undef), 'echo') },
    'no-upgrade'    => sub { (_switch($_[0], upgrade => undef), 'echo') },
    'no-connection' => sub { (_switch($_[0], connection => undef), 'echo') },
    'wrong-upgrade' => sub { (_switch($_[0], upgrade => 'h2c') . "\0\0\0\4\0\0\0\0\0", 'echo') },
    'two-upgrades'  => sub { (_switch($_[0], headers => ['Upgrade: h2c']), 'echo') },
    'bad-connection' => sub { (_switch($_[0], connection => 'close'), 'close') },
    'subprotocol'   => sub { (_switch($_[0], headers => ['Sec-WebSocket-Protocol: mqtt']), 'echo') },
    'extension'     => sub { (_switch($_[0], headers => ['Sec-WebSocket-Extensions: x-own']), 'echo') },

    'close-before'    => sub { 'close' },
    'close-in-line'   => sub { ('HTTP/1.', 'close') },
    'close-in-header' => sub { (substr(_answer($_[0], '200 OK', $SMALL), 0, 40), 'close') },
    'close-in-switch' => sub { (substr(_switch($_[0]), 0, 60), 'close') },
    'close-in-body'   => sub { (substr(_answer($_[0], '200 OK', $SMALL), 0, -30), 'close') },
    'reset-before'    => sub { 'reset' },
    'reset-late'      => sub { (\'wait', 'reset') },
    'reset-in-header' => sub { (substr(_answer($_[0], '200 OK', $SMALL), 0, 40), \'wait', 'reset') },
    'reset-in-body'   => sub { (substr(_answer($_[0], '200 OK', $SMALL), 0, -30), \'wait', 'reset') },
    'late'            => sub { (\'wait', _answer($_[0], '200 OK', $SMALL), 'keep') },
    'late-switch'     => sub { (\'wait', _switch($_[0]), 'echo') },
    'silent'          => sub { 'keep' },

    'big-header'    => sub { (_head($_[0], '200 OK', 'X-Big: ' . 'x' x $_[0]->big), 'keep') },
    'big-switch'    => sub { (_switch($_[0], headers => ['X-Big: ' . 'x' x $_[0]->big]), 'echo') },
    'big-line'      => sub { ('HTTP/1.1 200 ' . 'x' x $_[0]->big, 'close') },
    'no-status'     => sub { ("SSH-2.0-sweep\r\n", 'close') },
    'no-status-big' => sub { ('no status line ' x ($_[0]->big / 10), 'close') },
    'tls'           => sub { ("\x15\x03\x01\x00\x02\x02\x46", 'close') },
    'tls-big'       => sub { ("\x15\x03\x01" x $_[0]->big, 'close') },
    'nothing-big'   => sub { ("\0" x (2 * $_[0]->big), \'wait', 'reset') },
);

sub answers { return sort keys %ANSWERS }

# Whether an answer begins with a 101.
sub switches {
    return $_[0] =~ /switch|^(?:bad|no|wrong)-(?:accept|upgrade|connection)$|^(?:101|two-upgrades|subprotocol|extension)$/;
}

# Until the test ends. Each listener has the argument that counts for it.
sub serve {
    my (%listeners) = @_;
    my $parent = getppid;
    my @listeners = map { $listeners{$_} } sort keys %listeners;
    my %which = map { fileno $listeners{$_} => $_ } keys %listeners;
    $_->blocking(0) for @listeners;
    while (getppid == $parent) {
        for my $listener (Test::WebSocketGuard::Sweep::Loop::turn(1, @listeners)) {
            while (my $socket = $listener->accept) {
                my $self = bless { which => $which{ fileno $listener } }, __PACKAGE__;
                $self->attach($socket);
                $self->after(20);
            }
        }
    }
}

sub readable {
    my ($self) = @_;
    if ($self->{echo}) {
        my $bytes = substr $self->{in}, 0, length $self->{in}, '';
        $self->put($bytes) if length $bytes;
        return $self->end('close') if $self->{eof};
        return $self->after($IDLE);
    }
    if (!$self->{head}) {
        $self->{in} =~ s/\A(.*?\r\n\r\n)//s or return $self->{eof} && $self->end('close');
        $self->{head} = $1;
        my ($sweep) = $self->{head} =~ /^X-Sweep: (.*?)\r$/mi;
        $self->{sweep} = $sweep // '';
        $self->{waits} = $self->{sweep} =~ /[?&]w=1/;
    }
    if (!$self->{steps}) {
        return $self->{eof} && $self->end('close') unless !$self->{waits} || $self->_has_body;
        my ($name) = $self->{sweep} =~ /[?&]$self->{which}=([\w-]+)/;
        $self->{steps} = [($ANSWERS{ $name // 200 } // $ANSWERS{200})->($self)];
        return $self->_step;
    }
    $self->end('close') if $self->{eof} && !length $self->{out};
}

sub due {
    my ($self) = @_;
    $self->{steps} && @{ $self->{steps} } ? $self->_step : $self->end('close');
}

sub _step {
    my ($self) = @_;
    my $step = shift @{ $self->{steps} } // return;
    if (ref $step) {
        $self->after(0.05);
    } elsif ($step eq 'close' || $step eq 'reset') {
        $self->end($step);
    } elsif ($step eq 'keep') {
        $self->after(3);
    } elsif ($step eq 'echo') {
        $self->{echo} = 1;
        $self->after($IDLE);
        $self->readable;
    } else {
        $self->after(10);
        $self->put($step, sub { $self->_step });
    }
}

sub _has_body {
    my ($self) = @_;
    return $self->{in} =~ /(?:\A|\n)0\r\n\r\n\z/ if $self->{head} =~ /^Transfer-Encoding:.*chunked/mi;
    return length $self->{in} >= ($self->{head} =~ /^Content-Length: (\d+)/mi ? $1 : 0);
}

# ---- texts ---------------------------------------------------------------------------------------

sub big { return $_[0]{sweep} =~ m!^/\w+-big! ? 300_000 : 12_000 }

# X-Accel-* that the place asks for, and what a cache needs.
sub _own_headers {
    my ($self) = @_;
    return if $self->{which} eq 's';
    my @headers = map {"X-Accel-Redirect: /_accel/$_/"} $self->{sweep} =~ m!^/([\w.-]+)/accel/!;
    push @headers, 'X-Accel-Expires: ' . ($1 eq 'hit' ? 60 : '@1'), 'ETag: "1"' if $self->{sweep} =~ /&prime=(\w+)/;
    return @headers;
}

sub _head {
    my ($self, $status, @headers) = @_;
    return join "\r\n", "HTTP/1.1 $status", 'Content-Type: text/html', 'Connection: close', $self->_own_headers, @headers, '', '';
}

sub _answer {
    my ($self, $status, $body, @headers) = @_;
    $body = "<p>$self->{which}<!--# include virtual=\"/_ssi/$1/\" --></p>" . $body
        if $self->{which} eq 'b' && $self->{sweep} =~ m!^/([\w.-]+)/ssi!;
    if ($status =~ /^200/ && $self->{head} =~ /^Range: bytes=(\d+)-(\d+)/mi && $1 < length $body) {
        my ($from, $size) = ($1, length $body);
        my $to = $2 < $size ? $2 : $size - 1;
        $body = substr $body, $from, $to - $from + 1;
        ($status, @headers) = ('206 Partial Content', @headers, "Content-Range: bytes $from-$to/$size");
    }
    return _head($self, $status, @headers, 'Content-Length: ' . length $body) . ($self->{head} =~ /^HEAD/ ? '' : $body);
}

sub _switch {
    my ($self, %options) = @_;
    my ($key) = $self->{head} =~ /^Sec-WebSocket-Key: (.*?)\r$/mi;
    my %value = (
        upgrade    => 'websocket',
        connection => 'Upgrade',
        accept     => Test::WebSocketGuard::Client::accept_for($key // ''),
        %options
    );
    my %name = (upgrade => 'Upgrade', connection => 'Connection', accept => 'Sec-WebSocket-Accept');
    return join "\r\n", 'HTTP/1.1 101 Switching Protocols',
        (map {"$name{$_}: $value{$_}"} grep { defined $value{$_} } qw/ upgrade connection accept /),
        $self->_own_headers, @{ $options{headers} // [] }, '', '';
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Sweep::Backend - what answers in the sweep

=cut
