"""HTTP/1.1 on one connection: reading requests, and the few ways to write or to break off.

A Connection notices at once when its client goes away, whatever it is doing; everything that waits here ends then
with ClientGone, so that hangs and endless answers release themselves.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import parse_qs, urlsplit

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
           422: "Unprocessable Entity", 429: "Too Many Requests", 500: "Internal Server Error"}


class ClientGone(Exception):
    """The client closed or reset the connection."""


class BadRequest(Exception):
    """What came is not the HTTP that the simulator reads."""


@dataclass
class Request:
    """One request as received. `headers` keeps order and spelling."""

    method: str
    target: str
    headers: list
    body: bytes
    secure: bool = False

    @property
    def origin(self):
        """Scheme and host, as the client addressed the server."""
        return f"{'https' if self.secure else 'http'}://{self.header('host')}"

    @property
    def path(self):
        return urlsplit(self.target).path

    @property
    def query(self):
        return parse_qs(urlsplit(self.target).query)

    def header(self, name):
        """The first header of this name in any spelling, or ''."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass
class Response:
    """One answer before it is sent. Content-Length is added on sending.

    With `pieces` the body is an event stream of them, and `body` is not looked at.
    """

    status: int
    body: bytes
    headers: list = field(default_factory=lambda: [("Content-Type", "application/json")])
    pieces: Optional[list] = None

    def head(self, extra):
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Simulated')}"]
        lines += [f"{name}: {value}" for name, value in [*self.headers, *extra]]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Connection(asyncio.Protocol):
    """A client's connection, plain or TLS."""

    def __init__(self, number):
        self.number = number
        self.gone = asyncio.Event()
        self._transport = None
        self._received = bytearray()
        self._news = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()

    @property
    def tls(self):
        """None, or the TLS version and whether an earlier session was resumed."""
        secured = self._transport.get_extra_info("ssl_object")
        return secured and {"version": secured.version(), "resumed": secured.session_reused}

    # What asyncio calls

    def connection_made(self, transport):
        self._transport = transport
        # Not 0: asyncio's TLS compares with "at least", and would pause at an empty buffer.
        transport.set_write_buffer_limits(high=1, low=0)

    def data_received(self, data):
        self._received += data
        self._news.set()

    def connection_lost(self, _error):
        self.gone.set()
        self._news.set()
        self._flushed.set()

    def eof_received(self):
        self.connection_lost(None)

    def pause_writing(self):
        self._flushed.clear()

    def resume_writing(self):
        self._flushed.set()

    # Reading

    async def read_request(self):
        """The next request, or None when the client closed instead."""
        try:
            head = await self._read_head()
        except ClientGone:
            return None
        try:
            lines = head.decode("latin-1").split("\r\n")
            method, target, _version = lines[0].split(" ")
            headers = [(name, value.strip()) for name, value in (line.split(":", 1) for line in lines[1:])]
            request = Request(method, target, headers, b"", secure=bool(self.tls))
            length = int(request.header("content-length") or 0)
        except ValueError as error:
            raise BadRequest(f"malformed request head: {error}") from None
        if request.header("transfer-encoding"):
            raise BadRequest("a request body without Content-Length")
        if request.header("expect").lower() == "100-continue":
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body = await self._read(length)
        return request

    async def _read_head(self):
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            await self._more()
        return (await self._read(end + 4))[:-4]

    async def _read(self, length):
        while len(self._received) < length:
            await self._more()
        data = bytes(self._received[:length])
        del self._received[:length]
        return data

    async def _more(self):
        if self.gone.is_set():
            raise ClientGone
        self._news.clear()
        await self._news.wait()

    # Writing and breaking off

    async def send(self, data):
        """Hands all of `data` to the kernel, and lets others run even if that took no waiting."""
        if self.gone.is_set():
            raise ClientGone
        self._transport.write(data)
        await asyncio.sleep(0)
        await self._flushed.wait()

    async def pause(self, milliseconds):
        """Waits; raises ClientGone as soon as the client is gone."""
        try:
            await asyncio.wait_for(self.gone.wait(), milliseconds / 1000)
        except asyncio.TimeoutError:
            return
        raise ClientGone

    async def wait_for(self, event):
        """Waits for an asyncio.Event; raises ClientGone as soon as the client is gone."""
        waits = [asyncio.ensure_future(each.wait()) for each in (event, self.gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.gone.is_set():
            raise ClientGone

    async def hang(self):
        """Waits for as long as the client does."""
        await self.gone.wait()
        raise ClientGone

    def close(self):
        self._transport.close()

    def reset(self):
        """Ends the connection with a TCP reset."""
        reset_on_close(self._transport.get_extra_info("socket"))
        self._transport.abort()


def reset_on_close(sock):
    """Makes the close of a socket send RST (SO_LINGER with no time)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
