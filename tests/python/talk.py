"""Everything that the client can do. Words: its transport, that of the client which it talks to."""

from aiocometd_ng.exceptions import ServerError
from scenario import client, run, session_is_gone, until

COUNT = 100


async def talk(url, transport, others):
    one, seen = client(url, transport)
    two, _ = client(url, others)
    async with one, two:
        assert one.connection_type.value == transport, one.connection_type
        await one.subscribe("/count/*")
        await one.subscribe("/own")

        for n in range(COUNT):
            reply = await two.publish("/count/up", {"n": n})
            assert reply["successful"] and "data" not in reply, reply
        for n in range(COUNT):
            message = await one.receive()
            assert (message["channel"], message["data"]) == ("/count/up", {"n": n}), message

        text = {"text": "Grüße, 彗星, \u2028 and \\ and \x00", "list": [1, 2.5, None, {}]}
        await one.publish("/own", text)
        assert (await one.receive())["data"] == text

        # Nothing happens, connects end by themselves, and it goes on.
        before = len(seen.connects)
        await until(lambda: len(seen.connects) >= before + 3)
        assert all(reply["successful"] for reply in seen.connects), seen.connects
        await two.publish("/count/up", "still there")
        assert (await one.receive())["data"] == "still there"

        for refused in (two.publish("/count/*", {}), two.subscribe("/meta/connect")):
            try:
                await refused
            except ServerError as error:
                assert error.error_code in (403, 405), error
            else:
                raise AssertionError("that is allowed to nobody")

        await one.unsubscribe("/count/*")
        await two.publish("/count/up", "missed")
        await two.publish("/own", "the end")
        assert (await one.receive())["data"] == "the end"
        assert not one.has_pending_messages
        assert seen.used == [transport] * len(seen.used), seen.used
        assert len(seen.sessions) == 1, seen.sessions
    assert await session_is_gone(url, seen.sessions[0])


run(talk)
