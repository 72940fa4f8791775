"""What Cohere's chat takes: the schema of its requests, from the official SDK, and the rules beyond types.

Rules are as in rules.py: functions of a body that has passed the schema. The words of the refusals are those of
Cohere's documentation of errors where it has them; a rule that is known from answers only is marked "observed".
"""

import inspect
import re
from typing import Optional, get_type_hints

from cohere.v2.raw_client import RawV2Client
from typing_extensions import NotRequired, Required

import rules
from refusals import Refusal
from schemas import Schema, StrictTypes

_TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BEFORE_TOOL_CHOICE = re.compile(r"command(-r)?(-plus)?(-light)?(-nightly)?(-\d\d-20\d\d)?")
_TYPE_KEYWORDS = ("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")
_MANUAL = "For proper usage, please refer to https://docs.cohere.com/v2/reference/chat"


def _members():
    """The members of a request: the parameters of the SDK's method, and `stream`, for which it has two methods."""
    types, hints = StrictTypes(), get_type_hints(RawV2Client.chat, include_extras=True)
    members = {"stream": NotRequired[Optional[bool]]}
    for name, parameter in inspect.signature(RawV2Client.chat).parameters.items():
        if name not in ("self", "request_options"):
            marker = Required if parameter.default is parameter.empty else NotRequired
            members[name] = marker[types.strict(hints[name])]
    return members


_SCHEMA = Schema(StrictTypes.record("ChatRequest", _members()))


def checked(raw):
    """The chat request in `raw` bytes; raises Refusal."""
    try:
        body, _ignored = _SCHEMA.check(raw)
    except Refusal as refusal:
        raise _in_coheres_words(refusal) from None
    for rule in _RULES:
        rule(body)
    return body


def _in_coheres_words(refusal):
    """A refusal of the schema; unknown members are 422 and named by their own name only (observed)."""
    if refusal.detail is None:
        return Refusal(f"invalid json syntax: {refusal.message}")
    if refusal.code == "unknown_parameter":
        name = refusal.param.rpartition(".")[2]
        return Refusal(f"unknown field: parameter '{name}' is not a valid field. {_MANUAL}", status=422,
                       param=refusal.param)
    return Refusal(f"invalid request: {refusal.message} {_MANUAL}", param=refusal.param)


def sees_images(model):
    return "vision" in model or model.startswith("command-a-plus")


def reasons(model):
    return "reasoning" in model or model.startswith("command-a-plus")


# Messages -----------------------------------------------------------------------------------------------------------

def _model_is_named(body):
    if not body["model"]:
        raise Refusal("a model parameter is required for this endpoint.", param="model")


def _has_messages(body):
    if not body["messages"]:
        raise Refusal("invalid request: message must be at least 1 token long or tool results must be specified.",
                      param="messages")


def _system_comes_first(body):
    for place, message in enumerate(body["messages"]):
        if place and message["role"] == "system":
            raise Refusal("system turn must be the first in the list", param=f"messages[{place}]")


def _turns_say_something(body):
    """A user's, system's or assistant's turn has a text or an image; the assistant may call tools instead."""
    for place, message in enumerate(body["messages"]):
        content = message.get("content")
        if message["role"] == "tool" or message.get("tool_calls"):
            continue
        parts = [{"text": content}] if isinstance(content, str) else content or []
        if not any(part.get("text") or "image_url" in part for part in parts):
            raise Refusal("message must not be empty in a turn", param=f"messages[{place}].content")


def _calls_come_with_a_plan(body):
    """What the assistant says beside its calls is the tool_plan; such a turn has no content."""
    for place, message in enumerate(body["messages"]):
        if message.get("tool_calls") and message.get("content") is not None:
            raise Refusal("invalid request: cannot specify both content and tool_calls in an assistant turn; use "
                          "tool_plan.", param=f"messages[{place}].content")


def _calls_name_functions(body):
    for place, message in enumerate(body["messages"]):
        for index, call in enumerate(message.get("tool_calls") or []):
            if not (call.get("function") or {}).get("name"):
                raise Refusal("invalid request: tool calls must have a function with a name.",
                              param=f"messages[{place}].tool_calls[{index}].function")


def _calls_are_answered(body):
    """Every tool call has an id of its own and one result, before the next turn (observed with Command A)."""
    open_calls, seen = [], set()
    for place, message in enumerate([*body["messages"], {"role": "end"}]):
        if message["role"] == "tool":
            _take_result(message, open_calls, seen, f"messages[{place}].tool_call_id")
        elif open_calls:
            raise Refusal("invalid request: An assistant message with 'tool_calls' must be followed by tool messages "
                          "responding to each 'tool_call_id'. The following tool_call_ids did not have response "
                          "messages: " + ", ".join(open_calls), param=f"messages[{place}]")
        for call in message.get("tool_calls") or []:
            if call["id"] in seen:
                raise Refusal("cannot have duplicate tool ids", param=f"messages[{place}].tool_calls")
            open_calls.append(call["id"])
            seen.add(call["id"])


def _take_result(message, open_calls, seen, param):
    call_id = message["tool_call_id"]
    if call_id not in seen:
        raise Refusal("tool call id not found in previous tool calls", param=param)
    if call_id not in open_calls:
        raise Refusal("cannot have duplicate tool ids", param=param)
    open_calls.remove(call_id)


