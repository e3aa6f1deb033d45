#!/usr/bin/env python3
"""check.py PORT PAGE: is the demo at PORT at work? Standard library only."""

import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import sys

PORT, PAGE = int(sys.argv[1]), sys.argv[2]
TIMEOUT = 10


def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200, f"GET {path}: {response.status}"
    body = response.read()
    connection.close()
    return body


def page_is_served():
    with open(PAGE, "rb") as page:
        assert get("/") == page.read(), "GET / is not the page"


def plain_request_stays_plain():
    seen = json.loads(get("/ws"))
    names = [name for name, _ in seen["headers"]]
    assert "upgrade" not in names, f"the backend sees an upgrade: {seen}"


def receive(stream, length):
    data = stream.read(length)
    assert len(data) == length, "the connection ended early"
    return data


def send_frame(connection, opcode, payload):
    """Sends one masked frame (RFC 6455, section 5.2); the 64-bit length serves all long ones here."""
    length = len(payload)
    if length < 126:
        header = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    mask = os.urandom(4)
    key = (mask * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    connection.sendall(header + mask + masked.to_bytes(length, "big"))


def receive_frame(stream):
    first, length = receive(stream, 2)
    assert first & 0x80, "the echo is fragmented"
    if length == 126:
        (length,) = struct.unpack("!H", receive(stream, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", receive(stream, 8))
    return first & 0x0F, receive(stream, length)


def messages_come_back():
    key = base64.b64encode(os.urandom(16)).decode()
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
    with socket.create_connection(("127.0.0.1", PORT), TIMEOUT) as connection:
        connection.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        stream = connection.makefile("rb")
        status = stream.readline().decode()
        assert status.startswith("HTTP/1.1 101 "), f"handshake: {status!r}"
        headers = http.client.parse_headers(stream)
        assert headers["Sec-WebSocket-Accept"] == accept, f"handshake: {headers.items()}"

        text, binary, close = 1, 2, 8
        for opcode, payload in [
            (text, "grüße".encode()),
            (binary, os.urandom(1 << 20)),
            (close, struct.pack("!H", 1000)),
        ]:
            send_frame(connection, opcode, payload)
            assert receive_frame(stream) == (opcode, payload), f"wrong echo of opcode {opcode}"


for check in page_is_served, plain_request_stays_plain, messages_come_back:
    try:
        check()
    except (AssertionError, OSError, http.client.HTTPException, ValueError) as error:
        sys.exit(f"not ok - {check.__name__}: {error}")
    print(f"ok - {check.__name__}")
