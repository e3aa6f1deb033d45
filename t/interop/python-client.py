"""python-client.py URL: the client of the library websockets talks to python-server.py."""

import asyncio
import json
import os
import sys
from functools import partial

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL = sys.argv[1]
open_socket = partial(connect, max_size=None, proxy=None)


def equal(actual, expected):
    assert actual == expected, f"{actual!r:.200} instead of {expected!r:.200}"


async def ask(socket, message):
    await socket.send(message)
    return await socket.recv()


async def text_message():
    async with open_socket(URL) as socket:
        equal(await ask(socket, "grüße, 世界"), "grüße, 世界")


async def binary_message():
    async with open_socket(URL) as socket:
        equal(await ask(socket, bytes(range(256))), bytes(range(256)))


async def one_mebibyte():
    data = os.urandom(1 << 20)
    async with open_socket(URL, compression=None) as socket:
        equal(await ask(socket, data), data)


async def a_thousand_messages_in_order():
    messages = [f"message {number}" for number in range(1000)]
    async with open_socket(URL) as socket:
        sender = asyncio.create_task(send_all(socket, messages))
        equal([await socket.recv() for _ in messages], messages)
        await sender


async def send_all(socket, messages):
    for message in messages:
        await socket.send(message)


async def ping_of_the_client():
    async with open_socket(URL) as socket:
        latency = await (await socket.ping("from the client"))
        assert latency > 0, f"latency {latency}"


async def ping_of_the_server():
    async with open_socket(URL) as socket:
        equal(await ask(socket, "ping"), "ponged")


async def close_code_of_the_server():
    async with open_socket(URL) as socket:
        await socket.send("close 4001")
        try:
            message = await socket.recv()
        except ConnectionClosed as closed:
            equal((closed.rcvd.code, closed.rcvd.reason), (4001, "as asked"))
        else:
            raise AssertionError(f"not closed, but {message!r}")


async def close_code_of_the_client():
    async with open_socket(URL + "closing") as socket:
        await socket.close(4002, "enough")
        equal(socket.close_code, 4002)
    async with open_socket(URL) as socket:
        code = None
        while code is None:
            code = json.loads(await ask(socket, "close-code-of /python/closing"))
        equal(code, 4002)


async def permessage_deflate():
    async with open_socket(URL, compression="deflate") as socket:
        equal([extension.name for extension in socket.protocol.extensions], ["permessage-deflate"])
        equal(json.loads(await ask(socket, "describe"))["extensions"], ["permessage-deflate"])
        equal(await ask(socket, "a" * 100_000), "a" * 100_000)
    async with open_socket(URL, compression=None) as socket:
        equal(json.loads(await ask(socket, "describe"))["extensions"], [])


async def subprotocol():
    async with open_socket(URL, subprotocols=["chat.v2", "chat.v1"]) as socket:
        equal(socket.subprotocol, "chat.v1")
        equal(json.loads(await ask(socket, "describe"))["subprotocol"], "chat.v1")


async def refusal_of_the_server():
    try:
        async with open_socket(URL + "forbidden"):
            raise AssertionError("connected")
    except InvalidStatus as refused:
        equal((refused.response.status_code, refused.response.body), (403, b"not you\n"))


CASES = [
    text_message,
    binary_message,
    one_mebibyte,
    a_thousand_messages_in_order,
    ping_of_the_client,
    ping_of_the_server,
    close_code_of_the_server,
    close_code_of_the_client,
    permessage_deflate,
    subprotocol,
    refusal_of_the_server,
]


async def main():
    print(f"1..{len(CASES)}")
    failed = False
    for case in CASES:
        name = case.__name__.replace("_", " ")
        try:
            async with asyncio.timeout(20):
                await case()
            print(f"ok - {name}", flush=True)
        except Exception as error:
            failed = True
            print(f"not ok - {name}: {error!r:.300}", flush=True)
    return failed


sys.exit(asyncio.run(main()))
