"""exact.py CONF: what both ends of many tunnels get, less the Pings of the guard's, is what was sent.

CONF is JSON: the ports "client" and "backend", plain and TLS, "certificate" without its suffix, and "seed". Prints a
line of JSON for each tunnel.
"""

import asyncio
import json
import random
import struct
import sys

from websocket import CLOSE, OWN_PING, PING, PONG, Parser, connect, frame, hang_up, serve

# 65,550 is what the guard reads at once.
SIZES = [1, 2, 4095, 4096, 4097, 16384, 16385, 65535, 65536, 65537, 65549, 65550, 65551, 131072, 1000003]

# In seconds: a turn of the guard's wheel, and a little more.
PAUSE = 0.15


class Plan:
    """What one side sends, and how: bytes, and the places between their frames, some of them with a pause."""

    def __init__(self, rng, masked):
        self.rng, self.masked = rng, masked
        self.stream = bytearray()
        self.boundaries, self.pauses = {0}, set()
        self.style = "pieces"
        self.slow_reader = False
        self.tail = b""
        self.close_at = None

    def add(self, first, payload=b""):
        self.stream += frame(first, payload, self.masked)
        self.boundaries.add(len(self.stream))

    def pause(self):
        self.pauses.add(len(self.stream))

    def add_control(self):
        first = self.rng.choice([PING, PONG, PONG])
        # A Pong of that length is not the guard's to take, if it does not answer a Ping of its own.
        lengths = [0, 1, 4, 11, 13, 125] if first == PING else [0, 4, OWN_PING, 125]
        self.add(first, self.rng.randbytes(self.rng.choice(lengths)))

    def add_messages(self, count, lengths, pauses, deflated):
        for number in range(count):
            if number < pauses:
                self.pause()
            first = self.rng.choice([0x01, 0x02]) | (0x40 if deflated and self.rng.random() < 0.7 else 0)
            pieces = [self.rng.randbytes(self.rng.choice(lengths)) for _ in range(self.rng.choice([1, 1, 1, 2, 5]))]
            for index, piece in enumerate(pieces):
                is_last = index == len(pieces) - 1
                self.add((first if index == 0 else 0) | (0x80 if is_last else 0), piece)
                if self.rng.random() < 0.3:
                    self.add_control()

    def writes(self, position):
        """How many bytes are written at once."""
        left = len(self.stream) - position
        if self.style == "bytes":
            return 1
        if self.style == "whole":
            return min(edge for edge in self.sorted if edge > position) - position
        return min(left, self.rng.choice([1, 7, 500, 5000, 70000]))


def plans(scenario, rng, deflated):
    client, backend = Plan(rng, True), Plan(rng, False)
    match scenario:
        case "one byte at a time":
            for plan in (client, backend):
                plan.style = "bytes"
                plan.add_messages(20, [0, 1, 5, 30, 125, 126, 127], 8, deflated)
        case "pieces of all sizes":
            for plan in (client, backend):
                plan.add_messages(50, [0, 1, 125, 126, 127, 4096, 65535, 65536, 70000], 8, deflated)
        case "what the guard reads at once, and a byte more":
            for plan in (client, backend):
                plan.style = "whole"
                for size in SIZES:
                    header = len(frame(0x82, b"x" * size, plan.masked)) - size
                    plan.pause()
                    # One whose payload is of that size, and one that is of that size with its header.
                    plan.add(0x82, rng.randbytes(size))
                    plan.add(0x82, rng.randbytes(max(0, size - header)))
        case "a client that reads slowly":
            client.slow_reader = True
            client.add_messages(20, [0, 5, 126], 15, deflated)
            backend.add_messages(40, [0, 1, 65536, 70000], 1, deflated)
        case "a backend that reads slowly":
            backend.slow_reader = True
            backend.add_messages(20, [0, 5, 126], 15, deflated)
            client.add_messages(40, [0, 1, 65536, 70000], 1, deflated)
        case "only one speaks":
            for plan in (client, backend):
                plan.add_control()
            backend.add_messages(40, [0, 1, 125, 4096], 12, deflated)
    match rng.choice(["close", "end", "cut"]):
        case "close":
            for plan in (client, backend):
                plan.close_at = len(plan.stream)
                plan.add(CLOSE, struct.pack("!H", 1000) + b"bye")
        case "cut":
            # The one who ends the connection does so within a frame, or its header.
            last = frame(0x82, rng.randbytes(300), True)
            client.tail = last[: rng.choice([1, 3, 7, 100])]
            last = frame(0x82, rng.randbytes(300))
            backend.tail = last[: rng.choice([1, 3, 100])]
    for plan in (client, backend):
        plan.sorted = sorted(plan.boundaries)
        plan.stops = sorted(plan.pauses | {plan.close_at or 0})
    return client, backend


