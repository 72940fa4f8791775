"""Accepts connections and serves the requests of each, one after the other.

Sockets are accepted here rather than by asyncio so that a behaviour can meet a connection before TLS does. Stats
counts provider traffic only: a connection whose first request is a control request is taken out of the counters.
"""

import asyncio
import itertools
import socket
from dataclasses import dataclass, field

import delivery
from control import PREFIX, Control
from holds import Holds
from wire import BadRequest, ClientGone, Connection, reset_on_close


@dataclass
class Stats:
    """Connections accepted since the reset, those open now, requests being answered now and at most at one time."""

    connections: int = 0
    open_connections: set = field(default_factory=set)
    open_requests: int = 0
    peak_requests: int = 0

    def accepted(self, number):
        self.connections += 1
        self.open_connections.add(number)

    def disregard(self, number):
        """Takes an open connection out of the counters."""
        self.connections -= 1
        self.open_connections.discard(number)

    def request_began(self):
        self.open_requests += 1
        self.peak_requests = max(self.peak_requests, self.open_requests)

    def reset(self):
        self.connections = 0
        self.peak_requests = self.open_requests

    def as_dict(self):
        return {**vars(self), "open_connections": len(self.open_connections)}


class Server:
    """Serves `formats` to all listening sockets that it is given."""

    def __init__(self, formats, script, journal):
        self._formats = formats
        self._script = script
        self._journal = journal
        self._stats = Stats()
        self._holds = Holds()
        self._control = Control(script, journal, self._stats, self._holds)
        self._numbers = itertools.count(1)
        self._tasks = set()

    async def accept(self, listener, tls=None):
        """Accepts for ever on a listening, non-blocking socket; `tls` is an SSLContext or None."""
        loop = asyncio.get_running_loop()
        while True:
            sock, _address = await loop.sock_accept(listener)
            # What is sent, such as a farewell of TLS, shall arrive before /control/ says that it was sent.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._serve(sock, tls))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, sock, tls):
        """One connection from accept to end."""
        number = next(self._numbers)
        self._stats.accepted(number)
        try:
            behaviour = self._script.take_for_connection()
            if behaviour.at_connect:
                await _meet(sock, behaviour)
            else:
                await self._talk(sock, tls, number)
        except (ClientGone, BadRequest, OSError):
            pass  # a client that leaves, fails the TLS handshake or sends no HTTP has nothing more to be told
        finally:
            self._stats.open_connections.discard(number)

    async def _talk(self, sock, tls, number):
        loop = asyncio.get_running_loop()
        _transport, connection = await loop.connect_accepted_socket(lambda: Connection(number), sock, ssl=tls)
        try:
            await self._converse(connection)
        finally:
            connection.close()

    async def _converse(self, connection):
        """The requests of a connection, until one side closes it."""
        reusable, first = True, True
        while reusable and (request := await connection.read_request()):
            if not request.path.startswith(PREFIX):
                reusable = await self._exchange(connection, request)
            else:
                if first:
                    self._stats.disregard(connection.number)
                response = self._control.answer(request)
                await connection.send(response.head([("Content-Length", len(response.body))]) + response.body)
            first = False
            reusable = reusable and request.header("connection").lower() != "close"

    async def _exchange(self, connection, request):
        """One request of a provider's client; True if the connection can be used again."""
        entry = self._journal.open_entry(connection, request)
        behaviour = self._script.take_for_request(self._formats.model_of(request, entry["body"]), request.path)
        entry["behaviour"] = behaviour.as_dict()
        self._stats.request_began()
        ended = "client gone"
        try:
            response = self._respond(request, behaviour, entry)
            reusable = await delivery.deliver(connection, response, behaviour, self._holds,
                                              lambda count: entry.update(events=count))
            ended = "answered" if reusable or behaviour.close == "after_answer" else "broken off"
            return reusable
        finally:
            self._stats.open_requests -= 1
            self._journal.close_entry(entry, ended)

    def _respond(self, request, behaviour, entry):
        """The response to a request, noted in its journal entry."""
        dialect, outcome = self._formats.answer(request, behaviour, entry["number"])
        entry.update(dialect=dialect, status=outcome.response.status, refused=outcome.refused, ignored=outcome.ignored)
        return outcome.response


async def _meet(sock, behaviour):
    """A behaviour of the connection, before TLS and before any byte."""
    loop = asyncio.get_running_loop()
    with sock:
        if behaviour.reset:
            reset_on_close(sock)
            return
        while await loop.sock_recv(sock, 65536):
            pass  # hang until the client closes; what it says meanwhile is not answered


def listen(port):
    """A listening socket on 127.0.0.1; port 0 lets the kernel choose."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    return listener
