"""Clients and backends of many tunnels at once, in one process: frames, byte by byte."""

import asyncio
import base64
import hashlib
import os
import resource
import socket
import ssl
import struct

CLOSE, PING, PONG = 0x88, 0x89, 0x8A

# A Ping of the guard's has a payload of this length; those that a test sends have none of it.
OWN_PING = 12

# Each tunnel is two descriptors here.
resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)


def frame(first, payload=b"", masked=False):
    """RFC 6455 section 5.2; `first` is the byte with FIN, the reserved bits and the opcode."""
    bit, length = 0x80 if masked else 0, len(payload)
    if length < 126:
        header = struct.pack("!BB", first, bit | length)
    elif length < 1 << 16:
        header = struct.pack("!BBH", first, bit | 126, length)
    else:
        header = struct.pack("!BBQ", first, bit | 127, length)
    if not masked:
        return header + payload
    mask = os.urandom(4)
    return header + mask + unmask(payload, mask)


def unmask(payload, mask):
    keys = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(payload), "big")


class Frame:
    """One that came: its first byte, and all of it as it came."""

    def __init__(self, raw, at, mask):
        self.first, self.raw, self._at, self._mask = raw[0], raw, at, mask

    @property
    def payload(self):
        payload = self.raw[self._at :]
        return unmask(payload, self._mask) if self._mask else payload


class Parser:
    """Cuts bytes into frames."""

    def __init__(self):
        self.rest = bytearray()

    def feed(self, data):
        """The frames that are complete now."""
        self.rest += data
        frames = []
        while (cut := self._next()) is not None:
            frames.append(cut)
        return frames

    def _next(self):
        rest = self.rest
        if len(rest) < 2:
            return None
        length, at = rest[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(rest) < 2 + size:
                return None
            length, at = int.from_bytes(rest[2 : 2 + size], "big"), 2 + size
        mask = bytes(rest[at : at + 4]) if rest[1] & 0x80 else b""
        at += 4 if rest[1] & 0x80 else 0
        if len(rest) < at + length:
            return None
        raw = bytes(rest[: at + length])
        del rest[: at + length]
        return Frame(raw, at, mask)


async def connect(port, path, tls=False, headers=(), receive_buffer=None):
    """Opens a WebSocket. Returns its reader and writer."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await loop.sock_connect(connection, ("127.0.0.1", port))
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        sock=connection, ssl=context, server_hostname="localhost" if tls else None, limit=receive_buffer or 1 << 16
    )
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ["Host: localhost", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}"]
    lines += ["Sec-WebSocket-Version: 13", *headers]
    writer.write("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if not head.startswith("HTTP/1.1 101 "):
        raise ConnectionError(head.partition("\r\n")[0])
    return reader, writer


async def serve(port, handle, certificate=None, receive_buffer=None):
    """Listens. `handle(path, reader, writer)` has each WebSocket; with it the connection ends."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")

    async def accept(reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
            digest = hashlib.sha1((fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
            answer = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
            answer.append("Sec-WebSocket-Accept: " + base64.b64encode(digest.digest()).decode())
            if "sec-websocket-extensions" in fields:
                answer.append("Sec-WebSocket-Extensions: permessage-deflate")
            writer.write("\r\n".join([*answer, "", ""]).encode())
            await handle(head.split(" ")[1], reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            # The last one: the test is over.
            pass
        finally:
            hang_up(writer)

    return await asyncio.start_server(accept, sock=listener, ssl=context, limit=receive_buffer or 1 << 16)


def hang_up(writer):
    try:
        writer.close()
    except (ConnectionError, ssl.SSLError):
        pass
