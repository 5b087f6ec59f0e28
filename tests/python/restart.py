"""The daemon dies and comes back with no memory: the client shakes hands and subscribes again by itself.

Words: its transport.
"""

from scenario import client, daemon, run, until


async def restart(url, transport):
    one, seen = client(url, transport)
    async with one:
        await one.subscribe("/news")
        await one.publish("/news", "before")
        assert (await one.receive())["data"] == "before"

        daemon("kill")
        daemon("restart")

        await until(lambda: len(seen.sessions) > 1)
        lost = next(reply for reply in seen.connects if not reply["successful"])
        assert lost["error"] == "402::session_unknown" and lost["advice"]["reconnect"] == "handshake", lost
        # It subscribes again along with its first connect.
        await until(lambda: seen.connects[-1]["successful"])
        two, _ = client(url, transport)
        async with two:
            await two.publish("/news", "after")
        assert (await one.receive())["data"] == "after"
        assert set(seen.used) == {transport}, seen.used


run(restart)