def _images_can_be_seen(body):
    for place, message in enumerate(body["messages"]):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else []):
            if part["type"] != "image_url":
                continue
            param = f"messages[{place}].content[{index}].image_url"
            if not sees_images(body["model"]):
                raise Refusal(f"invalid request: image content is not supported by the provided model: "
                              f"{body['model']}.", param=param)
            if not re.match(r"https?://|data:image/(png|jpeg|gif|webp);base64,", part["image_url"]["url"]):
                raise Refusal("invalid request: image url must be a web URL or a base64 data URI of an image.",
                              param=param)


# Tools and formats --------------------------------------------------------------------------------------------------

def _tools_are_named(body):
    for place, tool in enumerate(body.get("tools") or []):
        function = tool.get("function")
        if not function:
            raise Refusal("invalid request: tools must have a function.", param=f"tools[{place}].function")
        if not _TOOL_NAME.fullmatch(function["name"]):
            raise Refusal("invalid request: tool names can only contain certain characters (A-Za-z0-9_) and can't "
                          f"begin with a digit (provided name: '{function['name']}').",
                          param=f"tools[{place}].function.name")
        _check_schema(function["parameters"], f"tools[{place}].function.parameters")


def _tool_choice_can_be_kept(body):
    if body.get("tool_choice") is None:
        return
    if _BEFORE_TOOL_CHOICE.fullmatch(body["model"]):
        raise Refusal(f"invalid request: tool_choice is not supported by the provided model: {body['model']}.",
                      param="tool_choice")
    if body["tool_choice"] == "REQUIRED" and not body.get("tools"):
        raise Refusal("invalid request: tool_choice REQUIRED needs tools.", param="tool_choice")


def _format_stands_alone(body):
    if (body.get("response_format") or {}).get("type") != "json_object":
        return
    if body.get("documents"):
        raise Refusal("invalid request: response_format is not supported with RAG.", param="response_format")
    if body.get("tools"):
        raise Refusal("invalid request: response_format is not supported with tools.", param="response_format")
    schema = body["response_format"].get("json_schema")
    if schema is not None:
        if schema.get("type") != "object":
            raise Refusal("schema must be an object", param="response_format.json_schema")
        _check_schema(schema, "response_format.json_schema")


def _check_schema(schema, param):
    """A JSON schema of which properties have types and required names are properties, at every depth."""
    if not rules.is_json_schema(schema):
        raise Refusal("invalid request: schema must be a JSON schema.", param=param)
    _check_properties(schema, param)


def _check_properties(schema, param):
    if isinstance(schema, bool):
        return
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(required, list) or any(name not in list(properties) for name in required):
        raise Refusal("required field name not found in properties", param=param)
    for name, inner in properties.items():
        if isinstance(inner, bool) or not any(keyword in inner for keyword in _TYPE_KEYWORDS):
            raise Refusal(f"property {name} must have a type", param=param)
        _check_properties(inner, param)
    _check_properties(schema.get("items", True), param)


# Numbers ------------------------------------------------------------------------------------------------------------

def _within(name, least, greatest, words):
    """A rule: the number, where given, lies in its range; without a greatest value it has no upper end."""
    def check(body):
        value = body.get(name)
        if value is not None and (value < least or greatest is not None and value > greatest):
            raise Refusal(f"invalid request: {name} must be {words}.", param=name)
    return check


def _one_penalty(body):
    if body.get("frequency_penalty") is not None and body.get("presence_penalty") is not None:
        raise Refusal("invalid request: cannot specify both frequency_penalty and presence_penalty.",
                      param="presence_penalty")


def _stops_are_few(body):
    if len(body.get("stop_sequences") or []) > 5:
        raise Refusal("invalid request: stop_sequences must have at most 5 elements.", param="stop_sequences")


def _thinking_is_possible(body):
    thinking = body.get("thinking")
    if thinking is None:
        return
    if not reasons(body["model"]):
        raise Refusal(f"invalid request: thinking is not supported by the provided model: {body['model']}.",
                      param="thinking")
    budget = thinking.get("token_budget")
    if budget is not None and budget < 1:
        raise Refusal("invalid request: token_budget must be a positive integer.", param="thinking.token_budget")


_RULES = (
    _model_is_named, _has_messages, _system_comes_first, _calls_come_with_a_plan, _turns_say_something,
    _calls_name_functions, _calls_are_answered, _images_can_be_seen, _tools_are_named, _tool_choice_can_be_kept,
    _format_stands_alone, _one_penalty, _stops_are_few, _thinking_is_possible,
    _within("temperature", 0, 1, "between 0 and 1.0 inclusive"), _within("p", 0.01, 0.99, "between 0.01 and 0.99"),
    _within("k", 0, 500, "between 0 and 500"), _within("seed", 0, None, "at least 0"),
    _within("frequency_penalty", 0, 1, "between 0 and 1 inclusive"),
    _within("presence_penalty", 0, 1, "between 0 and 1 inclusive"), _within("max_tokens", 1, None, "at least 1"),
    _within("priority", 0, 999, "between 0 and 999"))
