"""What Anthropic's Messages API takes: the schema of its requests, from the official SDK, and the rules beyond types.

Rules are as in rules.py: functions of a body that has passed the schema. Many depend on the generation of the model,
which its name tells; a name that does not is taken for the newest, which takes least. The words of the refusals are
the API's own where they are known.
"""

import base64
import binascii
import os
import re
from typing import IO, Optional

from anthropic.types.message_create_params import MessageCreateParamsBase
from pydantic import BaseModel
from typing_extensions import NotRequired

import rules
from refusals import Refusal
from schemas import Schema, StrictTypes

MODELS = {"claude-haiku-4-5": (200000, 64000), "claude-sonnet-4-6": (1000000, 64000),
          "claude-sonnet-5": (1000000, 128000), "claude-opus-4-8": (1000000, 128000),
          "claude-opus-5": (1000000, 128000)}
"""The listed models: how many tokens they take and give at most. Others are served too, without these limits."""

SIGNATURE = "c2ltdWxhdGVk"
"""The signature of every block of thoughts. The API takes back no other."""

_NEWEST = (99, 0)
_ID = re.compile(r"[A-Za-z0-9_-]+")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SENT_AS_HEADERS = ("user_profile_id",)
_THINKING = ("thinking", "redacted_thinking")
_KEYWORDS_REFUSED = (
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern minItems maxItems "
    "uniqueItems minProperties maxProperties not oneOf").split()
_STRING_FORMATS = "date-time time date duration email hostname uri ipv4 ipv6 uuid".split()


def _schema():
    members = StrictTypes(python_only=(BaseModel, IO, os.PathLike)).members(MessageCreateParamsBase)
    members = {name: tp for name, tp in members.items() if name not in _SENT_AS_HEADERS}
    return Schema(StrictTypes.record("MessagesRequest", {**members, "stream": NotRequired[Optional[bool]]}))


_SCHEMA = _schema()


def checked(raw):
    """The request in `raw` bytes; raises Refusal."""
    try:
        body, _ignored = _SCHEMA.check(raw)
    except Refusal as refusal:
        raise _in_anthropics_words(refusal) from None
    for rule in _RULES:
        rule(body)
    return body


def _in_anthropics_words(refusal):
    if refusal.detail is None:
        return Refusal(f"The request body is not valid JSON: {refusal.message}")
    place, told = ".".join(map(str, refusal.detail[0]["loc"][1:])), refusal.detail[0]["msg"]
    return Refusal(f"{place}: {re.sub('read[(][)]', repr('type'), told)}", param=refusal.param)


# Models and turns ---------------------------------------------------------------------------------------------------

def _generation(model):
    """The version of a model, such as (4, 5) for claude-haiku-4-5-20251001 and claude-4-5-haiku."""
    found = re.search(r"-(\d{1,2})(?:-(\d{1,2}))?(?!\d)", model)
    return (int(found[1]), int(found[2] or 0)) if found else _NEWEST


def blocks_of(content):
    """Content as a list of blocks, whichever way it is written."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def turns(body):
    """The conversation as (role, blocks), messages of one role in a row merged as the API merges them."""
    merged = []
    for message in body["messages"]:
        blocks = blocks_of(message["content"])
        if merged and merged[-1][0] == message["role"]:
            merged[-1][1].extend(blocks)
        else:
            merged.append((message["role"], list(blocks)))
    return merged


def _blocks(body):
    """Every block of the messages with its place and its message's role, those inside tool results included."""
    for number, message in enumerate(body["messages"]):
        for index, block in enumerate(blocks_of(message["content"])):
            yield f"messages.{number}.content.{index}", message["role"], block
            if block["type"] == "tool_result":
                inner = block.get("content") or []
                for place, part in enumerate([] if isinstance(inner, str) else inner):
                    yield f"messages.{number}.content.{index}.content.{place}", message["role"], part


def _of_type(blocks, *types):
    return [block for block in blocks if block["type"] in types]


