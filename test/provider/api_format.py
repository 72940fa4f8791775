"""What the server asks of an API format. Each format is one class in a module of its own; formats.py lists them."""

from dataclasses import dataclass, field
from typing import Optional

from refusals import Refusal
from responses import json_response
from wire import Response


@dataclass
class Outcome:
    """An answer and what the journal says of it: the refusal, if it is one, and members that were ignored."""

    response: Response
    refused: Optional[dict] = None
    ignored: list = field(default_factory=list)


class Format:
    """One vendor's API, served below each of `prefixes`. `keys` are the Keys that it accepts.

    A format makes fair answers, with what `behaviour` scripts of the completion (content, tool_calls, usage, no_usage
    …). Errors, bodies and events in place of an answer or inside it are put there by formats.py, for all formats.
    """

    name = ""
    prefixes = ()
    request_id_header = "x-request-id"

    def __init__(self, keys):
        self.keys = keys

    def answer(self, path, request, behaviour, number):
        """The Outcome of `request` for `path` below the prefix; raises nothing. `number` is the journal's."""
        raise NotImplementedError

    def error(self, refusal):
        """The body (a JSON value) by which this vendor tells of a Refusal."""
        raise NotImplementedError

    def stream_error(self, refusal):
        """The event (its bytes, with the blank line) that tells of a Refusal in a stream that has begun."""
        raise NotImplementedError

    def refused(self, refusal):
        """The Outcome of a request that is refused."""
        return Outcome(json_response(refusal.status, self.error(refusal)), refusal.as_dict())

    def model(self, path, body):
        """The name of the model that a request is for, or None; `body` is any JSON value or text."""
        return body.get("model") if isinstance(body, dict) else None

    def misfit(self, error):
        """The Response when a script does not fit the answer."""
        told = Refusal(f"the script does not fit the answer: {error!r}", status=500, type="simulator_error")
        return json_response(told.status, self.error(told))
