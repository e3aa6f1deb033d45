"""drain.py CONF: what the clients of a worker that is told to leave see, and what their backends get.

CONF is JSON: the ports "client" and "backend", "clients" for each of "paths", and "signal", the process to send a HUP
once all are there. A backend of a path with "deaf" in it answers no Close. Prints a line of JSON for each path, and one
for the connections that were opened meanwhile.
"""

import asyncio
import json
import os
import signal
import sys

from websocket import CLOSE, Parser, connect, frame, hang_up, serve

# How often a client says something, in seconds.
INTERVAL = 0.5

TEXT = 0x81


class Client:
    def __init__(self, path):
        self.path, self.sent, self.noted = path, [], []
        self.code = self.at = None
        # Whether the connection ended in an orderly way, after its Close.
        self.clean = False

    async def open(self, number):
        self.reader, self.writer = await connect(conf["client"], f"{self.path}?{number}")

    async def run(self, started):
        talking = asyncio.create_task(self.talk())
        parser = Parser()
        try:
            while data := await self.reader.read(4096):
                for one in parser.feed(data):
                    if one.first != CLOSE or self.code:
                        continue
                    self.at = asyncio.get_running_loop().time() - started
                    self.code = int.from_bytes(one.payload[:2], "big")
                    # It still has something to say.
                    talking.cancel()
                    self.say("last")
                    self.writer.write(frame(CLOSE, one.payload, masked=True))
            self.clean = self.code is not None
        except ConnectionError:
            pass
        talking.cancel()
        hang_up(self.writer)

    async def talk(self):
        while True:
            self.say(str(len(self.sent)))
            await asyncio.sleep(INTERVAL)

    def say(self, text):
        self.sent.append(text)
        self.writer.write(frame(TEXT, text.encode(), masked=True))


clients = {}


async def backend(path, reader, writer):
    """Notes what comes, sends it back, and answers a Close if it is one that does."""
    client, parser, closed = clients.get(path), Parser(), False
    while data := await reader.read(4096):
        for one in parser.feed(data):
            if one.first == CLOSE:
                closed = True
                if "deaf" not in path:
                    writer.write(frame(CLOSE, one.payload))
                    return
            elif client:
                client.noted.append(one.payload.decode() + (" after its Close" if closed else ""))
            if not closed:
                writer.write(frame(TEXT, one.payload))


async def newcomer():
    """Opens a tunnel, has an echo, and closes."""
    reader, writer = await connect(conf["client"], conf["paths"][0])
    writer.write(frame(TEXT, b"hello", masked=True))
    parser, said = Parser(), []
    while data := await reader.read(4096):
        for one in parser.feed(data):
            if one.first == CLOSE:
                break
            said.append(one.payload)
            writer.write(frame(CLOSE, b"\x03\xe8", masked=True))
    hang_up(writer)
    return said == [b"hello"]


async def newcomers(served):
    while True:
        try:
            async with asyncio.timeout(10):
                served.append("served" if await newcomer() else "not echoed")
        except Exception as error:
            served.append(repr(error))
        await asyncio.sleep(0.02)


def most_within(moments, seconds):
    """How many of the moments lie within so many seconds, wherever these begin."""
    return max(sum(begin <= moment < begin + seconds for moment in moments) for begin in moments)


async def main():
    await serve(conf["backend"], backend)
    for path in conf["paths"]:
        for first in range(0, conf["clients"], 50):
            numbers = range(first, first + 50)
            clients.update({f"{path}?{number}": Client(path) for number in numbers})
            await asyncio.gather(*(clients[f"{path}?{number}"].open(number) for number in numbers))
    loop = asyncio.get_running_loop()
    served = []
    opening = asyncio.create_task(newcomers(served))
    await asyncio.sleep(INTERVAL)
    os.kill(conf["signal"], signal.SIGHUP)
    started = loop.time()
    try:
        async with asyncio.timeout(conf["seconds"]):
            await asyncio.gather(*(client.run(started) for client in clients.values()))
    except asyncio.TimeoutError:
        pass
    lasted = loop.time() - started
    # What was sent last is on its way to the backend.
    await asyncio.sleep(1)
    opening.cancel()
    for path in conf["paths"]:
        these = [client for client in clients.values() if client.path == path]
        codes = {}
        for client in these:
            codes[client.code or "none"] = codes.get(client.code or "none", 0) + 1
        moments = [client.at for client in these if client.at is not None]
        lost = [f"{client.sent} but {client.noted}" for client in these if client.noted != client.sent]
        print(json.dumps({
            "path": path, "codes": codes, "unclean": sum(not client.clean for client in these), "lost": lost[:3],
            "first": min(moments, default=0), "last": max(moments, default=0), "lasted": lasted,
            "most": most_within(moments or [0], 0.5), "messages": sum(len(client.sent) for client in these),
        }))
    print(json.dumps({"served": served.count("served"), "else": [it for it in served if it != "served"][:3]}))


conf = json.loads(sys.argv[1])
asyncio.run(main())
