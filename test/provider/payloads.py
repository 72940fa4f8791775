"""Scripted changes to what an answer says: edits of the completion, other bodies, hostile bytes, headers.

How the bytes then travel is delivery.py.
"""

import gzip
import json
import re
import zlib

from refusals import Refusal
from wire import Response

_DAMAGE = {"invalid_utf8": b"\xff\xfe\xc3(", "nul": b"\\u0000", "lone_surrogate": b"\\ud800"}
_TEXT = re.compile(rb'("(?:content|text)": "|"output": \[")(?!")')
_HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Sign in to the network</h1></body></html>"
_GARBAGE = b'{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"never en'


def edited(answer, behaviour):
    """A completion (a dict, changed in place) with the behaviour's replace and remove applied."""
    for path, value in behaviour.replace.items():
        holder, name = _locate(answer, path)
        holder[name] = value
    for path in behaviour.remove:
        holder, name = _locate(answer, path)
        del holder[name]
    return answer


def edited_events(events, behaviour):
    """The events of a stream (dicts, changed in place), each edit made in every event that has its member.

    Raises LookupError for an edit of a member that no event has.
    """
    for path, value in behaviour.replace.items():
        for holder, name in _places(events, path):
            holder[name] = value
    for path in behaviour.remove:
        for holder, name in _places(events, path):
            del holder[name]
    return events


def _places(events, path):
    """Where the events that have the member at `path` have it, as _locate tells."""
    places = [_locate(event, path) for event in events if _has(event, path)]
    if not places:
        raise LookupError(path)
    return places


def _has(event, path):
    try:
        holder, name = _locate(event, path)
        holder[name]
    except (LookupError, TypeError):
        return False
    return True


def _locate(value, path):
    """The container and the key of a path such as choices.0.message.content."""
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in parents:
        value = value[step]
    return value, last


def refusal(error):
    """A ScriptedError as the Refusal that the formats know how to tell."""
    return Refusal(error.message, status=error.status, type=error.type, param=error.param, code=error.code,
                   detail=error.details)


def scripted(api_format, behaviour, fair):
    """The Response that a behaviour gives of its own, whatever the fair answer was."""
    if behaviour.error:
        return _json(behaviour.error.status, api_format.error(refusal(behaviour.error)))
    if behaviour.redirect:
        return Response(behaviour.status or 302, b"", [("Location", behaviour.redirect)])
    status = behaviour.status or 200
    if behaviour.raw_body is not None:
        return Response(status, behaviour.raw_body.encode("utf-8", "surrogatepass"))
    if behaviour.body is not None:
        return _json(status, behaviour.body)
    if behaviour.payload == "empty":
        return Response(status, b"")
    if behaviour.payload == "html":
        return Response(status, _HTML, [("Content-Type", "text/html")])
    if behaviour.payload == "garbage_json":
        return Response(status, _GARBAGE)
    if behaviour.payload:
        return _damaged(fair, _DAMAGE[behaviour.payload])
    if behaviour.status:
        told = Refusal(f"A scripted status {status}.", status=status, type="server_error")
        return _json(status, api_format.error(told))
    return fair


def _damaged(response, damage):
    """The response with `damage` at the beginning of the answer's first text."""
    return _changed_once(response, lambda part: _TEXT.sub(lambda found: found[1] + damage, part, count=1))


def _changed_once(response, change):
    """The response with its body, or the first of its events that `change` changes, changed."""
    if response.pieces is None:
        response.body = change(response.body)
        return response
    for place, piece in enumerate(response.pieces):
        if change(piece) != piece:
            response.pieces[place] = change(piece)
            break
    return response


def dress(response, behaviour, request_id):
    """Adds nesting, compression and headers, among them `request_id`, to a response."""
    if behaviour.nesting:
        nested = b', "nested": ' + b"[" * behaviour.nesting + b"]" * behaviour.nesting + b"}"
        _changed_once(response, lambda part: re.sub(rb"}(\s*)\Z", lambda found: nested + found[1], part))
    if behaviour.gzip:
        _compress(response)
        response.headers.append(("Content-Encoding", "gzip"))
    response.headers.append(request_id)
    response.headers += behaviour.headers.items()
    for place in range(behaviour.huge_headers_kb):
        response.headers.append((f"X-Padding-{place}", "p" * 1000))


def _compress(response):
    if response.pieces is None:
        response.body = gzip.compress(response.body)
        return
    gzipped = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    response.pieces = [gzipped.compress(piece) + gzipped.flush(zlib.Z_SYNC_FLUSH) for piece in response.pieces]
    response.pieces[-1:] = [b"".join([*response.pieces[-1:], gzipped.flush()])]


def _json(status, value):
    return Response(status, json.dumps(value).encode())
