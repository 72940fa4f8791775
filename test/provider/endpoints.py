"""The endpoints of a provider: checks the key and the request and makes the answer, as a Response.

Nothing here does input or output. Chat completions are answered whole; an event stream would begin in
_chat_completion, where a valid request is known and nothing has been sent.
"""

import json
from dataclasses import dataclass, field
from typing import Optional

import answers
import payloads
from refusals import Refusal
from wire import Response

KEY_PREFIX = "sk-test-"


@dataclass
class Outcome:
    """An answer and what the journal says of it: the refusal, if it is one, and members that were ignored."""

    response: Response
    refused: Optional[dict] = None
    ignored: list = field(default_factory=list)


class Endpoints:
    """`keys` are the accepted keys; without any, every key that begins with KEY_PREFIX is."""

    def __init__(self, keys=()):
        self._keys = frozenset(keys)

    def answer(self, dialect, path, request, behaviour, number):
        """The Outcome of a request for `path` below the dialect's base URL."""
        outcome = self._fair_answer(dialect, path, request, behaviour, number)
        if behaviour.answers_itself:
            outcome.response = payloads.scripted(dialect, behaviour, outcome.response)
        payloads.dress(outcome.response, behaviour, number)
        return outcome

    def _fair_answer(self, dialect, path, request, behaviour, number):
        try:
            if not (dialect.models_are_public and request.method == "GET" and path.startswith("/models")):
                self._check_key(dialect, request)
            if (request.method, path) == ("POST", "/chat/completions"):
                body, ignored = self._chat_request(dialect, request)
                return Outcome(_chat_completion(body, dialect, behaviour, number), ignored=ignored)
            return Outcome(json_response(200, _look_up(dialect, request.method, path)))
        except Refusal as refusal:
            return Outcome(json_response(refusal.status, dialect.error(refusal)), refusal.as_dict())

    def _check_key(self, dialect, request):
        if not dialect.needs_key:
            return
        scheme, _, key = request.header("authorization").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(dialect.no_key, status=401, code="invalid_api_key")
        if not (key in self._keys if self._keys else key.startswith(KEY_PREFIX)):
            raise Refusal(dialect.bad_key.format(key=f"{key[:8]}***"), status=401, code="invalid_api_key")

    @staticmethod
    def _chat_request(dialect, request):
        if request.header("content-type").split(";")[0].strip().lower() != "application/json":
            raise Refusal("Unsupported content type: requests are sent as application/json.", status=415,
                          code="unsupported_content_type")
        try:
            body, ignored = dialect.schema.check(request.body)
        except Refusal as refusal:
            if refusal.detail:
                refusal.status = dialect.schema_status
            raise
        for rule in dialect.rules:
            rule(body)
        return body, ignored


def _chat_completion(body, dialect, behaviour, number):
    try:
        return json_response(200, payloads.edited(answers.complete(body, dialect, behaviour, number), behaviour))
    except (LookupError, TypeError, ValueError) as error:
        return json_response(500, {"error": {"message": f"the script does not fit the answer: {error!r}",
                                             "type": "simulator_error", "param": None, "code": None}})


def _look_up(dialect, method, path):
    """What a GET answers: the models, one of them, or the dialect's own check."""
    if method != "GET":
        raise Refusal(f"Invalid URL ({method} {path})", status=404)
    if dialect.check_path and path == dialect.check_path:
        return dialect.check_answer
    models = dialect.model_list(dialect.models)
    if path == "/models":
        return models
    listed = models if isinstance(models, list) else models["data"]
    for model in listed:
        if path == f"/models/{model['id']}":
            return model
    raise Refusal(f"Invalid URL or unknown model ({method} {path})", status=404, code="model_not_found", param="model")


def json_response(status, value):
    """A JSON answer in UTF-8, without escapes."""
    return Response(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
