package Test::WebSocketGuard::Backend;

# A backend: one process per connection, each request recorded as it came, answers by a table.

use strict;
use warnings;

use Digest::MD5 ();
use IO::Socket::IP ();
use JSON::PP ();
use POSIX ();
use Protocol::WebSocket::Frame ();
use Socket ();
use Test::Nginx ();
use Test::WebSocketGuard::Client;
use Test::WebSocketGuard::Head;
use Test::WebSocketGuard::Stream;
use Time::HiRes qw/ sleep /;

our @ISA = 'Test::WebSocketGuard::Stream';

# A connection on which nothing happens for so long belongs to a test that is gone.
my $FORGOTTEN = 300;

my $JSON = JSON::PP->new->ascii->canonical;

# The last segment of the path chooses the handler, "websocket" stands for any other upgrade
# request and "plain" for any other request. A handler gets the connection and the request.
my %HANDLERS = (
    websocket => sub { my ($c) = @_; $c->upgrade && $c->echo },
    plain     => sub { my ($c, $request) = @_; $c->respond(200, $c->describe($request)) },

    # /slow?3: thinks for three seconds.
    slow => sub {
        my ($c, $request) = @_;
        sleep $request->args;
        $c->default($request);
    },

    # /status?403
    status => sub { my ($c, $request) = @_; $c->respond($request->args, "status\n") },

    # /redirect?http://other/
    redirect => sub { my ($c, $request) = @_; $c->respond(302, '', 'Location: ' . $request->args) },

    # /sse?3,0.5: three events, one every half second.
    sse => sub {
        my ($c, $request) = @_;
        my ($count, $delay) = split /,/, $request->args || '3,0.3';
        $c->write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        for my $number (1 .. $count) {
            $c->write("data: event $number\n\n");
            sleep $delay if $number < $count;
        }
        $c->disconnect;
    },

    # /size?1000000: a body of that size; /big-header?9000: a header of that size.
    size => sub { my ($c, $request) = @_; $c->respond(200, 'x' x $request->args) },
    'big-header' => sub { my ($c, $request) = @_; $c->respond(200, '', 'X-Big: ' . 'x' x $request->args) },

    # No answer at all.
    close => sub { $_[0]->disconnect },
    reset => sub { $_[0]->reset },

    # Wrong answers to a handshake; they go on as if all were well.
    'bad-accept'       => sub { my ($c) = @_; $c->upgrade(accept => 'c29tZXRoaW5nIGVsc2UgYWx0b2dldGhlcg==') && $c->echo },
    'no-accept'        => sub { my ($c) = @_; $c->upgrade(accept => undef) && $c->echo },
    'no-upgrade-header' => sub { my ($c) = @_; $c->upgrade(upgrade => undef) && $c->echo },
    'no-connection-header' => sub { my ($c) = @_; $c->upgrade(connection => undef) && $c->echo },
    'wrong-upgrade'    => sub { my ($c) = @_; $c->upgrade(upgrade => 'h2c') && $c->echo },

    # /101: a 101 whether or not the request asked for it.
    101 => sub { my ($c) = @_; $c->upgrade && $c->echo },

    # /subprotocol?chat, /extension?permessage-deflate: what the server chooses.
    subprotocol => sub {
        my ($c, $request) = @_;
        $c->upgrade(headers => ['Sec-WebSocket-Protocol: ' . $request->args]) && $c->echo;
    },
    extension => sub {
        my ($c, $request) = @_;
        $c->upgrade(headers => ['Sec-WebSocket-Extensions: ' . $request->args]) && $c->echo;
    },

    # /greet?hello: a message in the same packet as the 101.
    greet => sub {
        my ($c, $request) = @_;
        $c->upgrade(bytes => $c->frame(text => $request->args)) && $c->echo;
    },

    # /push?5,1: five messages, one a second, then echo.
    push => sub {
        my ($c, $request) = @_;
        my ($count, $delay) = split /,/, $request->args;
        $c->upgrade or return;
        for my $number (1 .. $count) {
            $c->send("push $number");
            sleep $delay // 0;
        }
        $c->echo;
    },

    # /bye?1001,2: a Close frame with that code after two seconds.
    bye => sub {
        my ($c, $request) = @_;
        my ($code, $delay) = split /,/, $request->args;
        $c->upgrade or return;
        sleep $delay // 0;
        $c->send(pack('n', $code), 'close');
        $c->closed_within(2);
        $c->disconnect;
    },

    # /drop?2: the connection is closed without a Close frame after two seconds; /cut?2: reset.
    drop => sub { my ($c, $request) = @_; $c->upgrade; sleep $request->args || 0; $c->disconnect },
    cut  => sub { my ($c, $request) = @_; $c->upgrade; sleep $request->args || 0; $c->reset },

    # /stall: a tunnel from which the backend never reads.
    stall => sub { my ($c) = @_; $c->upgrade; sleep $FORGOTTEN },
);

# ---- the process ---------------------------------------------------------------------------------

