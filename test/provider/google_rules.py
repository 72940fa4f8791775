"""What Google's Gemini API takes: the schema of generateContent, from the official SDK, and the rules beyond types.

The SDK's types serve two services and forbid unknown members; what only the other service has, their descriptions
say. They let unknown enumerators pass, so that names are checked here before them. As all of Google's APIs do, this one
takes members in snake_case too, which the SDK makes use of, and null for a member that is not there. Rules are
functions of a body that has passed, and of the model, whose generation its name tells; a name that does not is taken
for the newest. The words of the refusals are the API's own where they are known.
"""

import enum
import json
import re
from typing import Optional, Union, get_args, get_origin

from google.genai import types
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

import rules
from refusals import Refusal

MODELS = {"gemini-2.5-flash-lite": (1048576, 65535), "gemini-2.5-flash": (1048576, 65535),
          "gemini-2.5-pro": (1048576, 65535), "gemini-3.5-flash-lite": (1048576, 65536),
          "gemini-3.6-flash": (1048576, 65536), "gemini-3.1-pro-preview": (1048576, 65536)}
"""The listed models: how many tokens they take and give at most. Others are served too."""

SIGNATURE = "c2ltdWxhdGVk"
"""The signature of every thought. The API takes back no other, but for the stand-in that it documents."""

_STAND_IN = "skip_thought_signature_validator"
_NEWEST = (99, 0)
_ONLY_ELSEWHERE = "not supported in Gemini API"
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_FETCHED = re.compile(r"gs://|https://generativelanguage\.googleapis\.com/|https://(www\.)?youtu(be\.com|\.be)/")
_CONTENT = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode",
            "codeExecutionResult", "toolCall", "toolResponse")
_IMAGES = ("png", "jpeg", "webp", "heic", "heif", "gif")
_HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY")


