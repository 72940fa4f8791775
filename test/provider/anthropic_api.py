"""The format of Anthropic's Messages API: checks key and request and makes the answer or its stream of events.

Requests are checked by anthropic_rules.py; answers and events are built from the official SDK's own types. A request
is put in OpenAI's terms to be answered, so that equal questions get equal answers from every format.
"""

import hashlib
import json

from anthropic.types import Message, ModelInfo, RawMessageStreamEvent
from pydantic import TypeAdapter

import anthropic_rules
import answers
import payloads
import sse
from api_format import Format, Outcome
from refusals import Refusal
from responses import event_stream, json_response
from schemas import StrictTypes
from vendor_types import checked

_VERSION = "2023-06-01"
_MESSAGE = TypeAdapter(StrictTypes().strict(Message))
_EVENT = TypeAdapter(StrictTypes().strict(RawMessageStreamEvent))
_PING = {"type": "ping"}
_THOUGHT = "Thinking."
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERROR_TYPES = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
                409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
                529: "overloaded_error"}


class Anthropic(Format):
    """Messages, and the list of models."""

    name = "anthropic"
    prefixes = ("/anthropic",)
    request_id_header = "request-id"
    tells_tier = False

    def answer(self, path, request, behaviour, number):
        try:
            self._check_headers(request)
            if (request.method, path) == ("POST", "/v1/messages"):
                return Outcome(self._messages(_body(request), behaviour, number))
            return Outcome(json_response(200, _look_up(request, path)))
        except Refusal as refusal:
            return self.refused(refusal)

    def error(self, refusal):
        """The type follows the status, unless a script has one of its own."""
        kind = refusal.type
        if kind in ("invalid_request_error", "server_error"):
            kind = _ERROR_TYPES.get(refusal.status, "api_error" if refusal.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": refusal.message}, "request_id": "req_simulated"}

    def stream_error(self, refusal):
        return sse.event(self.error(refusal), "error")

    @staticmethod
    def call_id(seed):
        return "toolu_" + hashlib.sha256(seed.encode()).hexdigest()[:24]

    def _check_headers(self, request):
        key, version = request.header("x-api-key"), request.header("anthropic-version")
        if not key:
            raise Refusal("x-api-key header is required", status=401)
        if not self.keys.accept(key):
            raise Refusal("invalid x-api-key", status=401)
        if version != _VERSION:
            raise Refusal(f'anthropic-version: "{version}" is not a valid version' if version else
                          "anthropic-version: header is required")

    def _messages(self, body, behaviour, number):
        try:
            message = _message(body, self, behaviour, number)
            if not body.get("stream"):
                return json_response(200, payloads.edited(_scripted(message, behaviour), behaviour))
            events = [_scripted(event, behaviour) for event in _events(message)]
            if behaviour.no_usage:
                events = list(map(_without_usage, events))
            return event_stream([sse.event(event, event.get("type"))
                                 for event in payloads.edited_events(events, behaviour)])
        except (LookupError, TypeError, ValueError) as error:
            return self.misfit(error)


def _body(request):
    if request.header("content-type").split(";")[0].strip().lower() != "application/json":
        raise Refusal("Content-Type must be application/json", status=415)
    return anthropic_rules.checked(request.body)


# Models -------------------------------------------------------------------------------------------------------------

def _look_up(request, path):
    """What a GET answers: a page of the models, or one of them."""
    names = list(anthropic_rules.MODELS)
    if request.method == "GET" and path == "/v1/models":
        limit = _limit(request)
        page = names[:limit]
        return {"data": [_model(name) for name in page], "has_more": len(names) > limit, "first_id": page[0],
                "last_id": page[-1]}
    if request.method == "GET" and path.removeprefix("/v1/models/") in names:
        return _model(path.removeprefix("/v1/models/"))
    raise Refusal("Not found", status=404)


def _limit(request):
    given = request.query.get("limit", ["20"])[0]
    if not given.isdecimal() or not 1 <= int(given) <= 1000:
        raise Refusal("limit: Input should be a valid integer from 1 to 1000")
    return int(given)


def _model(name):
    taken, given = anthropic_rules.MODELS[name]
    model = {"id": name, "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z",
             "max_input_tokens": taken, "max_tokens": given}
    return ModelInfo.model_validate(model).model_dump(mode="json", exclude_unset=True)


# Answers ------------------------------------------------------------------------------------------------------------

def _in_openais_terms(body):
    """The request as OpenAI's chat completions would have it, as far as it matters to the answer."""
    messages = [{"role": role, "content": blocks} for role, blocks in anthropic_rules.turns(body)]
    translated = [part for message in messages for part in _split_turn(message)]
    if body.get("system"):
        translated.insert(0, {"role": "system", "content": anthropic_rules.blocks_of(body["system"])})
    asked = {"model": body["model"], "messages": translated, "stop": body.get("stop_sequences"),
             "max_completion_tokens": body["max_tokens"]}
    if body.get("tools"):
        asked["tools"] = [{"type": "function", "function": {
            "name": tool["name"], **({"description": tool["description"]} if "description" in tool else {}),
            "parameters": tool.get("input_schema", {})}} for tool in body["tools"]]
        asked["tool_choice"] = _choice(body.get("tool_choice", {"type": "auto"}))
    wanted = (body.get("output_config") or {}).get("format")
    if wanted:
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": wanted["schema"]}}
    return asked


def _choice(choice):
    if choice["type"] == "tool":
        return {"type": "function", "function": {"name": choice["name"]}}
    return {"any": "required"}.get(choice["type"], choice["type"])


def _split_turn(turn):
    """A turn as OpenAI's messages: each tool result is one, and so is the rest, with the calls that it makes."""
    rest, calls = [], []
    for block in turn["content"]:
        if block["type"] == "tool_result":
            yield {"role": "tool", "content": anthropic_rules.blocks_of(block.get("content") or "")}
        elif block["type"] == "tool_use":
            calls.append({"function": {"name": block["name"], "arguments": json.dumps(block["input"])}})
        elif block["type"] not in ("thinking", "redacted_thinking"):
            rest.append(block)
    if rest or calls:
        yield {"role": turn["role"], "content": rest, "tool_calls": calls}


def _message(body, api_format, behaviour, number):
    """The whole answer, with a fair usage."""
    asked, shown = _in_openais_terms(body), True
    if behaviour.reasoning is None and anthropic_rules.thinks(body):
        behaviour, shown = behaviour.model_copy(update={"reasoning": _THOUGHT}), anthropic_rules.shows_thoughts(body)
    completion = answers.complete(asked, api_format, behaviour, number)
    choice, stop_sequence = completion["choices"][0], _stop_sequence(asked, api_format, behaviour, completion)
    message = {
        "id": f"msg_simulated_{number}", "type": "message", "role": "assistant", "model": body["model"],
        "content": list(_blocks(choice["message"], shown)),
        "stop_reason": "stop_sequence" if stop_sequence else _STOP_REASONS[choice["finish_reason"]],
        "stop_sequence": stop_sequence, "usage": _usage(completion["usage"])}
    if behaviour.refusal is not None:
        message |= {"stop_reason": "refusal",
                    "stop_details": {"type": "refusal", "category": None, "explanation": behaviour.refusal}}
    return checked(_MESSAGE, message)


def _usage(usage):
    """A usage of OpenAI's as Anthropic tells it."""
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    return {"input_tokens": usage["prompt_tokens"], "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": usage["completion_tokens"], "service_tier": "standard",
            **({"output_tokens_details": {"thinking_tokens": thought}} if thought else {})}


def _blocks(message, shown):
    """A message of OpenAI's as blocks; of thoughts that are not `shown` only the signature."""
    if "reasoning" in message:
        yield {"type": "thinking", "thinking": message["reasoning"] if shown else "",
               "signature": anthropic_rules.SIGNATURE}
    if message["content"] is not None:
        yield {"type": "text", "text": message["content"]}
    for call in message.get("tool_calls", []):
        yield {"type": "tool_use", "id": call["id"], "name": call["function"]["name"],
               "input": json.loads(call["function"]["arguments"])}


def _stop_sequence(asked, api_format, behaviour, completion):
    """The stop sequence that ended an answer, or None."""
    if not asked["stop"] or completion["choices"][0]["finish_reason"] != "stop":
        return None
    unstopped = answers.complete({**asked, "stop": None}, api_format, behaviour, 0)
    said, all_to_say = ((each["choices"][0]["message"]["content"] or "") for each in (completion, unstopped))
    unsaid = all_to_say[len(said):]
    return next((stop for stop in asked["stop"] if unsaid.startswith(stop)), None)


# Scripted members, of any type --------------------------------------------------------------------------------------

def _scripted(part, behaviour):
    """A message or an event (a dict, changed in place) with the scripted usage and stop reason where it has them."""
    told, ended = part.get("message", part), part.get("delta", part)
    if "usage" in told and behaviour.usage:
        told["usage"] = _scripted_usage(told["usage"], behaviour.usage)
    if behaviour.finish_reason and ended.get("stop_reason"):
        ended["stop_reason"] = behaviour.finish_reason
    return part


def _scripted_usage(usage, scripted):
    """Members have Anthropic's names or those that every format knows; prompt_tokens has the cached ones in it."""
    named = dict(scripted)
    prompt = named.pop("prompt_tokens", usage["input_tokens"])
    cached, written = named.pop("cached_tokens", 0), named.pop("cache_write_tokens", 0)
    if all(isinstance(count, int) for count in (prompt, cached, written)):
        prompt -= cached + written
    usage = {**usage, "input_tokens": prompt, "cache_creation_input_tokens": written,
             "cache_read_input_tokens": cached}
    if "completion_tokens" in named:
        usage["output_tokens"] = named.pop("completion_tokens")
    if "reasoning_tokens" in named:
        usage["output_tokens_details"] = {"thinking_tokens": named.pop("reasoning_tokens")}
    return {**usage, **named}


def _without_usage(event):
    event.get("message", event).pop("usage", None)
    return event


# Events -------------------------------------------------------------------------------------------------------------

def _events(message):
    """The events (dicts) that stream a message; its usage is told as far as it is known, then as a whole."""
    usage = {name: count for name, count in message["usage"].items() if name.endswith(("tokens", "details"))}
    ended = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
    begun = {**message, "content": [], **dict.fromkeys(ended), "usage": {**message["usage"], "output_tokens": 1}}
    blocks = [event for index, block in enumerate(message["content"]) for event in _block_events(index, block)]
    return [_typed(type="message_start", message=begun), *blocks[:1], _PING.copy(), *blocks[1:],
            _typed(type="message_delta", delta=ended, usage=usage), _typed(type="message_stop")]


def _block_events(index, block):
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
    yield _typed(type="content_block_start", index=index, content_block={**block, **empty[block["type"]]})
    for delta in _deltas(block):
        yield _typed(type="content_block_delta", index=index, delta=delta)
    yield _typed(type="content_block_stop", index=index)


def _deltas(block):
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": word} for word in sse.words(block["text"]))
    elif block["type"] == "thinking":
        yield from ({"type": "thinking_delta", "thinking": word} for word in sse.words(block["thinking"]))
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        pieces = sse.halves(json.dumps(block["input"])) if block["input"] else []
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces])


def _typed(**event):
    """An event that keeps to the SDK's type."""
    return checked(_EVENT, event)
