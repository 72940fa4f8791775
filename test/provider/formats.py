"""All API formats that the provider speaks, and how one of them answers a request as its behaviour says."""

import payloads
import streams
from anthropic_api import Anthropic
from api_format import Outcome
from cohere_api import Cohere
from dialects import DIALECTS
from endpoints import OpenAILike
from google_api import Google
from replicate_api import Replicate
from responses import json_response


class Formats:
    """The formats, each with the Keys that the provider accepts."""

    def __init__(self, keys):
        self._formats = [*(OpenAILike(dialect, keys) for dialect in DIALECTS), Anthropic(keys), Google(keys),
                         Cohere(keys), Replicate(keys)]

    def find(self, path):
        """The Format that serves `path` and the rest of the path, or (None, path)."""
        for each in self._formats:
            for prefix in each.prefixes:
                if path.startswith(prefix + "/"):
                    return each, path[len(prefix):]
        return None, path

    def model_of(self, request, body):
        """The model that a request is for, or None."""
        found, path = self.find(request.path)
        return found and found.model(path, body)

    def answer(self, request, behaviour, number):
        """The name of the format that serves a request, or None, and the Outcome."""
        found, path = self.find(request.path)
        if found is None:
            return None, Outcome(_nothing_there(request))
        outcome = found.answer(path, request, behaviour, number)
        if behaviour.answers_itself:
            outcome.response = payloads.scripted(found, behaviour, outcome.response)
        if outcome.response.pieces is not None:
            outcome.response.pieces = streams.edited(outcome.response.pieces, found, behaviour)
        payloads.dress(outcome.response, behaviour, (found.request_id_header, f"req_simulated_{number}"))
        return found.name, outcome


def _nothing_there(request):
    return json_response(404, {"error": {"message": f"Invalid URL ({request.method} {request.path})",
                                         "type": "invalid_request_error", "param": None, "code": None}})
