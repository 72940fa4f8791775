"""The format of Cohere's API, version 2: checks key and request and makes the answer or its stream of events.

Requests are checked by cohere_rules.py; answers and events are built from the official SDK's own types. A request is
put in OpenAI's terms to be answered, so that equal questions get equal answers from every format.
"""

import hashlib
import json
import uuid
from typing import Any, List

from cohere.types import CheckApiKeyResponse, ListModelsResponse
from cohere.v2.types import V2ChatResponse, V2ChatStreamResponse
from pydantic import TypeAdapter

import answers
import cohere_rules
import payloads
import sse
from api_format import Format, Outcome
from refusals import Refusal
from responses import event_stream, json_response
from vendor_types import VendorTypes, checked

PREAMBLE_TOKENS = 500
"""By how much `tokens` exceeds `billed_units`: what Cohere puts before every prompt."""

# A stream begins with all members of the message, empty, of which the SDK knows but the role (recorded).
_TYPES = VendorTypes(also={"ChatMessageStartEventDeltaMessage": {
    "content": List[Any], "tool_plan": str, "tool_calls": List[Any], "citations": List[Any]}})
_ANSWER = TypeAdapter(_TYPES.strict(V2ChatResponse))
_EVENT = TypeAdapter(_TYPES.strict(V2ChatStreamResponse))
_KEY_CHECK = TypeAdapter(_TYPES.strict(CheckApiKeyResponse))
_MODEL_LIST = TypeAdapter(_TYPES.strict(ListModelsResponse))

_MODELS = ("command-r7b-12-2024", "command-a-03-2025", "command-a-reasoning-08-2025", "command-a-vision-07-2025")
_THOUGHT = "Thinking."
_FINISH_REASONS = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}
_CHOICES = {"REQUIRED": "required", "NONE": "none", None: "auto"}


class Cohere(Format):
    """Chat, the list of models and the check of a key."""

    name = "cohere"
    prefixes = ("/cohere",)
    tells_tier = False

    def answer(self, path, request, behaviour, number):
        try:
            self._check_key(request)
            if (request.method, path) == ("POST", "/v2/chat"):
                return Outcome(self._chat(_body(request), behaviour, number))
            return Outcome(json_response(200, _look_up(request, path)))
        except Refusal as refusal:
            return self.refused(refusal)

    def error(self, refusal):
        return {"id": _id(0), "message": refusal.message}

    def stream_error(self, refusal):
        ended = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": refusal.message}}
        return sse.event(checked(_EVENT, ended), ended["type"])

    @staticmethod
    def call_id(seed):
        """Cohere's ids begin with the name of the tool."""
        return f"{seed.partition(' ')[2]}_{hashlib.sha256(seed.encode()).hexdigest()[:12]}"

    def _check_key(self, request):
        scheme, _, key = request.header("authorization").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal("no api key supplied", status=401)
        if not self.keys.accept(key):
            raise Refusal("invalid api token", status=401)

    def _chat(self, body, behaviour, number):
        try:
            answer = _answer(body, self, behaviour, number)
            if not body.get("stream"):
                return json_response(200, payloads.edited(_scripted(answer, behaviour), behaviour))
            events = [_scripted(event, behaviour) for event in _events(answer)]
            if behaviour.no_usage:
                del events[-1]["delta"]["usage"]
            return event_stream([sse.event(event, event.get("type"))
                                 for event in payloads.edited_events(events, behaviour)])
        except (LookupError, TypeError, ValueError) as error:
            return self.misfit(error)


def _body(request):
    if request.header("content-type").split(";")[0].strip().lower() != "application/json":
        raise Refusal("invalid content type: requests are sent as application/json", status=415)
    return cohere_rules.checked(request.body)


def _id(number):
    return str(uuid.UUID(int=number))


# Keys and models ----------------------------------------------------------------------------------------------------

def _look_up(request, path):
    if (request.method, path) == ("POST", "/v1/check-api-key"):
        return checked(_KEY_CHECK, {"valid": True, "organization_id": _id(1), "owner_id": _id(2)})
    if (request.method, path) == ("GET", "/v1/models"):
        names = _MODELS[:_page_size(request)]
        more = {"next_page_token": "simulated"} if len(names) < len(_MODELS) else {}
        return checked(_MODEL_LIST, {"models": list(map(_model, names)), **more})
    raise Refusal("404 page not found", status=404)


def _page_size(request):
    given = request.query.get("page_size", ["20"])[0]
    if not given.isdecimal() or not 1 <= int(given) <= 1000:
        raise Refusal("invalid request: page_size must be between 1 and 1000.", param="page_size")
    return int(given)


def _model(name):
    features = ["chat-completions", "tools", "tool_choice", "json_mode", "json_schema"]
    return {"name": name, "is_deprecated": False, "endpoints": ["chat"], "finetuned": False, "context_length": 128000,
            "default_endpoints": [], "features": features + ["vision"] * cohere_rules.sees_images(name)
            + ["reasoning"] * cohere_rules.reasons(name)}


# Answers ------------------------------------------------------------------------------------------------------------

def _in_openais_terms(body):
    """The request as OpenAI's chat completions would have it, as far as it matters to the answer."""
    asked = {"model": body["model"], "messages": list(map(_turn, body["messages"])), "tools": body.get("tools"),
             "tool_choice": _CHOICES[body.get("tool_choice")], "stop": body.get("stop_sequences"),
             "max_tokens": body.get("max_tokens")}
    wanted = body.get("response_format") or {}
    if wanted.get("json_schema") is not None:
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": wanted["json_schema"]}}
    elif wanted:
        asked["response_format"] = {"type": wanted["type"]}
    return asked


