"""The format of Replicate's API: predictions of models, versions and deployments, their streams, models, the account.

Predictions stay in memory, so that they can be looked at and cancelled. A stream is at an address of its own, below
another prefix, which no API key may reach: a request that brings one is refused.
"""

import hashlib
import json
import re

from pydantic import TypeAdapter
from replicate.types import AccountGetResponse, ModelGetResponse
from typing_extensions import NotRequired

import payloads
import replicate_inputs
import sse
from api_format import Format, Outcome
from refusals import Refusal
from replicate_predictions import STREAM_PREFIX, Prediction, answer, time
from responses import event_stream, json_response
from vendor_types import VendorTypes, checked
from wire import REASONS

_TYPES = VendorTypes(also={"VersionGetResponse": {"created_at": NotRequired[str]}})
_ACCOUNT = TypeAdapter(_TYPES.strict(AccountGetResponse))
_MODEL = TypeAdapter(_TYPES.strict(ModelGetResponse))
_OUTPUT = {"title": "Output", "type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator",
           "x-cog-array-display": "concatenate"}

_OWNED = r"([\w.-]+/[\w.-]+)"
_VERSION = re.compile(rf"(?:{_OWNED}:)?([0-9a-f]{{64}})")
_PREFER = re.compile(r"wait(=([1-9]|[1-5][0-9]|60))?")
_CANCEL_AFTER = re.compile(r"\d+(\.\d+)?[smh]?")
_MODELS = ("meta/meta-llama-3-8b-instruct", "openai/gpt-4o-mini", "openai/gpt-5", "anthropic/claude-4.5-sonnet",
           "google/gemini-2.5-flash")
_TITLES = {**REASONS, 401: "Unauthenticated", 402: "Insufficient credit", 422: "Input validation failed"}


class Replicate(Format):
    """Everything below the API's address and below that of the streams."""

    name = "replicate"
    prefixes = ("/replicate/v1", STREAM_PREFIX)
    tells_tier = False

    def __init__(self, keys):
        super().__init__(keys)
        self._predictions = {}
        self._routes = (
            ("POST", rf"/models/{_OWNED}/predictions", self._predict_by_model),
            ("POST", rf"/deployments/{_OWNED}/predictions", self._predict_by_deployment),
            ("POST", r"/predictions", self._predict_by_version),
            ("GET", r"/predictions/([^/]+)", self._look),
            ("POST", r"/predictions/([^/]+)/cancel", self._cancel),
            ("GET", rf"/models/{_OWNED}", lambda call, name: json_response(200, _model(name))),
            ("GET", r"/account", lambda call: json_response(200, _account())))

    def answer(self, path, request, behaviour, number):
        try:
            if request.path.startswith(STREAM_PREFIX):
                return Outcome(self._stream(path, request))
            self._check_key(request)
            return Outcome(self._route(path, _Call(request, behaviour, number)))
        except Refusal as refusal:
            return self.refused(refusal)
        except (LookupError, TypeError, ValueError) as error:
            return Outcome(self.misfit(error))

    def error(self, refusal):
        problem = {"title": refusal.code or _TITLES.get(refusal.status, "Error"), "detail": refusal.message,
                   "status": refusal.status}
        return {**problem, "invalid_fields": refusal.detail} if refusal.detail else problem

    def stream_error(self, refusal):
        return sse.event({"detail": refusal.message}, "error")

    def model(self, path, body):
        """A model is named in the path, in the version, or by the prediction that the path names."""
        named = re.match(rf"/models/{_OWNED}", path)
        if named:
            return named[1]
        if isinstance(body, dict) and isinstance(body.get("version"), str):
            return body["version"].partition(":")[0]
        found = self._predictions.get(re.match(r"(?:/predictions)?/([^/]*)", path)[1])
        return found and found.model

    def _check_key(self, request):
        scheme, _, key = request.header("authorization").partition(" ")
        if scheme.lower() not in ("bearer", "token") or not self.keys.accept(key):
            raise Refusal("You did not pass a valid authentication token", status=401)

    def _route(self, path, call):
        for method, pattern, handler in self._routes:
            found = re.fullmatch(pattern, path)
            if found and call.request.method == method:
                return handler(call, *found.groups())
        raise _not_found()

    # Predictions

    def _predict_by_model(self, call, model):
        return self._predict(call, call.body(model), model, "hidden")

    def _predict_by_deployment(self, call, name):
        return self._predict(call, call.body(_MODELS[0]), _MODELS[0], _version_of(_MODELS[0]), deployment=name)

    def _predict_by_version(self, call):
        model, version = _resolve(call.version())
        return self._predict(call, call.body(model, with_version=True), model, version)

    def _predict(self, call, body, model, version, deployment=None):
        waits = call.waits()
        output, counts = answer(model, body["input"], self, call.behaviour, call.number)
        made = Prediction(id=f"simulated{call.number}", model=model, version=version, deployment=deployment,
                          input=body["input"], output=output, counts=counts, origin=call.request.origin,
                          streamed=body.get("stream", False), behaviour=call.behaviour)
        self._predictions[made.id] = made
        if waits:
            made.wait()
        unfinished = waits and made.status == "processing"
        return json_response(202 if unfinished else 201, payloads.edited(made.told(), call.behaviour))

    def _look(self, call, name):
        found = self._found(name)
        found.look()
        return json_response(200, payloads.edited(found.told(), call.behaviour))

    def _cancel(self, call, name):
        found = self._found(name)
        found.cancel()
        return json_response(200, payloads.edited(found.told(), call.behaviour))

    def _stream(self, path, request):
        if request.header("authorization"):
            raise Refusal("A stream takes no API key: its address is not the API's.")
        if request.method != "GET":
            raise _not_found()
        if "text/event-stream" not in request.header("accept"):
            raise Refusal("A stream is sent as text/event-stream only.", status=406)
        return event_stream(self._found(path.removeprefix("/")).events())

    def _found(self, name):
        if name not in self._predictions:
            raise _not_found()
        return self._predictions[name]


