"""The format of OpenAI and of all who imitate it: checks key and request and makes the answer, as a Response.

Nothing here does input or output. What differs between providers is their Dialect's.
"""

import answers
import chunks
import payloads
import sse
from api_format import Format, Outcome
from refusals import Refusal
from responses import event_stream, json_response


class OpenAILike(Format):
    """One dialect's endpoints."""

    def __init__(self, dialect, keys):
        super().__init__(keys)
        self._dialect = dialect
        self.name = dialect.name
        self.prefixes = dialect.prefixes

    def answer(self, path, request, behaviour, number):
        try:
            if not self._is_public(path, request):
                self._check_key(request)
            self._check_version(request)
            if (request.method, path) == ("POST", "/chat/completions"):
                body, ignored = self._chat_request(request)
                return Outcome(self._chat_completion(body, behaviour, number), ignored=ignored)
            return Outcome(json_response(200, _look_up(self._dialect, request.method, path)))
        except Refusal as refusal:
            return self.refused(refusal)

    def error(self, refusal):
        return self._dialect.error(refusal)

    def stream_error(self, refusal):
        return sse.event(self._dialect.stream_error(refusal))

    def _is_public(self, path, request):
        return self._dialect.models_are_public and request.method == "GET" and path.startswith("/models")

    def _check_key(self, request):
        dialect = self._dialect
        if not dialect.needs_key:
            return
        key = request.header(dialect.key_header)
        if dialect.key_header == "authorization":
            scheme, _, key = key.partition(" ")
            key = key if scheme.lower() == "bearer" else ""
        if not key:
            raise Refusal(dialect.no_key, status=401, code="invalid_api_key")
        if not self.keys.accept(key):
            raise Refusal(dialect.bad_key.format(key=f"{key[:8]}***"), status=dialect.bad_key_status,
                          code="invalid_api_key")

    def _check_version(self, request):
        versions = self._dialect.api_versions
        if versions and request.query.get("api-version", [""])[0] not in versions:
            raise Refusal("Resource not found", status=404)

    def _chat_request(self, request):
        """The request's body, once it keeps to all rules, and the paths of members that were ignored."""
        if request.header("content-type").split(";")[0].strip().lower() != "application/json":
            raise Refusal("Unsupported content type: requests are sent as application/json.", status=415,
                          code="unsupported_content_type")
        try:
            body, ignored = self._dialect.schema.check(request.body)
        except Refusal as refusal:
            if refusal.detail:
                refusal.status = self._dialect.schema_status
            raise
        for rule in self._dialect.rules:
            rule(body)
        return body, ignored

    def _chat_completion(self, body, behaviour, number):
        try:
            return self._streamed(body, behaviour, number) if body.get("stream") \
                else self._whole(body, behaviour, number)
        except (LookupError, TypeError, ValueError) as error:
            return self.misfit(error)


    def _whole(self, body, behaviour, number):
        answer = answers.whole(answers.complete(body, self._dialect, behaviour, number), self._dialect.shape)
        return json_response(200, payloads.edited(answers.script(answer, behaviour), behaviour))

    def _streamed(self, body, behaviour, number):
        shape = self._dialect.shape
        parts = chunks.split(answers.complete(body, self._dialect, behaviour, number), body, shape, behaviour)
        scripted = payloads.edited_events([answers.script(part, behaviour) for part in parts], behaviour)
        first, *rest = [*map(sse.event, scripted), sse.event("[DONE]")]
        return event_stream([shape.opening + first, *rest])


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