sub listener {
    my ($number, %options) = @_;
    my $host = $options{host} // '127.0.0.1';
    my $port = Test::Nginx::port($number);
    return IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Listen => 512, ReuseAddr => 1)
        // die "cannot listen on $host:$port: $@\n";
}

sub serve {
    my ($t, $number, %options) = @_;
    my $listener = delete $options{listener} // listener($number, %options);
    my $parent   = getppid;
    my ($count, %children) = (0);

    local $SIG{TERM} = sub {
        kill 'TERM', keys %children;
        POSIX::_exit(0);
    };

    while (getppid == $parent) {
        my $bit = '';
        vec($bit, fileno $listener, 1) = 1;
        my $ready = select $bit, undef, undef, 0.5;
        while ((my $gone = waitpid -1, POSIX::WNOHANG()) > 0) {
            delete $children{$gone};
        }
        next unless $ready > 0;

        my $socket = $listener->accept or next;
        my $pid = fork() // die "Can't fork: $!\n";
        if ($pid == 0) {
            $SIG{TERM} = 'DEFAULT';
            CORE::close($listener);
            eval { _connection($t, $number, $$, $socket, %options); 1 } or warn "backend $number: $@";
            POSIX::_exit(0);
        }
        $children{$pid} = 1;
    }

    kill 'TERM', keys %children;
    POSIX::_exit(0);
}