class _Call:
    """One request: what it asks for, how it is to be answered, and its number."""

    def __init__(self, request, behaviour, number):
        self.request = request
        self.behaviour = behaviour
        self.number = number

    def body(self, model, with_version=False):
        """The body of a prediction for a model, once it is as it should be."""
        body = self._json()
        problems = replicate_inputs.problems(body, model, with_version)
        if problems:
            lines = [f"- {problem['field'] + ': ' if problem['field'] else ''}{problem['description']}\n"
                     for problem in problems]
            raise Refusal("".join(lines), status=422, param=problems[0]["field"], detail=problems)
        return body

    def version(self):
        """The version that the body names; one that is missing or no text is told by body()."""
        body = self._json()
        version = body.get("version") if isinstance(body, dict) else None
        return version if isinstance(version, str) else _MODELS[0]

    def waits(self):
        """Whether the client wants to wait for the end."""
        prefer, cancel_after = self.request.header("prefer"), self.request.header("cancel-after")
        if prefer and not _PREFER.fullmatch(prefer):
            raise Refusal(f"Invalid Prefer header: {prefer}. Expected wait or wait=N, N from 1 to 60.")
        if cancel_after and not _CANCEL_AFTER.fullmatch(cancel_after):
            raise Refusal(f"Invalid Cancel-After header: {cancel_after}. Expected a duration such as 5m.")
        return bool(prefer)

    def _json(self):
        if self.request.header("content-type").split(";")[0].strip().lower() != "application/json":
            raise Refusal("Expected a body of type application/json.", status=415)
        try:
            return json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise Refusal(f"The body is no JSON: {error}") from None


def _resolve(version):
    """The model and the id of a version, which is named as owner/name, owner/name:id or id."""
    if re.fullmatch(_OWNED, version):
        return version, _version_of(version)
    found = _VERSION.fullmatch(version)
    if not found:
        raise Refusal("The specified version does not exist (or perhaps you don't have permission to use it?)",
                      status=422, code="Invalid version or not permitted", param="version")
    named = {_version_of(model): model for model in _MODELS}
    return found[1] or named.get(found[2], _MODELS[0]), found[2]


def _version_of(model):
    return hashlib.sha256(model.encode()).hexdigest()


def _not_found():
    return Refusal("The requested resource could not be found.", status=404)


# The account and the models -----------------------------------------------------------------------------------------

def _account():
    return checked(_ACCOUNT, {"type": "organization", "username": "simulated", "name": "Simulated", "github_url": None,
                              "avatar_url": None})


def _model(model):
    owner, _, name = model.partition("/")
    schemas = {"Input": replicate_inputs.schema_of(model), "Output": _OUTPUT}
    version = {"id": _version_of(model), "created_at": time(), "cog_version": "0.16.9", "openapi_schema": {
        "openapi": "3.0.2", "info": {"title": "Cog", "version": "0.1.0"}, "components": {"schemas": schemas}}}
    return checked(_MODEL, {"url": f"https://replicate.com/{model}", "owner": owner, "name": name,
                            "description": "A simulated model.", "visibility": "public", "is_official": True,
                            "run_count": 1, "default_example": None, "latest_version": version})