def thinks(body):
    """Whether thinking is asked for."""
    return body.get("thinking", {}).get("type") in ("enabled", "adaptive")


def shows_thoughts(body):
    """Whether thoughts come with their text; the newer models leave it out unless asked for it."""
    shown = body["thinking"].get("display") or ("summarized" if _generation(body["model"]) < (4, 7) else "omitted")
    return shown == "summarized"


# Messages -----------------------------------------------------------------------------------------------------------

def _begins_with_user(body):
    if not body["messages"]:
        raise Refusal("messages: at least one message is required")
    if body["messages"][0]["role"] != "user":
        raise Refusal("messages: first message must use the \"user\" role")


def _roles_are_known(body):
    if _generation(body["model"]) >= (4, 8):
        return
    for number, message in enumerate(body["messages"]):
        if message["role"] == "system":
            raise Refusal(f"messages.{number}: Unexpected role \"system\". The Messages API accepts a top-level "
                          "`system` parameter, not \"system\" as an input message role.")


def _messages_say_something(body):
    for number, message in enumerate(body["messages"]):
        if not message["content"]:
            raise Refusal(f"messages.{number}: all messages must have non-empty content except for the optional final "
                          "assistant message")
    texts = [(place, block) for place, _role, block in _blocks(body)]
    texts += [(f"system.{index}", block) for index, block in enumerate(blocks_of(body.get("system") or []))]
    for place, block in texts:
        if block["type"] == "text" and not block["text"].strip():
            raise Refusal(f"{place}: text content blocks must contain non-whitespace text" if block["text"] else
                          f"{place}: text content blocks must be non-empty")


def _prefill_is_taken(body):
    """The beginning of an answer, as a last message by the assistant, is for older models and does not end in space."""
    role, blocks = turns(body)[-1]
    if role != "assistant":
        return
    if _generation(body["model"]) >= (4, 6):
        raise Refusal("This model does not support assistant message prefill. The conversation must end with a user "
                      "message.")
    if blocks[-1]["type"] == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
        raise Refusal("messages: final assistant content cannot end with trailing whitespace")


def _images_are_data(body):
    for place, _role, block in _blocks(body):
        source = block.get("source")
        if isinstance(source, dict) and source["type"] == "base64" and not _is_base64(source["data"]):
            raise Refusal(f"{place}.{block['type']}.source.base64.data: invalid base64 data")
        if isinstance(source, dict) and source["type"] == "url" and not re.match("https?://", source["url"]):
            raise Refusal(f"{place}.{block['type']}.source.url.url: Only HTTPS URLs are supported.")


def _is_base64(data):
    try:
        return bool(base64.b64decode(data, validate=True))
    except binascii.Error:
        return False


# Tools --------------------------------------------------------------------------------------------------------------

