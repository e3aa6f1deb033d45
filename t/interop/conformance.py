"""conformance.py DIRECT GUARDED...: an independent suite of RFC 6455's rules, the Autobahn cases, comes to the same
verdicts with the guard in between as without it.

DIRECT is the URL of a server that echoes, each GUARDED one the same through nginx. With "PORT" in the URLs the suite is
the server, at that port, and the library websockets its client.
"""

import asyncio
import os
import sys
from collections import Counter

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

# Those are about speed, and take hours.
EXCEPT = ["9.*", "12.*", "13.*"]


def verdicts(results):
    return {
        result.case_id: (result.behavior.value, result.behavior_close.value, result.remote_close_code)
        for result in results
    }


async def ask_server(url):
    try:
        return verdicts(await run_fuzzingclient(url, None, EXCEPT, concurrency=4))
    except FailureError as failed:
        return verdicts(failed.results)


async def ask_client(url):
    """The client that is asked echoes what it gets."""
    async with run_fuzzingserver(None, EXCEPT, port=0) as server:
        url = url.replace("PORT", str(server.port))

        async def session(path):
            async with connect(f"{url}/{path}", max_size=None, proxy=None, ping_interval=None) as socket:
                last = None
                try:
                    async for last in socket:
                        if path.startswith("runCase"):
                            await socket.send(last)
                except ConnectionClosed:
                    pass
                return last

        turns = asyncio.Semaphore(8)

        async def run(number):
            async with turns:
                await session(f"runCase?case={number}&agent=websockets")

        count = int(await session("getCaseCount"))
        await asyncio.gather(*(run(number) for number in range(1, count + 1)))
        await session("updateReports?agent=websockets")
        try:
            return verdicts(await server.get_result())
        except FailureError as failed:
            return verdicts(failed.results)


def differences(direct, guarded):
    for case, expected in direct.items():
        verdict = guarded.get(case)
        # Whether answers to what came before a violation are there is a question of time, and the guard does not wait
        # for them. The suite is content with both.
        is_early = verdict and {verdict[0], expected[0]} == {"OK", "NON-STRICT"} and verdict[1:] == expected[1:]
        if verdict != expected and not is_early:
            yield f"{case} {verdict} instead of {expected}"


async def main():
    direct_url, *urls = sys.argv[1:]
    ask = ask_client if "PORT" in direct_url else ask_server
    print(f"1..{len(urls) + 1}")
    direct = await ask(direct_url)
    good = sum(behavior in ("OK", "NON-STRICT") for behavior, _, _ in direct.values())
    ok = good > 200
    print(f"{'ok' if ok else 'not ok'} - the suite runs: {good} of {len(direct)} cases well", flush=True)
    for url in urls:
        guarded = await ask(url)
        found = list(differences(direct, guarded))
        ok = ok and not found
        counts = Counter(verdict[:2] for verdict in guarded.values())
        print(f"{'not ok' if found else 'ok'} - {url}: {'; '.join(found) or dict(counts)}", flush=True)
    return 0 if ok else 1


status = asyncio.run(main())
sys.stdout.flush()
# The suite has threads that do not end in an orderly way.
os._exit(status)
