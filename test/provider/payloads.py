"""Scripted changes to what an answer says: edits of the completion, other bodies, hostile bytes, headers.

How the bytes then travel is delivery.py.
"""

import gzip
import json
import re

from refusals import Refusal
from wire import Response

_DAMAGE = {"invalid_utf8": b"\xff\xfe\xc3(", "nul": b"\\u0000", "lone_surrogate": b"\\ud800"}
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


def _locate(value, path):
    """The container and the key of a path such as choices.0.message.content."""
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in parents:
        value = value[step]
    return value, last


def scripted(dialect, behaviour, fair):
    """The Response that a behaviour gives of its own, whatever the fair answer was."""
    if behaviour.error:
        error = behaviour.error
        refusal = Refusal(error.message, status=error.status, type=error.type, param=error.param, code=error.code)
        return _json(error.status, dialect.error(refusal))
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
        return Response(fair.status, _damaged(fair.body, _DAMAGE[behaviour.payload]))
    if behaviour.status:
        return _json(status, dialect.error(Refusal(f"A scripted status {status}.", status=status, type="server_error")))
    return fair


def _damaged(body, damage):
    """The body with `damage` at the beginning of the answer's content."""
    return re.sub(rb'("content": ")', lambda found: found[1] + damage, body, count=1)


def dress(response, behaviour, number):
    """Adds nesting, compression and headers to a response."""
    if behaviour.nesting:
        depth = behaviour.nesting
        response.body = response.body[:-1] + b', "nested": ' + b"[" * depth + b"]" * depth + b"}"
    if behaviour.gzip:
        response.body = gzip.compress(response.body)
        response.headers.append(("Content-Encoding", "gzip"))
    response.headers.append(("x-request-id", f"req_simulated_{number}"))
    response.headers += behaviour.headers.items()
    for place in range(behaviour.huge_headers_kb):
        response.headers.append((f"X-Padding-{place}", "p" * 1000))


def _json(status, value):
    return Response(status, json.dumps(value).encode())
