"""How an answer travels: at once, late, in drops, in part, never, or not as HTTP at all."""

import contextlib
import itertools

_NOT_HTTP = b"\x16\x03\x01 this is not HTTP \x00\xff\r\n\r\n"
_ENDLESS_PIECE = b"a" * 65536


async def deliver(connection, response, behaviour, holds, count_events):
    """Sends a response as the behaviour says; True if the connection can be used again.

    A stream that is to wait does so in `holds`; `count_events` is told after each event how many have been sent.
    Raises ClientGone when the client leaves first, which is how every hang ends.
    """
    if behaviour.delay_ms:
        await connection.pause(behaviour.delay_ms)
    if behaviour.hang == "before_headers":
        await connection.hang()
    if behaviour.reset == "after_request":
        connection.reset()
        return False
    if behaviour.close == "after_request":
        connection.close()
        return False
    if behaviour.not_http:
        await connection.send(_NOT_HTTP)
        connection.close()
        return False
    if response.pieces is None:
        return await _deliver_body(connection, response, behaviour)
    with holds.entered() if behaviour.hold_after_events is not None else contextlib.nullcontext() as released:
        return await _deliver_events(connection, response, behaviour, released, count_events)


async def _deliver_body(connection, response, behaviour):
    chunked = behaviour.chunked or behaviour.endless
    length = len(response.body) if behaviour.content_length is None else behaviour.content_length
    head = response.head([("Transfer-Encoding", "chunked") if chunked else ("Content-Length", length)])
    if not (behaviour.drip or behaviour.endless or behaviour.hang or behaviour.stops_mid_body):
        await connection.send(head + (_chunk(response.body) + _chunk(b"") if chunked else response.body))
        return _finish(connection, behaviour, length == len(response.body))
    await connection.send(head)
    if behaviour.hang == "after_headers":
        await connection.hang()
    for piece in _body_pieces(response.body, behaviour):
        await connection.send(_chunk(piece) if chunked else piece)
        if behaviour.drip:
            await connection.pause(behaviour.drip.every_ms)
    if behaviour.stops_mid_body:
        return await _break_off(connection, behaviour)
    if chunked:
        await connection.send(_chunk(b""))
    return _finish(connection, behaviour, length == len(response.body))


async def _deliver_events(connection, response, behaviour, released, count_events):
    """An event stream, chunked: an event at a time, or in writes of as many bytes as the behaviour wants."""
    await connection.send(response.head([("Transfer-Encoding", "chunked")]))
    if behaviour.hang == "after_headers":
        await connection.hang()
    every_ms = behaviour.drip.every_ms if behaviour.drip else behaviour.event_delay_ms
    for place, piece in enumerate(_event_pieces(response.pieces, behaviour)):
        if place and every_ms:
            await connection.pause(every_ms)
        if behaviour.hold_after_events == place == 0:
            await connection.wait_for(released)
        await connection.send(_chunk(piece))
        count_events(place + 1)
        if behaviour.hold_after_events == place + 1:
            await connection.wait_for(released)
    if behaviour.stops_mid_body:
        return await _break_off(connection, behaviour)
    await connection.send(_chunk(b""))
    return _finish(connection, behaviour, True)


def _finish(connection, behaviour, in_step):
    """After a whole answer: closes where told to, or where client and server disagree about its length."""
    if behaviour.close == "after_answer" or not in_step:
        connection.close()
        return False
    return True


async def _break_off(connection, behaviour):
    if behaviour.hang:
        await connection.hang()
    if behaviour.reset:
        connection.reset()
    else:
        connection.close()
    return False


def _event_pieces(events, behaviour):
    """The parts of an event stream that are sent, in order, none of them empty."""
    if behaviour.endless:
        half = len(events) // 2
        return itertools.chain(events[:half], itertools.cycle(events[half:half + 1]))
    size = behaviour.drip.bytes if behaviour.drip else behaviour.cut_bytes
    if behaviour.body_bytes is not None:
        room = itertools.accumulate(map(len, events), initial=0)
        events = [event[:max(behaviour.body_bytes - begun, 0)] for begun, event in zip(room, events)]
    if size:
        return _cut(b"".join(events), size)
    return filter(None, events)


def _body_pieces(body, behaviour):
    """The parts of a body that are sent, in order."""
    if behaviour.endless:
        return itertools.chain([b'{"id": "'], itertools.repeat(_ENDLESS_PIECE))
    if behaviour.stops_mid_body:
        body = body[:len(body) // 2 if behaviour.body_bytes is None else behaviour.body_bytes]
    return _cut(body, behaviour.drip.bytes if behaviour.drip else max(len(body), 1))


def _cut(data, size):
    return (data[start:start + size] for start in range(0, len(data), size))


def _chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)