sub _connection {
    my ($t, $number, $id, $socket, %options) = @_;
    my $self = bless {
        handlers => { %HANDLERS, %{ $options{handlers} // {} } },
        protocol => $options{protocol} // 'http',
        number   => $number,
        testdir  => $t->testdir,
    }, __PACKAGE__;

    $socket->setsockopt(Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1);
    $self->attach($socket);
    if (my $name = $options{ssl}) {
        # nginx may hang up during the handshake where a test wants it to.
        eval {
            $self->start_tls(
                SSL_server    => 1,
                SSL_cert_file => "$self->{testdir}/$name.crt",
                SSL_key_file  => "$self->{testdir}/$name.key",
            );
        } or return;
    }

    my $count = 0;
    while (defined(my $head = $self->_read_head)) {
        my $request = Test::WebSocketGuard::Request->new($head, connection => $id, request => ++$count);
        $self->{current} = $request;
        $self->_record($request);
        $self->_read_body($request) or last;

        my ($segment) = $request->path =~ m!([^/]*)\z!;
        my $handler = $self->{handlers}{$segment};
        $handler && $segment ne 'default' ? $handler->($self, $request) : $self->default($request);
        last if $self->eof or $self->{upgraded} or !$request->keep_alive;
    }
    $self->disconnect;
}

sub default {
    my ($self, $request) = @_;
    $self->{handlers}{ $request->is_upgrade ? 'websocket' : 'plain' }->($self, $request);
}

sub _read_head {
    my ($self) = @_;
    return $self->read_until(qr/\r?\n\r?\n/, $FORGOTTEN) if $self->{protocol} eq 'http';

    my %params = $self->{protocol} eq 'uwsgi' ? $self->_read_uwsgi : $self->_read_scgi;
    %params or return undef;
    my @lines = map { /^HTTP_(.*)/ ? ($1 =~ tr/_/-/r) . ": $params{$_}" : () } sort keys %params;
    push @lines, "Content-Length: $params{CONTENT_LENGTH}" if $params{CONTENT_LENGTH};
    # As HTTP/1.0: each connection is for one request.
    return join "\r\n", "$params{REQUEST_METHOD} $params{REQUEST_URI} HTTP/1.0", @lines, '', '';
}

# Modifier, size, modifier; then names and values, each behind its size.
sub _read_uwsgi {
    my ($self) = @_;
    my $header = $self->read(4, $FORGOTTEN) // return;
    return unpack '(v/a)*', $self->read(unpack('x v', $header), $FORGOTTEN) // return;
}

# A netstring of names and values, each with a NUL behind it.
sub _read_scgi {
    my ($self) = @_;
    my ($size) = map {/(\d+)/} $self->read_until(qr/\A\d+:/, $FORGOTTEN) // return;
    my $params = $self->read($size + 1, $FORGOTTEN) // return;
    return split /\0/, substr($params, 0, -2), -1;
}

# One write, so that the records of different connections do not mix.
sub _record {
    my ($self, $request) = @_;
    open my $file, '>>', "$self->{testdir}/requests-$self->{number}.json" or die "requests: $!\n";
    syswrite $file, $JSON->encode({ map { $_ => $request->{$_} } qw/ connection request head / }) . "\n";
    CORE::close($file);
}

# Large bodies are only counted and summed up.
sub _read_body {
    my ($self, $request) = @_;
    my $digest = Digest::MD5->new;
    $request->{body} = '';
    $request->{body_length} = 0;

    my $take = sub {
        my ($data) = @_;
        $digest->add($data);
        $request->{body_length} += length $data;
        $request->{body} .= $data if $request->{body_length} <= 65536;
    };

    if (($request->header('Transfer-Encoding') // '') =~ /chunked/i) {
        $take->($self->read_chunked($FORGOTTEN) // return 0);
    } else {
        my $left = $request->header('Content-Length') // 0;
        while ($left > 0) {
            my $data = $self->read_some($left < 65536 ? $left : 65536, $FORGOTTEN);
            return 0 unless length $data;
            $left -= length $data;
            $take->($data);
        }
    }
    $request->{body_md5} = $digest->hexdigest;
    return 1;
}

# ---- for handlers --------------------------------------------------------------------------------

# respond($status, $body, 'Header: value', ...)
sub respond {
    my ($self, $status, $body, @headers) = @_;
    my $request = $self->{current};
    my $connection = $request->keep_alive ? 'keep-alive' : 'close';
    unshift @headers, 'Content-Type: text/plain' unless grep {/^Content-Type:/i} @headers;
    my $reason = $status == 200 ? 'OK' : 'Answer';
    $self->write(join "\r\n", "HTTP/1.1 $status $reason", @headers, 'Content-Length: ' . length $body,
        "Connection: $connection", '', $request->method eq 'HEAD' ? '' : $body);
}

# What was received, as text.
sub describe {
    my ($self, $request) = @_;
    return join "\n",
        "backend: $self->{number}",
        'method: ' . $request->method,
        'uri: ' . $request->uri,
        'request: ' . $request->request,
        "body-length: $request->{body_length}",
        "body-md5: $request->{body_md5}",
        '', $request->head;
}

# Sends the 101. accept, upgrade, connection: another value, or undef to leave the header out;
# headers: more lines; bytes: what follows in the same packet.
sub upgrade {
    my ($self, %options) = @_;
    my $key = $self->{current}->header('Sec-WebSocket-Key') // '';
    my %value = (
        upgrade    => 'websocket',
        connection => 'Upgrade',
        accept     => Test::WebSocketGuard::Client::accept_for($key),
        %options
    );
    my %name = (upgrade => 'Upgrade', connection => 'Connection', accept => 'Sec-WebSocket-Accept');

    $self->{upgraded} = 1;
    return $self->write(join "\r\n", 'HTTP/1.1 101 Switching Protocols',
        (map {"$name{$_}: $value{$_}"} grep { defined $value{$_} } qw/ upgrade connection accept /),
        @{ $options{headers} // [] }, '', $options{bytes} // '');
}

sub frame {
    my ($self, $type, $payload) = @_;
    return Protocol::WebSocket::Frame->new(buffer => $payload, type => $type, max_payload_size => 0)->to_bytes;
}

sub send {
    my ($self, $payload, $type) = @_;
    return $self->write($self->frame($type // 'text', $payload));
}

# Every frame back as it came, in pieces, so that its size does not matter. Answers Ping and Close.
sub echo {
    my ($self) = @_;
    while (defined(my $start = $self->read(2, $FORGOTTEN))) {
        my ($first, $second) = unpack 'CC', $start;
        my ($opcode, $length) = ($first & 0x0f, $second & 0x7f);

        my $extended = $length == 126 ? $self->read(2) : $length == 127 ? $self->read(8) : '';
        my $mask = $second & 0x80 ? $self->read(4) : "\0\0\0\0";
        return unless defined $extended && defined $mask;
        $length = unpack $length == 126 ? 'n' : 'Q>', $extended if $length >= 126;

        $first = ($first & 0xf0) | 0x0a if $opcode == 9;
        $self->write(pack('CC', $first, $second & 0x7f) . $extended, $FORGOTTEN) or return;
        $self->_echo_payload($length, $mask) or return;
        return $self->disconnect if $opcode == 8;
    }
}

sub _echo_payload {
    my ($self, $left, $mask) = @_;
    my $piece = 64 * 1024;
    my $masks = $mask x ($piece / 4);
    while ($left > 0) {
        # Whole masks, but for the end of the frame.
        my $want = $left < $piece ? $left : $piece;
        $self->fill($FORGOTTEN) or return 0 while length $self->{in} < 4 && length $self->{in} < $want;
        my $have = length $self->{in} < $want ? length($self->{in}) & ~3 : $want;

        my $data = substr $self->{in}, 0, $have, '';
        $self->write($data ^ substr($masks, 0, $have), $FORGOTTEN) or return 0;
        $left -= $have;
    }
    return 1;
}

1;

__END__

=head1 NAME

Test::WebSocketGuard::Backend - what stands behind nginx in the tests

=head1 DESCRIPTION

Started by C<run_backend>, see L<Test::WebSocketGuard>. The table at the top says which paths it
knows. With C<< protocol => 'uwsgi' >> or C<'scgi'> it is a server of that protocol, for which nginx has to send the
parameters REQUEST_METHOD and REQUEST_URI; the request looks as if it had come by HTTP. A handler of a
test, C<< handlers => { name => sub { my ($c, $request) = @_; ... } } >>, answers any path that ends in /name; the names C<websocket> and C<plain> replace the default answers. It can use
C<respond>, C<upgrade>, C<send>, C<echo>, C<describe>, C<default>, the methods of L<Test::WebSocketGuard::Stream>,
and of the request those of L<Test::WebSocketGuard::Head>, and C<body>, C<body_length>, C<body_md5> as hash keys.

=cut