def _turn(message):
    content = message.get("content") or message.get("tool_plan") or ""
    parts = content if isinstance(content, str) else [{"text": _text(part)} for part in content]
    calls = [{"function": {"arguments": call["function"].get("arguments") or ""}}
             for call in message.get("tool_calls") or []]
    return {"role": message["role"], "content": parts, "tool_calls": calls}


def _text(part):
    """The text of a part of a message; a document's is its data, as JSON."""
    return json.dumps(part["document"]["data"]) if part["type"] == "document" else part.get("text", "")


def _answer(body, api_format, behaviour, number):
    """The whole answer, with a fair usage."""
    asked, reasons = _in_openais_terms(body), cohere_rules.reasons(body["model"])
    if behaviour.reasoning is None and reasons and (body.get("thinking") or {}).get("type") != "disabled":
        behaviour = behaviour.model_copy(update={"reasoning": _THOUGHT})
    completion = answers.complete(asked, api_format, behaviour, number)
    message, finish_reason = completion["choices"][0]["message"], completion["choices"][0]["finish_reason"]
    answer = {"id": _id(number), "message": _message(message, reasons),
              "finish_reason": _FINISH_REASONS[finish_reason], "usage": _usage(completion["usage"])}
    if _was_stopped(asked, api_format, behaviour, completion):
        answer["finish_reason"] = "STOP_SEQUENCE"
    if body.get("logprobs") and message["content"]:
        answer["logprobs"] = list(map(_logprob, sse.words(message["content"])))
    return checked(_ANSWER, answer)


def _message(message, reasons):
    """A message of OpenAI's as Cohere has it.

    What was thought is a part of the content, but where a model that does not reason calls tools it is the plan.
    """
    calls, thought = message.get("tool_calls"), message.get("reasoning")
    planned = calls and not reasons
    content = [{"type": "thinking", "thinking": thought}] if thought is not None and not planned else []
    text = message["content"] if message["refusal"] is None else message["refusal"]
    if text is not None:
        content.append({"type": "text", "text": text})
    told = {"content": content or None, "tool_plan": thought if planned else None, "tool_calls": calls}
    return {"role": "assistant", **{name: value for name, value in told.items() if value is not None}}


def _usage(usage):
    """A usage of OpenAI's as Cohere tells it."""
    given, made = usage["prompt_tokens"], usage["completion_tokens"]
    return {"billed_units": {"input_tokens": given, "output_tokens": made},
            "tokens": {"input_tokens": given + PREAMBLE_TOKENS, "output_tokens": made}, "cached_tokens": 0}


def _was_stopped(asked, api_format, behaviour, completion):
    """Whether a stop sequence ended the answer."""
    unstopped = answers.complete({**asked, "stop": None}, api_format, behaviour, 0)
    said, all_to_say = (each["choices"][0] for each in (completion, unstopped))
    return said["finish_reason"] == "stop" and said["message"]["content"] != all_to_say["message"]["content"]


def _logprob(text):
    return {"text": text, "token_ids": [len(text)], "logprobs": [-0.5]}


# Scripted members, of any type --------------------------------------------------------------------------------------

def _scripted(part, behaviour):
    """An answer or an event (a dict, changed in place) with the scripted usage and finish reason where it has them."""
    told = part.get("delta", part)
    if "usage" in told:
        told["usage"] = _scripted_usage(told["usage"], behaviour.usage)
    if behaviour.finish_reason and "finish_reason" in told:
        told["finish_reason"] = behaviour.finish_reason
    return part


def _scripted_usage(usage, scripted):
    """prompt_tokens and completion_tokens are what is billed, and tokens follows; other members have Cohere's names."""
    named = dict(scripted)
    billed, tokens = dict(usage["billed_units"]), dict(usage["tokens"])
    for member, name, more in (("prompt_tokens", "input_tokens", PREAMBLE_TOKENS),
                               ("completion_tokens", "output_tokens", 0)):
        if member in named:
            billed[name] = tokens[name] = named.pop(member)
            if isinstance(billed[name], int):
                tokens[name] += more
    return {**usage, "billed_units": billed, "tokens": tokens, **named}


# Events -------------------------------------------------------------------------------------------------------------

def _events(answer):
    """The events (dicts) that stream an answer."""
    message, logprobs = answer["message"], iter(answer.get("logprobs", []))
    begun = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _event("message-start", {"message": begun}, id=answer["id"])
    for index, part in enumerate(message.get("content", [])):
        yield from _part_events(index, part, logprobs)
    for word in sse.words(message.get("tool_plan", "")):
        yield _event("tool-plan-delta", {"message": {"tool_plan": word}})
    for index, call in enumerate(message.get("tool_calls", [])):
        yield from _call_events(index, call)
    yield _event("message-end", {"finish_reason": answer["finish_reason"], "usage": answer["usage"]})


def _part_events(index, part, logprobs):
    kind = part["type"]
    yield _event("content-start", {"message": {"content": {"type": kind, kind: ""}}}, index=index)
    for word in sse.words(part[kind]):
        logprob = next(logprobs, None) if kind == "text" else None
        yield _event("content-delta", {"message": {"content": {kind: word}}}, index=index,
                     **({"logprobs": logprob} if logprob else {}))
    yield checked(_EVENT, {"type": "content-end", "index": index})


def _call_events(index, call):
    function = call["function"]
    begun = {**call, "function": {**function, "arguments": ""}}
    yield _event("tool-call-start", {"message": {"tool_calls": begun}}, index=index)
    for piece in sse.halves(function["arguments"]):
        yield _event("tool-call-delta", {"message": {"tool_calls": {"function": {"arguments": piece}}}}, index=index)
    yield checked(_EVENT, {"type": "tool-call-end", "index": index})


def _event(kind, delta, **members):
    """An event that keeps to the SDK's type."""
    return checked(_EVENT, {"type": kind, **members, "delta": delta})
