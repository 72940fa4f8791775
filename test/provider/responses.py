"""Responses of the two kinds that APIs give: JSON values and event streams."""

import json

from wire import Response


def json_response(status, value):
    """A JSON answer in UTF-8, without escapes."""
    return Response(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def event_stream(pieces):
    """An event stream of these events, each as sse.py makes them."""
    return Response(200, b"", [("Content-Type", "text/event-stream; charset=utf-8")], pieces)