class _Request(BaseModel):
    """A request as the API's reference has it; the SDK has the types of its members only."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)
    contents: list[types.Content] = []
    system_instruction: Optional[types.Content] = None
    tools: list[types.Tool] = []
    tool_config: Optional[types.ToolConfig] = None
    generation_config: Optional[types.GenerationConfig] = None
    safety_settings: list[types.SafetySetting] = []
    cached_content: Optional[str] = None


def checked(raw, model):
    """The request in `raw` bytes for a model, its members in camelCase and none of them null; raises Refusal."""
    try:
        body = _known(_Request, json.loads(raw), "")
    except (ValueError, RecursionError) as error:
        raise Refusal(f"Invalid JSON payload received. {error}") from None
    try:
        _Request.model_validate_json(json.dumps(body), strict=True)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        place = _path(error["loc"])
        raise _at(place, f"Invalid value at '{place}': {error['msg']}") from None
    for rule in _RULES:
        rule(body, model)
    return body


def _known(tp, value, place):
    """The value as `checked` returns it; refuses members and enumerators that the API does not have, at every depth."""
    origin, args = get_origin(tp), get_args(tp)
    if origin is list and isinstance(value, list):
        return [_known(args[0], each, f"{place}[{index}]") for index, each in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _known(args[1], each, f"{place}.{key}") for key, each in value.items()}
    if origin is Union:  # one that is only optional
        return _known(args[0], value, place)
    if isinstance(tp, type) and issubclass(tp, BaseModel) and isinstance(value, dict):
        return _known_members(tp, value, place)
    if isinstance(tp, type) and issubclass(tp, enum.Enum) \
            and not (isinstance(value, str) and value.upper() in tp.__members__):
        raise _at(place, f"Invalid value at '{place}' ({tp.__name__}), {json.dumps(value)}")
    return value


def _known_members(tp, value, place):
    members = {}
    for given, each in value.items():
        name = given if "_" not in given else to_camel(given)
        field = next((field for field in tp.model_fields.values() if field.alias == name), None)
        if field is None or _ONLY_ELSEWHERE in (field.description or ""):
            raise _unknown(place, given)
        if each is not None:
            members[name] = _known(field.annotation, each, f"{place}.{name}".lstrip("."))
    return members


def _path(location):
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")


def _at(place, message):
    """A refusal that names the offending member in its details, too."""
    violation = {"field": place, "description": message}
    return Refusal(message, param=place, detail=[
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}])


def _unknown(place, name):
    return _at(place, f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field.")


def _invalid(place, told):
    return Refusal(f"* GenerateContentRequest.{place}: {told}", param=place)


# What a model and a request are -------------------------------------------------------------------------------------

def generation(model):
    """The version of a model, such as (2, 5); (0, 0) for those that are no Gemini."""
    found = re.match(r"gemini-(\d+)(?:\.(\d+))?", model)
    if found:
        return int(found[1]), int(found[2] or 0)
    return (0, 0) if model.startswith("gemma") else _NEWEST


def functions(body):
    """All functions that are declared."""
    return [each for tool in body.get("tools") or [] for each in tool.get("functionDeclarations") or []]


def config(body):
    return body.get("generationConfig") or {}


def _parts(body):
    """Every part of the contents with its place and its role."""
    for number, content in enumerate(body["contents"]):
        for index, part in enumerate(content["parts"]):
            yield f"contents[{number}].parts[{index}]", content.get("role", "user"), part


def _of_kind(content, kind):
    return [part[kind] for part in content["parts"] if kind in part]


# Contents -----------------------------------------------------------------------------------------------------------

def _contents_are_given(body, _model):
    if not body.get("contents"):
        raise _invalid("contents", "contents is not specified")
    for number, content in enumerate(body["contents"]):
        if content.get("role", "user") not in ("user", "model"):
            raise Refusal("Please use a valid role: user, model.", param=f"contents[{number}].role")
        if not content.get("parts"):
            raise _invalid(f"contents[{number}].parts", "contents.parts must not be empty.")


def _parts_hold_one_thing(body, _model):
    """An empty text is nothing, unless it brings a signature."""
    for place, _role, part in _parts(body):
        held = [kind for kind in _CONTENT if kind in part]
        if held in ([], ["text"]) and not (part.get("text") or part.get("thoughtSignature")):
            raise _invalid(f"{place}.data", "required oneof field 'data' must have one initialized field")
        if len(held) > 1:
            raise _at(place, f"Invalid value at '{place}' (oneof), oneof field 'data' is already set. Cannot set "
                             f"'{held[1]}'")


def _instruction_is_text(body, model):
    instruction = body.get("systemInstruction")
    if instruction is None:
        return
    if model.startswith("gemma"):
        raise Refusal(f"Developer instruction is not enabled for models/{model}")
    if not instruction.get("parts") or not all(part.get("text") for part in instruction["parts"]):
        raise _invalid("system_instruction.parts", "contents.parts must not be empty.")


def _media_are_known(body, _model):
    for place, _role, part in _parts(body):
        inline, file = part.get("inlineData"), part.get("fileData")
        if inline is not None and not (inline.get("data") and inline.get("mimeType")):
            raise _invalid(f"{place}.inline_data", "data and mime_type must be set")
        kind, _, form = (inline or {}).get("mimeType", "").partition("/")
        if kind == "image" and form not in _IMAGES:
            raise Refusal(f"Unsupported MIME type: {inline['mimeType']}", param=place)
        if file is not None and not _FETCHED.match(file.get("fileUri", "")):
            raise Refusal("Invalid or unsupported file uri: " + file.get("fileUri", ""), param=place)


# Functions ----------------------------------------------------------------------------------------------------------

def _calls_are_answered(body, _model):
    """A turn of calls follows one by the user; the next one has as many responses, and no other has any."""
    calls, before = 0, None
    for content in [*body["contents"], {"role": "user", "parts": []}]:
        role = content.get("role", "user")
        called, answered = len(_of_kind(content, "functionCall")), len(_of_kind(content, "functionResponse"))
        if (called and role != "model") or (answered and role != "user"):
            raise Refusal("Please ensure that function calls are in turns of the model and function responses in turns "
                          "of the user.")
        if answered and not calls:
            raise Refusal("Please ensure that function response turn comes immediately after a function call turn.")
        if answered != calls:
            raise Refusal("Please ensure that the number of function response parts is equal to the number of function "
                          "call parts of the function call turn.")
        if called and before != "user":
            raise Refusal("Please ensure that function call turn comes immediately after a user turn or after a "
                          "function response turn.")
        calls, before = called, role


def _calls_and_responses_are_named(body, _model):
    for place, _role, part in _parts(body):
        for kind in ("functionCall", "functionResponse"):
            if kind in part and not part[kind].get("name"):
                raise _invalid(f"{place}.{kind}.name", "Name cannot be empty.")
        if "functionResponse" in part and "response" not in part["functionResponse"]:
            raise _invalid(f"{place}.functionResponse.response", "response must be set")


def _thoughts_are_signed(body, model):
    """Gemini 3 wants the signature back on the first call of each turn, and no model takes a strange one."""
    for place, _role, part in _parts(body):
        if part.get("thoughtSignature", SIGNATURE) not in (SIGNATURE, _STAND_IN):
            raise Refusal("Corrupted thought signature.", param=place)
    for number, content in enumerate(body["contents"]):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if generation(model) >= (3, 0) and calls and "thoughtSignature" not in calls[0]:
            raise Refusal("Function call is missing a thought_signature in functionCall parts. This is required for "
                          "tools to work correctly, and missing thought_signature may lead to degraded model "
                          f"performance. Additional data, function call `default_api:{calls[0]['functionCall']['name']}"
                          f"` , position {number + 1}.", param=f"contents[{number}]")


def _functions_are_sound(body, _model):
    for number, tool in enumerate(body.get("tools") or []):
        for index, function in enumerate(tool.get("functionDeclarations") or []):
            place = f"tools[{number}].function_declarations[{index}]"
            if not _FUNCTION_NAME.fullmatch(function.get("name", "")):
                raise _invalid(f"{place}.name", "Invalid function name. Must start with a letter or an underscore. "
                                                "Must be a-z, A-Z, 0-9, or contain underscores (_), dots (.), colons "
                                                "(:), or dashes (-), with a maximum length of 128.")
            if "parameters" in function and "parametersJsonSchema" in function:
                raise _invalid(place, "parameters and parameters_json_schema cannot both be set")
            schema = function.get("parametersJsonSchema", {"type": "object"})
            if not rules.is_json_schema(schema) or schema is True or schema.get("type") != "object":
                raise _invalid(f"{place}.parameters_json_schema", "schema must describe an object")
            if "parameters" in function:
                _check_schema(function["parameters"], f"{place}.parameters")
    names = [function["name"] for function in functions(body)]
    if len(set(names)) < len(names):
        raise Refusal(f"Duplicate function declaration found: {max(names, key=names.count)}")


def _calling_fits_functions(body, _model):
    wanted = (body.get("toolConfig") or {}).get("functionCallingConfig")
    names = [function["name"] for function in functions(body)]
    if wanted is None:
        return
    if not names:
        raise Refusal("Function calling config is set without function_declarations.")
    allowed = wanted.get("allowedFunctionNames") or []
    if allowed and wanted.get("mode", "AUTO").upper() not in ("ANY", "VALIDATED"):
        raise _invalid("tool_config.function_calling_config.allowed_function_names",
                       "should only be set when the function calling mode is ANY or VALIDATED.")
    for name in allowed:
        if name not in names:
            raise _invalid("tool_config.function_calling_config.allowed_function_names",
                           f"{name} is not in the function_declarations.")


def _check_schema(schema, place):
    """A schema of the OpenAPI kind, of which the API takes a part only."""
    kind = schema.get("type", "").upper()
    if not kind and "anyOf" not in schema:
        raise _invalid(f"{place}.type", "must be specified when not using one_of, any_of or all_of fields")
    if "additionalProperties" in schema:
        raise _unknown(place, "additionalProperties")
    if kind == "OBJECT" and not schema.get("properties"):
        raise _invalid(f"{place}.properties", "should be non-empty for OBJECT type")
    if kind != "OBJECT" and "properties" in schema:
        raise _invalid(f"{place}.properties", "only allowed for OBJECT type")
    if kind == "ARRAY" and "items" not in schema:
        raise _invalid(f"{place}.items", "missing field.")
    if kind != "STRING" and "enum" in schema:
        raise _invalid(f"{place}.enum", "only allowed for STRING type")
    if kind == "STRING" and schema.get("format", "enum") not in ("enum", "date-time"):
        raise _invalid(f"{place}.format", "only 'enum' and 'date-time' are supported for STRING type")
    for index, name in enumerate(schema.get("required") or []):
        if name not in schema.get("properties", {}):
            raise _invalid(f"{place}.required[{index}]", "property is not defined")
    for name, inner in schema.get("properties", {}).items():
        _check_schema(inner, f"{place}.properties[{name}]")
    for index, inner in enumerate(schema.get("anyOf", [])):
        _check_schema(inner, f"{place}.any_of[{index}]")
    if "items" in schema:
        _check_schema(schema["items"], f"{place}.items")


# Configuration ------------------------------------------------------------------------------------------------------

def _numbers_are_in_range(body, _model):
    ranges = {"temperature": (0, 2), "topP": (0, 1), "topK": (1, None), "maxOutputTokens": (1, None),
              "candidateCount": (1, 8), "presencePenalty": (-2, 2), "frequencyPenalty": (-2, 2), "logprobs": (0, 20),
              "seed": (-2 ** 31, 2 ** 31 - 1)}
    for name, (least, greatest) in ranges.items():
        value = config(body).get(name)
        if value is not None and (value < least or (greatest is not None and value > greatest)):
            raise _invalid(f"generation_config.{name}", f"{name} must be in the range [{least}, {greatest or '…'}].")


def _output_is_taken(body, model):
    asked = config(body)
    if len(asked.get("stopSequences") or []) > 5:
        raise _invalid("generation_config.stop_sequences", "at most 5 stop sequences are allowed.")
    if "" in (asked.get("stopSequences") or []):
        raise _invalid("generation_config.stop_sequences", "stop sequences must not be empty.")
    if "logprobs" in asked and not asked.get("responseLogprobs"):
        raise _invalid("generation_config.logprobs", "only allowed when response_logprobs is true.")
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if name in asked]
    json_wanted = asked.get("responseMimeType") == "application/json"
    if len(schemas) > 1:
        raise _invalid("generation_config", "response_schema and response_json_schema cannot both be set")
    if schemas and not json_wanted:
        raise _invalid(f"generation_config.{schemas[0]}", "only allowed with response_mime_type application/json")
    if asked.get("responseMimeType", "text/plain") not in ("text/plain", "application/json", "text/x.enum"):
        raise _invalid("generation_config.response_mime_type", "allowed mimetypes are `text/plain`, "
                                                               "`application/json` and `text/x.enum`.")
    if not rules.is_json_schema(asked.get("responseJsonSchema", {})):
        raise _invalid("generation_config.response_json_schema", "is no JSON schema")
    if "responseSchema" in asked:
        _check_schema(asked["responseSchema"], "generation_config.response_schema")
    if json_wanted and functions(body) and generation(model) < (3, 0):
        raise Refusal("Function calling with a response mime type: 'application/json' is unsupported")


def _thinking_is_taken(body, model):
    """Gemini 2.5 has a budget of thoughts, Gemini 3 a level, older ones and Gemma neither."""
    thinking, version = config(body).get("thinkingConfig"), generation(model)
    if thinking is None:
        return
    if version < (2, 5):
        raise Refusal("Thinking is not enabled for this model.")
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        raise Refusal("You can only set only one of thinking budget and thinking level.")
    if "thinkingLevel" in thinking:
        _check_level(thinking["thinkingLevel"].upper(), model, version)
    if "thinkingBudget" in thinking:
        _check_budget(thinking["thinkingBudget"], model, version)


def _check_level(level, model, version):
    if version < (3, 0):
        raise Refusal("Thinking level is not supported for this model.")
    known = {"LOW", "HIGH", "MEDIUM", "MINIMAL"}
    if "pro" in model or version >= (3, 7):
        known.discard("MINIMAL")
    if "pro" in model and version == (3, 0):
        known.discard("MEDIUM")
    if level not in known:
        raise Refusal(f"Thinking level {level} is not supported for this model. Please retry with other thinking "
                      "level.")


def _check_budget(budget, model, version):
    if version >= (3, 0):
        raise Refusal("Thinking budget is not supported for this model. Use thinking level instead.")
    least, greatest = (128, 32768) if "pro" in model else (512 if "lite" in model else 0, 24576)
    if budget == 0 and "pro" in model:
        raise Refusal("Budget 0 is invalid. This model only works in thinking mode.")
    if budget not in (0, -1) and not least <= budget <= greatest:
        raise Refusal(f"The thinking budget {budget} is invalid. Please choose a value between {least} and "
                      f"{greatest}.")


def _safety_is_set_once(body, _model):
    seen = set()
    for index, setting in enumerate(body.get("safetySettings") or []):
        category = setting.get("category", "").upper()
        if category.removeprefix("HARM_CATEGORY_") not in _HARMS or "threshold" not in setting:
            raise _invalid(f"safety_settings[{index}]", "element predicate failed: $.category in (" + ", ".join(
                f"HarmCategory.HARM_CATEGORY_{harm}" for harm in _HARMS) + ") with a threshold")
        if category in seen:
            raise _invalid("safety_settings", f"more than one setting for {category}")
        seen.add(category)


_RULES = (
    _contents_are_given, _parts_hold_one_thing, _instruction_is_text, _media_are_known, _calls_and_responses_are_named,
    _calls_are_answered, _thoughts_are_signed, _functions_are_sound, _calling_fits_functions, _numbers_are_in_range,
    _output_is_taken, _thinking_is_taken, _safety_is_set_once)
