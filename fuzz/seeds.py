#!/usr/bin/env python3
"""Makes the seed corpora: seeds/<target>/<name>, a few bytes each. Run it after a change here, and commit what it makes."""

import pathlib
import shutil
import zlib

ROOT = pathlib.Path(__file__).resolve().parent / "seeds"


def crlf(text):
    """Text with lines of HTTP; bytes stay as they are."""
    if isinstance(text, bytes):
        return text
    return text.replace("\n", "\r\n").encode("latin-1")


def raw_deflate(data):
    """A message as permessage-deflate has it: flushed, without the end of the flush (RFC 7692 section 7.2.1)."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed.removesuffix(b"\x00\x00\xff\xff")


def frame(first, payload, mask=b"\x37\xfa\x21\x3d"):
    length = len(payload)
    bit = 0x80 if mask else 0
    if length < 126:
        head = bytes([first, bit | length])
    elif length < 65536:
        head = bytes([first, bit | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + length.to_bytes(8, "big")
    if not mask:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


HEADS = {
    "plain": "GET / HTTP/1.1\nHost: h\n\n",
    "old": "GET / HTTP/1.0\n\n",
    "old-alive": "GET /cometd HTTP/1.0\nConnection: keep-alive\n\n",
    "empty-lines": "\n\nGET / HTTP/1.1\nHost: h\n\n",
    "post": "POST /cometd HTTP/1.1\nHost: h.example:8080\nContent-Type: application/json;charset=UTF-8\n"
    "Content-Length: 5\n\nhello",
    "chunked": "POST /cometd HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n0\n\n",
    "expect": "POST / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 1\n\n",
    "absolute": "GET http://h.example:8080/a?b=c HTTP/1.1\nHost: other\n\n",
    "options": "OPTIONS * HTTP/1.1\nHost:\n\n",
    "preflight": "OPTIONS /cometd HTTP/1.1\nHost: h\nOrigin: https://shop.example\n"
    "Access-Control-Request-Method: POST\nAccess-Control-Request-Headers: content-type\n\n",
    "cookie": "GET /cometd HTTP/1.1\nHost: h\nCookie: a=b; BAYEUX_BROWSER=abc\nOrigin: http://h\n\n",
    "proxied": "GET / HTTP/1.1\nHost: h\nX-Forwarded-For: 192.0.2.1, 127.0.0.1, [2001:db8::1]:80\n"
    "X-Forwarded-Proto: https\nX-Forwarded-Host: shop.example\n\n",
    "codings": "GET /encke.js HTTP/1.1\nHost: [::1]:80\nAccept-Encoding: gzip;q=0.5, identity;q=0.25, *;q=0\n"
    'If-None-Match: W/"0123456789abcdef", *\n\n',
    "websocket": "GET /cometd HTTP/1.1\nHost: h\nUpgrade: websocket\nConnection: keep-alive, Upgrade\n"
    "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=10\n"
    "Sec-WebSocket-Protocol: chat, bayeux\n\n",
    "form": 'POST / HTTP/1.1\nHost: h\nContent-Type: application/x-www-form-urlencoded; charset="utf-8"\n'
    "Content-Length: 0\n\n",
    "both-lengths": "POST / HTTP/1.1\nHost: h\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
    "two-lengths": "POST / HTTP/1.1\nHost: h\nContent-Length: 5\nContent-Length: 5\n\n",
    "list-length": "POST / HTTP/1.1\nHost: h\nContent-Length: 5, 5\n\n",
    "other-coding": "POST / HTTP/1.1\nHost: h\nTransfer-Encoding: gzip, chunked\n\n",
    "coded": "POST / HTTP/1.1\nHost: h\nContent-Encoding: gzip\nContent-Length: 5\n\n",
    "two-hosts": "GET / HTTP/1.1\nHost: a\nHost: b\n\n",
    "fold": "GET / HTTP/1.1\nHost: h\nA: b\n c\n\n",
    "bare-cr": "GET / HTTP/1.1\nHost: h\rA: b\n\n",
    "bare-lf": b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n",
    "space-colon": "GET / HTTP/1.1\nHost : h\n\n",
    "version": "GET / HTTP/2.0\nHost: h\n\n",
    "escapes": "GET /a%2fb+c%00?%zz HTTP/1.1\nHost: h\n\n",
    "values": "GET / HTTP/1.1\nHost: h\nA: \xe4\t\xff\nB:\nC:  d  \n\n",
}

CHUNKS = {
    "empty": "0\n\n",
    "hello": "5\nhello\n0\n\n",
    "two": "1\nh\n004\nello\n000\n\n",
    "letters": "A\n0123456789\na\n0123456789\n0\n\n",
    "zeros": "0000000000000005\nhello\n0000000000000000\n\n",
    "extensions": '2;a=b;c="d;\xe4"\nhi\n0;x\n\n',
    "spaces": "2 \t;a\nhi\n0 ;x\n\n",
    "trailers": "2\nhi\n0\nA: b\nC:\td\xe4\n\n",
    "behind": "2\nhi\n0\n\nGET / HTTP/1.1\n",
    "large": "FFFFFFFFFFFFFFFF\nabc",
    "digits": "00000000000000001\nx\n0\n\n",
    "no-lf": "1\nh\r11\nx\n0\n\n",
    "no-size": "1\nh\n\n\n",
    "longer": "1\nhi\n0\n\n",
    "space": "1 2\nh\n",
    "sum": ("100\n" + "x" * 256 + "\n") * 3 + "0\n\n",
    "long-extension": "1;" + "e" * 256 + "\nx\n0\n\n",
    "lines": "2\n\n\n0\n\n",
}

HELLO = bytes([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])
WORDS = b'[{"channel":"/chat/demo","data":"' + b"so many words, " * 20 + b'"}]'

# The first byte: 1 a client, 2 compression, 4 tight limits.
FRAMES = {
    "text": b"\x00" + frame(0x81, b"Hello"),
    "fragments": b"\x00" + frame(0x01, b"Hel") + frame(0x89, b"between") + frame(0x80, b"lo"),
    "binary": b"\x00" + frame(0x82, bytes(range(256))),
    "umlauts": b"\x00" + frame(0x01, b"\xe2\x82") + frame(0x80, b"\xac"),
    "not-utf8": b"\x00" + frame(0x81, b"\xed\xa0\x80"),
    "close": b"\x00" + frame(0x88, b"\x03\xe8bye"),
    "close-empty": b"\x00" + frame(0x88, b""),
    "pong": b"\x00" + frame(0x8A, b""),
    "server": b"\x01" + frame(0x81, b"Hello", None) + frame(0x88, b"\x03\xe9", None),
    "deflated": b"\x02" + frame(0xC1, HELLO),
    "deflated-last": b"\x02" + frame(0xC1, bytes([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00])),
    "deflated-two": b"\x02" + frame(0xC1, HELLO) + frame(0x81, b"plain") + frame(0xC2, HELLO),
    "deflated-parts": b"\x02" + frame(0x41, HELLO[:3]) + frame(0x89, b"") + frame(0x80, HELLO[3:]),
    "deflated-blocks": b"\x02" + frame(0xC1, bytes([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]) + HELLO),
    "deflated-words": b"\x02" + frame(0xC1, raw_deflate(WORDS)),
    "deflated-stored": b"\x02" + frame(0xC2, b"\x00\x05\x00\xfa\xffHello\x00"),
    "deflated-empty": b"\x02" + frame(0xC1, b"\x00") + frame(0xC1, b""),
    "bomb": b"\x02" + frame(0xC2, raw_deflate(bytes(300_000))),
    "tight": b"\x06" + frame(0xC1, raw_deflate(b"x" * 600)),
    "tight-fits": b"\x06" + frame(0xC1, raw_deflate(b"x" * 512)),
    "unmasked": b"\x00" + frame(0x81, b"Hello", None),
    "reserved": b"\x00" + frame(0xA1, b"Hello"),
    "long-form": b"\x00\x81\xfe\x00\x05\x00\x00\x00\x00Hello",
    "huge": b"\x00\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
}

BAYEUX = {
    "empty": "[]",
    "one": "{}",
    "handshake": '[{"channel":"/meta/handshake","version":"1.0","minimumVersion":"0.9","id":"1",'
    '"supportedConnectionTypes":["websocket","long-polling"],"ext":{"ack":true},"advice":{"timeout":60000,"interval":0}}]',
    "connect": '[{"channel":"/meta/connect","clientId":"x","connectionType":"long-polling","id":2,"ext":{"ack":3}}]',
    "subscribe": '[{"channel":"/meta/subscribe","clientId":"x","subscription":["/a/*","/b/**"],"ext":{"replay":{"/a/*":-1}}}]',
    "unsubscribe": '[{"channel":"/meta/unsubscribe","clientId":"x","subscription":"/a"}]',
    "publish": '[{"channel":"/chat/demo","clientId":"x","data":{"user":"e","n":[1,2.5e3,true,null]},"id":"p","own":1,'
    '"ext":{"replay":7,"mine":{}}}]',
    "salesforce": '[{"channel":"/event/a","data":{"schema":"s","payload":{},"event":{"replayId":1,"x":2}}}]',
    "odd-event": '[{"channel":"/event/a","data":{"event":1,"event":{"a":1}}}]',
    "plain-data": '[{"channel":"/a","data":"text"},{"channel":"/a","data":null},{"channel":"/a"}]',
    "lines": '[{"channel":"/a","data":{\n"a" :\r\n1}}]',
    "separators": '[{"channel":"/a","data":"\u2028\u2029"}]',
    "escapes": '[{"channel":"\\/a\\u0062","data":"\\ud83d\\ude00\\n\\"","o\\u0077n":"\\\\ud800"}]',
    "surrogate": '[{"channel":"/a","data":"\\ud800"}]',
    "numbers": '[{"channel":"/a","data":[1e400,-0,0.1e-5,12345678901234567890],"advice":{"timeout":1e3,"interval":2.0}}]',
    "twice": '[{"channel":"/a","channel":"/b"}]',
    "types": '[{"channel":1,"id":[],"clientId":{},"data":1,"subscription":[1],"ext":[],"advice":"x"}]',
    "names": '[{"":0,"":0,"a":1,"a":2,"channel":"/a","data":{"":0,"":1}}]',
    "deep": "[" * 33 + "]" * 33,
    "too-deep": '[{"data":' + "[" * 31 + "]" * 31 + "}]",
    "deep-enough": '[{"data":' + "[" * 30 + "]" * 30 + "}]",
    "many": "[" + ",".join(["{}"] * 9) + "]",
    "list": '[{"channel":"/a","subscription":["","","","","","","","",""]}]',
    "many-subscriptions": '[{"channel":"/a","subscription":[' + ",".join(['""'] * 520) + "]}]",
    "many-fields": '[{"channel":"/a","data":1' + ',"":0' * 520 + "}]",
    "many-types": '{"supportedConnectionTypes":[' + ",".join(['"a"'] * 520) + "]}",
    "many-entries": '{"advice":{' + ",".join(['"":0'] * 520) + "}}",
    "broken": '[{"channel":"/a","data":{]}]',
}

HANDSHAKE = b'[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["websocket","long-polling"]}]'
ACKING = HANDSHAKE[:-2] + b',"ext":{"ack":true}}]'


def of(client, channel, rest=b""):
    return b'[{"channel":"' + channel + b'","clientId":"' + bytes([client]) + b'"' + rest + b"}]"


def connect(client, way=b"long-polling", rest=b""):
    return of(client, b"/meta/connect", b',"connectionType":"' + way + b'"' + rest)


def subscribe(client, to, rest=b""):
    return of(client, b"/meta/subscribe", b',"subscription":' + to + rest)


def publish(client, channel, data=b'"x"'):
    return of(client, channel, b',"data":' + data)


def get(path, *fields):
    return crlf(f"GET {path} HTTP/1.1\nHost: h\n" + "".join(field + "\n" for field in fields) + "\n")


UPGRADE = get(
    "/cometd",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Extensions: permessage-deflate",
)
MINUTE = b"t\x00\xef\x40"
NOW = b'"advice":{"timeout":0}'
START = [b"E" + HANDSHAKE, b"E" + connect(1)]

# The settings, how the second run cuts, and the steps: see src/targets/connection.rs.
SCRIPTS = {
    "nothing": (0, 7, []),
    "get": (0, 1, [b"A" + get("/"), b"A" + get("/encke.js", "Accept-Encoding: gzip"), b"A" + get("/health")]),
    "many-pages": (0, 5, [b"A" + get("/encke.js") * 20]),
    "poll": (0, 1, START + [b"E" + connect(1), b"F" + subscribe(1, b'"/a"'), b"F" + publish(1, b"/a"), MINUTE]),
    "two": (0, 9, START + [b"E" + connect(1), b"G" + HANDSHAKE, b"F" + subscribe(1, b'"/a/*"'), b"G" + publish(2, b"/a/b"), MINUTE]),
    "embedder": (0, 3, START + [b"F" + subscribe(1, b'["/a","/**"]'), b'p/a {"n":1}', b"p/a [2]", b"E" + connect(1), b"k\x01"]),
    "disconnect": (0, 3, START + [b"E" + connect(1), b"F" + of(1, b"/meta/disconnect")]),
    "pipelined": (0, 2, START + [b"n", b"E" + connect(1), b"n", b"E" + connect(1), b"A" + get("/")]),
    "acknowledged": (
        0,
        11,
        [
            b"E" + ACKING,
            b"F" + subscribe(1, b'"/a"'),
            b"p/a 1",
            b"E" + connect(1, rest=b',"ext":{"ack":-1}'),
            b"p/a 2",
            b"E" + connect(1, rest=b',"ext":{"ack":1}'),
            MINUTE,
        ],
    ),
    "remembered": (
        4,
        13,
        [b'p/h/a {"n":%d}' % n for n in range(7)]
        + START
        + [
            b"F" + subscribe(1, b'"/h/a"', b',"ext":{"replay":{"/h/a":-2}}'),
            b"p/event/a {}",
            b"F" + subscribe(1, b'"/event/*"', b',"ext":{"replay":{"/event/*":-2}}'),
            b"E" + connect(1),
        ],
    ),
    "lazy": (0, 3, START + [b"F" + subscribe(1, b'"/l/*"'), b"E" + connect(1), b"p/l/a 1", MINUTE]),
    "streaming": (0, 3, START + [b"E" + connect(1, b"streaming"), b"F" + publish(1, b"/service/probe", b'{"probe":1}'), b"F" + subscribe(1, b'"/a"'), b"p/a 1", MINUTE, b"U"]),
    "events": (0, 3, [b"A" + get("/events/a/*", "Accept: text/event-stream"), b"p/a/b 1", MINUTE, b"p/a/b 2"]),
    "events-lines": (0, 3, [b"A" + get("/events/h/a", "Last-Event-ID: 1"), b"B" + get("/events/h/a", "Accept: multipart/x-mixed-replace"), b"p/h/a {}"]),
    "eventsource": (0, 3, START + [b"B" + get("/cometd/\x01", "Accept: text/event-stream"), b"F" + subscribe(1, b'"/a"'), b"p/a 1"]),
    "callback": (0, 3, [b"A" + get("/cometd?message=%5B%7B%22channel%22%3A%22%2Fmeta%2Fhandshake%22%7D%5D&jsonp=f")]),
    "iframe": (0, 3, START + [b"A" + get("/cometd?message=%5B%7B%22channel%22%3A%22%2Fmeta%2Fconnect%22%2C%22clientId%22%3A%22\x01%22%2C%22connectionType%22%3A%22iframe%22%7D%5D&jsonp=f")]),
    "form": (0, 3, [b"A" + crlf("POST /cometd HTTP/1.1\nHost: h\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 62\n\n") + b"message=%5B%7B%22channel%22%3A%22%2Fmeta%2Fhandshake%22%7D%5D"]),
    "chunked": (0, 1, [b"A" + crlf("POST /cometd HTTP/1.1\nHost: h\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n2\n[]\n0\n\n")]),
    "plain": (0, 3, [b"A" + crlf("POST /publish/a HTTP/1.1\nHost: h\nContent-Type: application/json\nAuthorization: Bearer secret\nContent-Length: 2\n\n{}")]),
    "local": (128, 3, [b"B" + crlf("POST /publish/h/a HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 2\n\n{}")]),
    "preflight": (64, 3, [b"A" + crlf("OPTIONS /cometd HTTP/1.1\nHost: h\nOrigin: https://shop.example\nAccess-Control-Request-Method: POST\n\n")]),
    "cookie": (8, 3, START + [b"A" + crlf("POST /cometd HTTP/1.1\nHost: h\nContent-Type: application/json\nCookie: BAYEUX_BROWSER=") + b"\x05" + crlf("\nContent-Length: 2\n\n[]")]),
    "tabs": (16, 3, [b"E" + HANDSHAKE, b"F" + HANDSHAKE, b"E" + connect(1), b"F" + connect(2), MINUTE]),
    "websocket": (0, 1, [b"A" + UPGRADE, b"I" + HANDSHAKE, b"I" + connect(1, b"websocket"), b"I" + subscribe(1, b'"/a"'), b"M" + publish(1, b"/a", b'"' + b"words " * 60 + b'"'), MINUTE]),
    "websocket-close": (1, 2, [b"A" + UPGRADE, b"A" + frame(0x89, b"ping"), b"A" + frame(0x88, b"\x03\xe8"), b"Q"]),
    "websocket-faults": (0, 2, [b"A" + UPGRADE, b"A" + frame(0x81, b"x", None), b"A" + get("/")]),
    "websocket-crowd": (1, 3, [b"A" + UPGRADE] + [b"I" + HANDSHAKE] * 3 + [b"I" + connect(1, b"websocket"), MINUTE, MINUTE]),
    "moves": (0, 3, [b"A" + UPGRADE, b"I" + HANDSHAKE, b"I" + connect(1, b"websocket"), b"F" + connect(1), b"I" + connect(1, b"websocket"), b"U"]),
    "slow": (1, 0, START + [b"a\x00", b"E" + connect(1), b"F" + subscribe(1, b'"/a"')] + [b"p/a [%d]" % n for n in range(6)] + [b"a\x07", b"t\x05", b"t\x05", MINUTE]),
    "overflow": (3, 0, [b"a\x00"] + START + [b"F" + subscribe(1, b'"/**"')] + [b"p/a %d" % n for n in range(9)] + [b"a\xc8", b"E" + connect(1), MINUTE]),
    "stalled": (0, 0, [b"a\x00", b"A" + get("/encke.js") * 20, MINUTE]),
    "head-slow": (0, 2, [b"AGET / HT", b"t\x10\x00", b"t\x10\x00", b"t\x10\x00"]),
    "body-slow": (0, 2, [b"A" + crlf("POST /cometd HTTP/1.1\nHost: h\nContent-Length: 20\n\n") + b"[", MINUTE]),
    "fault": (0, 2, [b"A" + crlf("GET / HTTP/1.1\n\n") + get("/"), b"A" + get("/"), b"Q"]),
    "half-closed": (0, 2, START + [b"E" + connect(1), b"Q", b"E" + connect(1)]),
    "settings": (0, 2, START + [b"E" + connect(1), b"r\x03", b"F" + subscribe(1, b'["/a","/b"]'), b"r\x40", MINUTE]),
    "ending": (0, 2, START + [b"E" + connect(1), b"B" + UPGRADE, b"z", MINUTE, b"E" + connect(1), MINUTE]),
    "large-batch": (0, 50, [b"E[" + b",".join([b"{}"] * 300) + b"]"]),
    "tight": (1, 4, START + [b"E[" + b",".join([b"{}"] * 9) + b"]", b"E" + b"[" * 7 + b"]" * 7, b"A" + get("/" + "a" * 300)]),
}


# Choices of the simulator: nobody knows which byte decides what, so these only say how many there are.
WORLDS = {f"{kind}-{count}": [(kind * at + count) % 256 for at in range(count)] for kind in (7, 83) for count in (5, 200)}


def script(mode, cut, steps):
    return bytes([mode, cut]) + b"\xff".join(steps)


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    texts = {"head": HEADS, "chunks": CHUNKS}
    corpora = {target: {name: crlf(text) for name, text in cases.items()} for target, cases in texts.items()}
    corpora["frames"] = FRAMES
    corpora["bayeux"] = {name: text.encode() for name, text in BAYEUX.items()}
    corpora["connection"] = {name: script(*parts) for name, parts in SCRIPTS.items()}
    corpora["script"] = {"scenario-" + str(at): bytes([1, at]) for at in range(17)} | {"ending": bytes([0])}
    corpora["script"] |= {name: bytes(choices) for name, choices in WORLDS.items()}
    for target, cases in corpora.items():
        (ROOT / target).mkdir(parents=True)
        for name, data in cases.items():
            (ROOT / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
