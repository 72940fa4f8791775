"""How an answer travels: at once, late, in drops, in part, never, or not as HTTP at all."""

import itertools

_NOT_HTTP = b"\x16\x03\x01 this is not HTTP \x00\xff\r\n\r\n"
_ENDLESS_PIECE = b"a" * 65536


async def deliver(connection, response, behaviour):
    """Sends a response as the behaviour says; True if the connection can be used again.

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
    return await _deliver_answer(connection, response, behaviour)


async def _deliver_answer(connection, response, behaviour):
    chunked = behaviour.chunked or behaviour.endless
    length = len(response.body) if behaviour.content_length is None else behaviour.content_length
    head = response.head([("Transfer-Encoding", "chunked") if chunked else ("Content-Length", length)])
    if not (behaviour.drip or behaviour.endless or behaviour.hang or behaviour.stops_mid_body):
        await connection.send(head + (_chunk(response.body) + _chunk(b"") if chunked else response.body))
        return _finish(connection, behaviour, length == len(response.body))
    await connection.send(head)
    if behaviour.hang == "after_headers":
        await connection.hang()
    for piece in _pieces(response.body, behaviour):
        await connection.send(_chunk(piece) if chunked else piece)
        if behaviour.drip:
            await connection.pause(behaviour.drip.every_ms)
    if behaviour.stops_mid_body:
        return await _break_off(connection, behaviour)
    if chunked:
        await connection.send(_chunk(b""))
    return _finish(connection, behaviour, length == len(response.body))


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


def _pieces(body, behaviour):
    """The parts of a body that are sent, in order."""
    if behaviour.endless:
        return itertools.chain([b'{"id": "'], itertools.repeat(_ENDLESS_PIECE))
    if behaviour.stops_mid_body:
        body = body[:len(body) // 2 if behaviour.body_bytes is None else behaviour.body_bytes]
    size = behaviour.drip.bytes if behaviour.drip else max(len(body), 1)
    return (body[start:start + size] for start in range(0, len(body), size))


def _chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)
