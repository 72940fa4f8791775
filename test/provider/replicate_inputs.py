"""What Replicate takes: the body of a prediction, from the official SDK, and the input schema of each family of models.

Every model on Replicate publishes a schema of its own inputs; these follow the pages of Llama 3.1, GPT-4.1, GPT-5,
Claude 4, Claude Haiku 4.5 and Gemini 2.5. A request is checked against both in one go, and all that is wrong is listed
in the words of the validator that Replicate uses. The real API drops inputs that the model does not know, in silence;
here they are refused.
"""

import json
from typing import List

from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter
from replicate.types.prediction_create_params import PredictionCreateParams, PredictionCreateParamsWithoutVersion

import rules
from refusals import Refusal
from schemas import Schema, StrictTypes

_PYTHON_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
_TYPES = StrictTypes()
_CONVERSATION = Schema(_TYPES.record("Conversation", {"messages": _TYPES.strict(List[ChatCompletionMessageParam])}))


# The families -------------------------------------------------------------------------------------------------------

def _string(**more):
    return {"type": "string", **more}


def _integer(**more):
    return {"type": "integer", **more}


def _number(**more):
    return {"type": "number", **more}


def _array(kind):
    return {"type": "array", "items": {"type": kind}, "default": []}


def _inputs(required, **properties):
    """The Input schema of a family, as Cog writes it."""
    ordered = {name: {"title": name.replace("_", " ").capitalize(), "x-order": place, **schema}
               for place, (name, schema) in enumerate(properties.items())}
    return {"title": "Input", "type": "object", "required": required, "properties": ordered}


_OPENAI_PROMPT = {"prompt": _string(), "system_prompt": _string(), "messages": _array("object"),
                  "image_input": _array("string"), "max_completion_tokens": _integer(default=4096, minimum=1)}
_CLAUDE_PROMPT = {"prompt": _string(), "system_prompt": _string(default="")}

_LLAMA = _inputs(
    ["prompt"], prompt=_string(), system_prompt=_string(default="You are a helpful assistant."),
    max_tokens=_integer(default=512, minimum=1), min_tokens=_integer(default=0, minimum=0),
    temperature=_number(default=0.6, minimum=0, maximum=5), top_p=_number(default=0.9, minimum=0, maximum=1),
    top_k=_integer(default=50), presence_penalty=_number(default=0), frequency_penalty=_number(default=0),
    length_penalty=_number(default=1), stop_sequences=_string(default=""), seed=_integer(),
    prompt_template=_string(default="{prompt}"))
_OPENAI = _inputs(
    [], **_OPENAI_PROMPT, temperature=_number(default=1, minimum=0, maximum=2),
    top_p=_number(default=1, minimum=0, maximum=1), frequency_penalty=_number(default=0, minimum=-2, maximum=2),
    presence_penalty=_number(default=0, minimum=-2, maximum=2))
_OPENAI_REASONING = _inputs(
    [], **_OPENAI_PROMPT, reasoning_effort=_string(enum=["low", "medium", "high"], default="medium"))
_GPT_5 = _inputs(
    [], **_OPENAI_PROMPT,
    reasoning_effort=_string(enum=["none", "minimal", "low", "medium", "high"], default="minimal"),
    verbosity=_string(enum=["low", "medium", "high"], default="medium"))
_CLAUDE = _inputs(
    ["prompt"], **_CLAUDE_PROMPT, max_tokens=_integer(default=8192, minimum=1024, maximum=64000), image=_string(),
    max_image_resolution=_number(default=0.5, minimum=0.001, maximum=2),
    extended_thinking={"type": "boolean", "default": False},
    thinking_budget_tokens=_integer(default=1024, minimum=1024, maximum=64000))
_CLAUDE_HAIKU = _inputs(["prompt"], **_CLAUDE_PROMPT, max_tokens=_integer(default=8192, minimum=1, maximum=8192))
_GEMINI = _inputs(
    ["prompt"], prompt=_string(), system_instruction=_string(), images=_array("string"), videos=_array("string"),
    temperature=_number(default=1, minimum=0, maximum=2), top_p=_number(default=0.95, minimum=0, maximum=1),
    max_output_tokens=_integer(default=65535, minimum=1, maximum=65535),
    thinking_budget=_integer(minimum=0, maximum=24576), dynamic_thinking={"type": "boolean", "default": False})