class End:
    """One end of a tunnel."""

    def __init__(self, plan, other):
        self.plan, self.expected = plan, bytes(other.stream)
        self.tail, self.close_at = other.tail, other.close_at
        self.received, self.parser = bytearray(), Parser()
        self.pings, self.pings_within = 0, 0
        self.pongs, self.has_pongs, self.answers = [], asyncio.Event(), True
        self.complete, self.sent = asyncio.Event(), asyncio.Event()

    async def run(self, reader, writer):
        self.writer = writer
        writing = asyncio.create_task(self.write(writer))
        try:
            await self.read(reader)
        finally:
            writing.cancel()

    async def read(self, reader):
        while data := await reader.read(2000 if self.plan.slow_reader else 1 << 17):
            for one in self.parser.feed(data):
                if one.first == PING and len(one.payload) == OWN_PING:
                    self.pings += 1
                    self.pings_within += 0 < len(self.received) < len(self.expected)
                    self.pongs.append(frame(PONG, one.payload, self.plan.masked))
                    self.has_pongs.set()
                else:
                    self.received += one.raw
            if len(self.received) + len(self.parser.rest) >= len(self.expected):
                self.complete.set()
            if self.plan.slow_reader:
                await asyncio.sleep(0.002)

    async def write(self, writer):
        plan, position = self.plan, 0
        while True:
            if position in plan.boundaries:
                await self.answer(writer, PAUSE if position in plan.pauses else 0)
            while position == plan.close_at and len(self.received) < self.close_at:
                await self.answer(writer, 0.02)
            if position == len(plan.stream):
                break
            length = plan.writes(position)
            stops = plan.sorted if self.pongs else plan.stops
            length = min(length, next((stop for stop in stops if stop > position), len(plan.stream)) - position)
            writer.write(bytes(plan.stream[position : position + length]))
            await writer.drain()
            position += length
            await asyncio.sleep(0.001 if position % 16 == 0 else 0)
        self.sent.set()
        await self.answer(writer, 3600)

    async def answer(self, writer, seconds):
        """Answers the guard's Pings for so long, in two pieces each."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            while self.pongs and self.answers:
                pong = self.pongs.pop(0)
                writer.write(pong[:5])
                await asyncio.sleep(0.001)
                writer.write(pong[5:])
                await writer.drain()
            self.has_pongs.clear()
            left = until - loop.time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self.has_pongs.wait(), left)
            except asyncio.TimeoutError:
                return

    def leave(self):
        """Ends the connection; what is on its way to here is still read where that is possible."""
        self.writer.write(self.plan.tail)
        if self.writer.can_write_eof():
            self.writer.write_eof()
        else:
            hang_up(self.writer)

    def fault(self, with_tail):
        got = bytes(self.received + self.parser.rest)
        expected = self.expected + (self.tail if with_tail else b"")
        if got == expected:
            return None
        at = next((n for n, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
        return (
            f"{len(got)} bytes of {len(expected)}, at {at} {got[at : at + 20].hex()} instead of "
            f"{expected[at : at + 20].hex()}"
        )


async def tunnel(name, path, port, tls, ends, ender):
    client, backend = ends[path]
    outcome = {"name": name}
    try:
        async with asyncio.timeout(conf["seconds"]):
            headers = ["Sec-WebSocket-Extensions: permessage-deflate"]
            slow = 16384 if client.plan.slow_reader else None
            reader, writer = await connect(port, path, tls, headers, slow)
            running = asyncio.create_task(client.run(reader, writer))
            for end in (client, backend):
                await end.complete.wait()
                await end.sent.wait()
            await asyncio.sleep(2 * PAUSE)
            # A Pong for a connection that is gone would end it here too, with all that waits to be read.
            client.answers = backend.answers = False
            await asyncio.sleep(0.05)
            client_leaves = ender == "client"
            (client if client_leaves else backend).leave()
            await (backend.gone.wait() if client_leaves else running)
            outcome["client"] = client.fault(not client_leaves)
            outcome["backend"] = backend.fault(client_leaves)
            hang_up(writer)
            await asyncio.gather(running, return_exceptions=True)
    except Exception as error:
        outcome["client"] = f"{error!r}; {client.fault(False)}"
        outcome["backend"] = backend.fault(False)
    outcome["pings"] = [client.pings, client.pings_within, backend.pings, backend.pings_within]
    print(json.dumps(outcome), flush=True)


async def main():
    ends, tasks = {}, []

    async def handle(path, reader, writer):
        backend = ends[path][1]
        try:
            await backend.run(reader, writer)
        finally:
            backend.gone.set()

    for tls, port in enumerate(conf["backend"]):
        await serve(port, handle, conf["certificate"] if tls else None, 65536)
    number = 0
    for scenario in conf["scenarios"]:
        for tls, port in enumerate(conf["client"]):
            for location in ("plain", "tls"):
                number += 1
                rng = random.Random(f"{conf['seed']} {number}")
                planned = plans(scenario, rng, deflated=number % 2 == 0)
                path = f"/{location}/{number}"
                client, backend = End(planned[0], planned[1]), End(planned[1], planned[0])
                backend.gone = asyncio.Event()
                ends[path] = client, backend
                name = f"{scenario}, {'TLS' if tls else 'plain'} client, {location} backend"
                tasks.append(tunnel(name, path, port, tls, ends, rng.choice(["client", "backend"])))
    await asyncio.gather(*tasks)


conf = json.loads(sys.argv[1])
# Under valgrind there is more time for everything.
PAUSE *= conf["seconds"] / 60
asyncio.run(main())
