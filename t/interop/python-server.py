"""A server on the library websockets: echoes, and does what a few messages ask for."""

import asyncio
import http
import json

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

close_codes = {}  # of finished connections, by path


async def handle(connection):
    path = connection.request.path
    try:
        async for message in connection:
            match message.split(" ") if isinstance(message, str) else [message]:
                case ["describe"]:
                    extensions = [extension.name for extension in connection.protocol.extensions]
                    view = {"subprotocol": connection.subprotocol, "extensions": extensions}
                    await connection.send(json.dumps(view))
                case ["ping"]:
                    await (await connection.ping("from the server"))
                    await connection.send("ponged")
                case ["close", code]:
                    await connection.close(int(code), "as asked")
                case ["close-code-of", other]:
                    await connection.send(json.dumps(close_codes.get(other)))
                case _:
                    await connection.send(message)
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    close_codes[path] = connection.close_code


def refuse(connection, request):
    if request.path.endswith("/forbidden"):
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not you\n")


async def main():
    async with serve(
        handle,
        "127.0.0.1",
        0,
        process_request=refuse,
        select_subprotocol=lambda _, offered: "chat.v1" if "chat.v1" in offered else None,
        max_size=None,
    ) as server:
        address, port = server.sockets[0].getsockname()
        print(f"listening on {address}:{port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
