"""What the scenarios share: aiocometd-ng, untouched, and the daemon's life.

A scenario is run as `python SCENARIO.py URL WORD...`. It ends with the line `@@passed` and exit code 0, or it fails.
`@@kill` and `@@restart` on stdout ask the test to do that to the daemon; the same word comes back on stdin.
"""

import asyncio
import sys

import aiohttp
from aiocometd_ng import Client, ConnectionType, Extension

# How long a scenario may take before it is called hung. Nothing here says how fast a server must be.
HUNG_AFTER_S = 240


class Recorder(Extension):
    """Writes down the replies to connects, what they named as their transport, and the sessions."""

    def __init__(self):
        self.connects = []
        self.used = []
        self.sessions = []

    async def outgoing(self, payload, headers):
        self.used += [message["connectionType"] for message in payload if message["channel"] == "/meta/connect"]

    async def incoming(self, payload, headers=None):
        for message in payload:
            if message["channel"] == "/meta/connect":
                self.connects.append(message)
            if message["channel"] == "/meta/handshake":
                self.sessions.append(message["clientId"])


def client(url, transport):
    """A client with one transport, and its recorder. Its watch over lost connections does not run on Python 3.10 or later."""
    recorder = Recorder()
    one = Client(url, connection_types=[ConnectionType(transport)], extensions=[recorder], connection_timeout=0)
    return one, recorder


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


async def session_is_gone(url, client_id):
    connect = [{"channel": "/meta/connect", "clientId": client_id, "connectionType": "long-polling"}]
    async with aiohttp.ClientSession() as http, http.post(url, json=connect) as response:
        return (await response.json())[0].get("error") == "402::session_unknown"


def daemon(command):
    print(f"@@{command}", flush=True)
    assert sys.stdin.readline().strip() == command


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(*sys.argv[1:]), HUNG_AFTER_S))
    print("@@passed", flush=True)