def _tools_are_sound(body):
    names = [tool["name"] for tool in body.get("tools") or []]
    for place, tool in enumerate(body.get("tools") or []):
        if not _TOOL_NAME.fullmatch(tool["name"]):
            raise Refusal(f"tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool.get("input_schema", {"type": "object"}).get("type") != "object":
            raise Refusal(f"tools.{place}.custom.input_schema.type: Input should be 'object'")
        if not rules.is_json_schema(tool.get("input_schema", {})):
            raise Refusal(f"tools.{place}.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft "
                          "2020-12.")
    if len(set(names)) < len(names):
        raise Refusal("tools: Tool names must be unique.")


def _choice_fits_tools(body):
    choice, names = body.get("tool_choice"), [tool["name"] for tool in body.get("tools") or []]
    if choice is None:
        return
    if not names:
        raise Refusal("tool_choice may only be specified while providing tools")
    if choice["type"] == "tool" and choice["name"] not in names:
        raise Refusal(f"tool_choice.tool.name: Tool '{choice['name']}' not found in provided tools")
    if choice["type"] in ("any", "tool") and thinks(body):
        raise Refusal("Thinking may not be enabled when tool_choice forces tool use.")


def _tool_blocks_have_their_places(body):
    seen = set()
    for place, role, block in _blocks(body):
        kind, speaker = block["type"], {"tool_use": "assistant", "tool_result": "user"}.get(block["type"], role)
        if role != speaker:
            raise Refusal(f"{place}: `{kind}` blocks can only be in `{speaker}` messages")
        for name in ("id", "tool_use_id"):
            if kind in ("tool_use", "tool_result") and not _ID.fullmatch(block.get(name, "ok")):
                raise Refusal(f"{place}.{kind}.{name}: String should match pattern '^[a-zA-Z0-9_-]+$'")
        if kind == "tool_use" and block["id"] in seen:
            raise Refusal(f"{place}: `tool_use` ids must be unique")
        if kind == "tool_use":
            seen.add(block["id"])
        if kind in ("tool_use", "tool_result") and not body.get("tools"):
            raise Refusal("Requests which include `tool_use` or `tool_result` blocks must define tools")


def _calls_are_answered(body):
    """The results of a turn's calls are the first blocks of the next turn: all of them, each once, and no others."""
    conversation, calls = turns(body), []
    for number, (_role, blocks) in enumerate([*conversation, ("end", [])]):
        results = [block["tool_use_id"] for block in _of_type(blocks, "tool_result")]
        for result in results:
            if result not in calls:
                raise Refusal(f"messages.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {result}. "
                              "Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                              "message.")
            if results.count(result) > 1:
                raise Refusal("messages: each tool_use must have a single result. Found multiple `tool_result` blocks "
                              f"with id: {result}")
        first = [block.get("tool_use_id") for block in blocks[:len(calls)]]
        missing = [call for call in calls if call not in first]
        if missing:
            raise Refusal(f"messages.{number - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
                          f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` "
                          "block in the next message.")
        calls = [block["id"] for block in _of_type(blocks, "tool_use")]


# Sampling, thinking and output --------------------------------------------------------------------------------------

def _limits_are_kept(body):
    limit = MODELS.get(body["model"], (None, None))[1]
    if body["max_tokens"] < 1:
        raise Refusal("max_tokens: Input should be greater than or equal to 1")
    if limit and body["max_tokens"] > limit:
        raise Refusal(f"max_tokens: {body['max_tokens']} > {limit}, which is the maximum allowed number of output "
                      f"tokens for {body['model']}")
    for name in ("temperature", "top_p"):
        if not 0 <= body.get(name, 0) <= 1:
            raise Refusal(f"{name}: range: 0..1")
    if body.get("top_k", 0) < 0:
        raise Refusal("top_k: Input should be greater than or equal to 0")


def _sampling_is_taken(body):
    generation, given = _generation(body["model"]), [name for name in ("temperature", "top_p", "top_k") if name in body]
    if given and generation >= (4, 7):
        raise Refusal(f"`{given[0]}` is deprecated for this model.")
    if generation >= (4, 1) and "temperature" in body and "top_p" in body:
        raise Refusal("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if not thinks(body):
        return
    if body.get("temperature", 1) != 1:
        raise Refusal("`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("top_p", 1) < 0.95:
        raise Refusal("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
    if "top_k" in body:
        raise Refusal("`top_k` must be unset when thinking is enabled.")


def _thinking_is_taken(body):
    generation, thinking = _generation(body["model"]), body.get("thinking", {"type": "disabled"})
    if thinking["type"] == "adaptive" and generation < (4, 6):
        raise Refusal("adaptive thinking is not supported on this model")
    if thinking["type"] != "enabled":
        return
    if generation >= (4, 7):
        raise Refusal('"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
                      '"output_config.effort" to control thinking behavior.')
    if generation < (3, 7):
        raise Refusal("thinking: this model does not support thinking")
    if thinking["budget_tokens"] < 1024:
        raise Refusal("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if thinking["budget_tokens"] >= body["max_tokens"]:
        raise Refusal("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _thoughts_are_sent_back(body):
    """Thoughts come back as they were; with a budget, those of the turn whose tool results are being given must."""
    for place, _role, block in _blocks(body):
        if block["type"] == "thinking" and block["signature"] != SIGNATURE:
            raise Refusal(f"{place}: Invalid `signature` in `thinking` block")
    if body.get("thinking", {}).get("type") != "enabled":
        return
    conversation = turns(body)
    answered = len(conversation) > 1 and _of_type(conversation[-1][1], "tool_result")
    if answered and conversation[-2][1][0]["type"] not in _THINKING:
        raise Refusal("Expected `thinking` or `redacted_thinking`, but found "
                      f"`{conversation[-2][1][0]['type']}`. When `thinking` is enabled, a final `assistant` message "
                      "must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` "
                      "blocks).")


def _effort_is_taken(body):
    """Which levels of effort a model knows; Opus 5 wants no more than high of them when it is not to think."""
    model, effort = body["model"], (body.get("output_config") or {}).get("effort")
    generation = _generation(model)
    if effort is None:
        return
    if generation < (4, 6) and not (generation == (4, 5) and "opus" in model):
        raise Refusal("This model does not support the effort parameter.")
    known = ["low", "medium", "high"] + ["max"] * (generation >= (4, 6)) + ["xhigh"] * (generation >= (4, 7))
    if effort not in known:
        raise Refusal(f"This model does not support effort level '{effort}'. Supported levels: {', '.join(known)}.")
    if "opus" in model and generation >= (5, 0) and effort in ("xhigh", "max") \
            and body.get("thinking", {}).get("type") == "disabled":
        raise Refusal(f"output_config.effort: '{effort}' requires thinking on this model")


def _stops_are_visible(body):
    for stop in body.get("stop_sequences") or []:
        if not stop.strip():
            raise Refusal("stop_sequences: each stop sequence must contain non-whitespace")


def _format_is_taken(body):
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is None:
        return
    if _generation(body["model"]) < (4, 1):
        raise Refusal("output_config.format: this model does not support structured outputs")
    if not rules.is_json_schema(wanted["schema"]):
        raise Refusal("output_config.format.schema: JSON schema is invalid")
    _check_schema(wanted["schema"], "output_config.format.schema")


def _check_schema(schema, place):
    """Objects are closed, and constraints that the decoder cannot keep are refused, at every depth."""
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type") if isinstance(schema.get("type"), list) else [schema.get("type")]
    refused = [keyword for keyword in _KEYWORDS_REFUSED if keyword in schema]
    if refused:
        raise Refusal(f"{place}: For '{kinds[0]}' type, property '{refused[0]}' is not supported")
    if "string" in kinds and schema.get("format", "uuid") not in _STRING_FORMATS:
        raise Refusal(f"{place}: For 'string' type, format '{schema['format']}' is not supported")
    if ("object" in kinds or "properties" in schema) and schema.get("additionalProperties") is not False:
        raise Refusal(f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for keyword in ("properties", "$defs", "definitions"):
        for name, inner in (schema.get(keyword) or {}).items():
            _check_schema(inner, f"{place}.{keyword}.{name}")
    for keyword in ("anyOf", "allOf"):
        for index, inner in enumerate(schema.get(keyword) or []):
            _check_schema(inner, f"{place}.{keyword}.{index}")
    _check_schema(schema.get("items"), f"{place}.items")



_RULES = (
    _begins_with_user, _roles_are_known, _messages_say_something, _images_are_data, _tools_are_sound,
    _choice_fits_tools, _tool_blocks_have_their_places, _calls_are_answered, _prefill_is_taken, _limits_are_kept,
    _sampling_is_taken, _thinking_is_taken, _thoughts_are_sent_back, _effort_is_taken, _stops_are_visible,
    _format_is_taken)
