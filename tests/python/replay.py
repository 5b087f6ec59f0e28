"""aiosfstream-ng replays: only what is new, all that is kept, after a marker that it stored, and after one that is too old.

The daemon keeps three events of each channel, in Salesforce's shape.
"""

import aiohttp
from aiosfstream_ng import Client, ReplayOption
from aiosfstream_ng.auth import AuthenticatorBase
from aiosfstream_ng.exceptions import ServerError
from scenario import run

CHANNEL = "/event/Order__e"


class Known(AuthenticatorBase):
    """In place of Salesforce's OAuth: who is asked knows the answer."""

    def __init__(self, instance_url):
        super().__init__()
        self.known = {"instance_url": instance_url, "token_type": "Bearer", "access_token": "a token"}

    async def _authenticate(self):
        return 200, self.known


async def replay(url):
    instance = url.removesuffix("/cometd")

    def client(**options):
        return Client(Known(instance), connection_timeout=0, **options)

    async def publish(n):
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{instance}/publish{CHANNEL}", json={"n": n}) as response:
                assert (await response.json())["successful"]

    async def hears(one, *expected):
        for n in expected:
            message = await one.receive()
            assert (message["channel"], message["data"]["n"]) == (CHANNEL, n), message

    await publish(0)
    markers = {}
    async with client(replay=ReplayOption.NEW_EVENTS) as fresh, client(replay=markers) as storing:
        await fresh.subscribe(CHANNEL)
        await storing.subscribe(CHANNEL)
        await publish(1)
        await publish(2)
        await hears(fresh, 1, 2)
        await hears(storing, 1)
        assert not fresh.has_pending_messages
    old = dict(markers)
    assert old[CHANNEL].replay_id > 0

    async with client(replay=ReplayOption.ALL_EVENTS) as everything, client(replay=markers) as storing:
        await everything.subscribe(CHANNEL)
        await hears(everything, 0, 1, 2)
        await storing.subscribe(CHANNEL)
        await hears(storing, 2)
        # Both what is replayed and what is new come once.
        for n in (3, 4, 5):
            await publish(n)
        await hears(everything, 3, 4, 5)
        await hears(storing, 3, 4, 5)
    assert markers[CHANNEL].replay_id > old[CHANNEL].replay_id

    # 2 is gone, so who has no more than 1 cannot go on.
    async with client(replay=dict(old)) as late:
        try:
            await late.subscribe(CHANNEL)
        except ServerError as error:
            assert error.error_code == 400, error
            wanted = f"The replayId {{{old[CHANNEL].replay_id}}} you provided was invalid."
            assert error.error_message.startswith(wanted), error.error_message
        else:
            raise AssertionError("what is gone cannot be replayed")
    async with client(replay=dict(old), replay_fallback=ReplayOption.ALL_EVENTS) as late:
        await late.subscribe(CHANNEL)
        await hears(late, 3, 4, 5)
        await publish(6)
        await hears(late, 6)


run(replay)