def schema_of(model):
    """The Input schema of a model, `owner/name`; models of other owners take what Llama takes."""
    owner, _, name = model.partition("/")
    if owner == "openai":
        if not rules.is_reasoning_model(name):
            return _OPENAI
        return _GPT_5 if name.startswith("gpt-") else _OPENAI_REASONING
    if owner == "anthropic":
        return _CLAUDE_HAIKU if "haiku" in name else _CLAUDE
    return _GEMINI if owner == "google" else _LLAMA


# Checking -----------------------------------------------------------------------------------------------------------

def _body_schemas():
    """The JSON schemas of a body without and with a version: the SDK's types without what it sends as headers."""
    members = _TYPES.members(PredictionCreateParamsWithoutVersion)
    without = {name: member for name, member in members.items() if name not in ("cancel_after", "prefer")}
    version = _TYPES.members(PredictionCreateParams)["version"]
    return [TypeAdapter(_TYPES.record("Prediction", body)).json_schema()
            for body in (without, {**without, "version": version})]


_BODY, _BODY_WITH_VERSION = _body_schemas()


def problems(body, model, with_version):
    """All that is wrong with the body of a prediction for a model: a list of {"type", "field", "description"}."""
    schema = _BODY_WITH_VERSION if with_version else _BODY
    inputs = {**schema_of(model), "additionalProperties": False}
    found = list(_check(body, {**schema, "properties": {**schema["properties"], "input": inputs}}, ""))
    return found or [*_conversation_problems(body["input"], inputs), *_webhook_problems(body)]


def _check(value, schema, field):
    kind = schema.get("type")
    if kind and not _is(value, kind):
        yield _problem("invalid_type", field, f"Invalid type. Expected: {kind}, given: {_kind(value)}")
        return
    if "enum" in schema and value not in schema["enum"]:
        choices = ", ".join(json.dumps(choice) for choice in schema["enum"])
        yield _problem("enum", field, f"{_name(field)} must be one of the following: {choices}")
    if "minimum" in schema and value < schema["minimum"]:
        yield _problem("number_gte", field, f"Must be greater than or equal to {schema['minimum']}")
    if "maximum" in schema and value > schema["maximum"]:
        yield _problem("number_lte", field, f"Must be less than or equal to {schema['maximum']}")
    for place, item in enumerate(value if kind == "array" else []):
        yield from _check(item, schema["items"], f"{field}.{place}")
    if kind == "object" and "properties" in schema:
        yield from _check_members(value, schema, field)


def _check_members(value, schema, field):
    for name in schema.get("required", []):
        if name not in value:
            yield _problem("required", field, f"{name} is required")
    for name, member in value.items():
        if name in schema["properties"]:
            yield from _check(member, schema["properties"][name], f"{field}.{name}".removeprefix("."))
        else:
            yield _problem("additional_property_not_allowed", field, f"Additional property {name} is not allowed")


def _conversation_problems(given, schema):
    """Where a model takes messages, they replace the prompt and are OpenAI's."""
    if "messages" not in schema["properties"]:
        return
    if not given.get("messages"):
        if "prompt" not in given:
            yield _problem("required", "input", "prompt is required")
        return
    try:
        _CONVERSATION.check(json.dumps({"messages": given["messages"]}))
    except Refusal as refusal:
        yield _problem("invalid_message", f"input.{refusal.param}", refusal.message)


def _webhook_problems(body):
    if not body.get("webhook", "https://").startswith("https://"):
        yield _problem("format", "webhook", "webhook must be an HTTPS URL")


def _problem(kind, field, description):
    return {"type": kind, "field": field, "description": description}


def _name(field):
    return field.rpartition(".")[2]


def _is(value, kind):
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _PYTHON_TYPES[kind])


def _kind(value):
    return "null" if value is None else next(kind for kind in _PYTHON_TYPES if _is(value, kind))
