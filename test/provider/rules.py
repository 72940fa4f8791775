"""What a request must keep to beyond the types of its members.

Each rule is a function of the request body that raises a Refusal or returns nothing; a dialect is, among other
things, a list of rules. Bodies have passed their schema, so members have the right types. Rules that depend on the
model follow OpenAI's API reference; those marked "observed" are known from its answers only.
"""

import re

from refusals import Refusal, invalid_value, unsupported_parameter, unsupported_value

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MISTRAL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_GPT_3_AND_4 = re.compile(r"gpt-(3\.5|4)(-|$)")
_GPT_4_ITSELF = re.compile(r"gpt-4(-\d{4})?")


def is_reasoning_model(model):
    """o-series, gpt-5 and newer; a chat variant of a gpt without a minor version does not reason."""
    if re.match(r"o[0-9]+(-|$)", model):
        return True
    found = re.fullmatch(r"gpt-(\d+)(?:\.(\d+))?(?:-(.+))?", model)
    if not found or int(found[1]) < 5:
        return False
    return found[2] is not None or not (found[3] or "").startswith("chat")


def _may_stop_reasoning(model):
    """gpt-5.1 and newer take sampling parameters when reasoning_effort is none."""
    found = re.match(r"gpt-(\d+)(?:\.(\d+))?", model)
    return bool(found) and (int(found[1]), int(found[2] or 0)) >= (5, 1)


def text_of(message):
    """All text of a message, its parts joined by line ends."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content or [])


def is_json_schema(value):
    """Whether a value has the form of a JSON schema, as far as the simulator reads schemas."""
    if not isinstance(value, dict):
        return isinstance(value, bool)
    maps = [value[keyword] for keyword in ("properties", "$defs", "definitions") if keyword in value]
    lists = [value[keyword] for keyword in ("anyOf", "allOf", "oneOf") if keyword in value]
    kinds = value.get("type", "object") if isinstance(value.get("type"), list) else [value.get("type", "object")]
    return (all(isinstance(each, dict) and all(map(is_json_schema, each.values())) for each in maps)
            and all(isinstance(each, list) and each and all(map(is_json_schema, each)) for each in lists)
            and is_json_schema(value.get("items", True))
            and bool(kinds) and all(isinstance(kind, str) for kind in kinds)
            and isinstance(value.get("enum", ["any"]), list) and value.get("enum") != []
            and isinstance(value.get("minItems", 0), int))


# Rules for every dialect --------------------------------------------------------------------------------------------

def has_messages(body):
    if not body["messages"]:
        raise Refusal("Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
                      "array instead.", code="empty_array", param="messages")


def assistant_says_something(body):
    for place, message in enumerate(body["messages"]):
        if message["role"] == "assistant" and message.get("content") is None \
                and not (message.get("tool_calls") or message.get("function_call") or message.get("refusal")
                         or message.get("audio")):
            raise Refusal("Invalid value for 'content': expected a string, got null.",
                          param=f"messages[{place}].content")


def calls_are_answered(body):
    """Every tool call is answered before the next turn, and no answer comes without its call (observed)."""
    open_calls, caller = {}, None
    for place, message in enumerate([*body["messages"], {"role": "end"}]):
        if message["role"] == "tool":
            if open_calls.pop(message.get("tool_call_id"), None) is None:
                raise Refusal("Invalid parameter: messages with role 'tool' must be a response to a preceding message "
                              "with 'tool_calls'.", param=f"messages[{place}].role")
        elif open_calls:
            raise Refusal("An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                          "'tool_call_id'. The following tool_call_ids did not have response messages: "
                          + ", ".join(map(str, open_calls)), param=f"messages[{caller}].tool_calls")
        if message["role"] == "assistant" and message.get("tool_calls"):
            open_calls, caller = {call.get("id"): True for call in message["tool_calls"]}, place


def tools_are_named(body):
    tools = body.get("tools")
    if tools is None:
        return
    if not tools:
        raise Refusal("Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array "
                      "instead.", code="empty_array", param="tools")
    if len(tools) > 128:
        raise Refusal(f"Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array "
                      f"with length {len(tools)} instead.", code="array_above_max_length", param="tools")
    for place, name in enumerate(_tool_names(tools)):
        _check_name(name, f"tools[{place}].function.name")


def _tool_names(tools):
    return [(tool.get("function") or tool.get("custom") or {}).get("name", "") for tool in tools]


def _check_name(name, param):
    if not _NAME.fullmatch(name):
        raise invalid_value(param, f"Invalid '{param}': string does not match pattern. Expected a string that matches "
                                   "the pattern '^[a-zA-Z0-9_-]{1,64}$'.")


def tool_choice_fits_tools(body):
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not body.get("tools"):
        raise invalid_value("tool_choice", "Invalid value for 'tool_choice': 'tool_choice' is only allowed when "
                                           "'tools' are specified.")
    if isinstance(choice, dict) and "function" in choice:
        name = choice["function"]["name"]
        if name not in _tool_names(body["tools"]):
            raise invalid_value("tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.")


def parallel_calls_need_tools(body):
    if "parallel_tool_calls" in body and not body.get("tools"):
        raise invalid_value("parallel_tool_calls", "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is "
                                                   "only allowed when 'tools' are specified.")


def stops_are_few(body):
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        raise Refusal(f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
                      f"length {len(stop)} instead.", code="array_above_max_length", param="stop")


def json_mode_is_asked_for(body):
    """JSON mode wants the word JSON in some message (observed)."""
    if (body.get("response_format") or {}).get("type") != "json_object":
        return
    if not any("json" in text_of(message).lower() for message in body["messages"]):
        raise Refusal("'messages' must contain the word 'json' in some form, to use 'response_format' of type "
                      "'json_object'.", param="messages")


def schemas_are_strict(body):
    """strict: true wants additionalProperties false and every property required, at every depth."""
    given = (body.get("response_format") or {}).get("json_schema")
    if given:
        _check_name(given["name"], "response_format.json_schema.name")
        if given.get("strict"):
            _check_strict(given.get("schema", {}), "response_format", given["name"], ())
    for place, tool in enumerate(body.get("tools") or []):
        function = tool.get("function", {})
        if function.get("strict"):
            _check_strict(function.get("parameters", {}), f"tools[{place}].function.parameters", function["name"], ())


def _check_strict(schema, param, name, context):
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            raise _invalid_schema(param, name, context,
                                  "'additionalProperties' is required to be supplied and to be false.")
        properties = schema.get("properties", {})
        missing = [key for key in properties if key not in schema.get("required", [])]
        if missing:
            raise _invalid_schema(param, name, context, "'required' is required to be supplied and to be an array "
                                  f"including every key in properties. Missing '{missing[0]}'.")
        for key, inner in properties.items():
            _check_strict(inner, param, name, (*context, "properties", key))
    for keyword in ("anyOf", "$defs", "definitions"):
        inner = schema.get(keyword, {})
        for key, each in inner.items() if isinstance(inner, dict) else enumerate(inner):
            _check_strict(each, param, name, (*context, keyword, str(key)))
    _check_strict(schema.get("items"), param, name, (*context, "items"))


def _invalid_schema(param, name, context, why):
    place = ", ".join(f"'{step}'" for step in context)
    return Refusal(f"Invalid schema for {param.split('[')[0]} '{name}': In context=({place}), {why}",
                   code="invalid_json_schema", param=param)


def stream_options_need_stream(body):
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refusal("The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                      param="stream_options")


def images_are_addressed(body):
    for place, message in enumerate(body["messages"]):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else []):
            if part.get("type") != "image_url":
                continue
            image = part["image_url"]
            url = image if isinstance(image, str) else image["url"]
            if not re.match(r"https?://|data:image/(png|jpeg|gif|webp);base64,", url):
                raise Refusal("Invalid image URL. Expected an http(s) URL or a base64 data URL of an image.",
                              code="invalid_image_url", param=f"messages[{place}].content[{index}].image_url")


def within(**ranges):
    """A rule: each named number, where given, lies in its range (least, greatest); greatest may be None."""
    def check(body):
        for name, (least, greatest) in ranges.items():
            value = body.get(name)
            kind = "decimal" if isinstance(least, float) else "integer"
            if value is None or isinstance(value, bool):
                continue
            if value < least:
                raise Refusal(f"Invalid '{name}': {kind} below minimum value. Expected a value >= {least:g}, but got "
                              f"{value} instead.", code=f"{kind}_below_min_value", param=name)
            if greatest is not None and value > greatest:
                raise Refusal(f"Invalid '{name}': {kind} above maximum value. Expected a value <= {greatest:g}, but "
                              f"got {value} instead.", code=f"{kind}_above_max_value", param=name)
    return check


def roles(*allowed):
    """A rule: only these roles."""
    def check(body):
        for place, message in enumerate(body["messages"]):
            if message["role"] not in allowed:
                raise invalid_value(f"messages[{place}].role", f"Invalid value: '{message['role']}'. Supported values "
                                                               f"are: {', '.join(map(repr, allowed))}.")
    return check


# Rules of OpenAI ----------------------------------------------------------------------------------------------------

def openai_output_limit(body):
    if body.get("max_tokens") is None:
        return
    if is_reasoning_model(body["model"]):
        raise unsupported_parameter("max_tokens", "Use 'max_completion_tokens' instead.")
    if body.get("max_completion_tokens") is not None:
        raise invalid_value("max_tokens", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not "
                                          "supported.")


def openai_sampling(body):
    """Reasoning models take no sampling parameters but their defaults, unless told not to reason."""
    model = body["model"]
    if not is_reasoning_model(model):
        return
    may = _may_stop_reasoning(model) and body.get("reasoning_effort") == "none"
    for name in ("temperature", "top_p"):
        if body.get(name) not in (None, 1) and not may:
            raise unsupported_value(name, body[name], "Only the default (1) value is supported.")
    for name in ("frequency_penalty", "presence_penalty", "logit_bias"):
        if body.get(name) is not None:
            raise unsupported_parameter(name)
    for name in ("logprobs", "top_logprobs"):
        if body.get(name) is not None and not may:
            raise unsupported_parameter(name)
    if body.get("stop") is not None and not re.match(r"o1(-|$)|o3-mini(-|$)", model):
        raise unsupported_parameter("stop")
    if "parallel_tool_calls" in body and model.startswith("o"):
        raise unsupported_parameter("parallel_tool_calls")


def openai_reasoning_parameters(body):
    reasons = is_reasoning_model(body["model"])
    if body.get("reasoning_effort") is not None and not reasons:
        raise unsupported_parameter("reasoning_effort")
    if body.get("verbosity") is not None and not (reasons and body["model"].startswith("gpt-")):
        raise unsupported_parameter("verbosity")


def openai_logprobs(body):
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise invalid_value("top_logprobs", "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.")


def openai_old_models(body):
    """gpt-3.5 and gpt-4 know neither the role developer nor all JSON modes; only gpt-4-turbo sees images."""
    model, format_type = body["model"], (body.get("response_format") or {}).get("type")
    if not _GPT_3_AND_4.match(model):
        return
    for place, message in enumerate(body["messages"]):
        if message["role"] == "developer":
            raise unsupported_value(f"messages[{place}].role", "'developer'")
        content = message.get("content")
        has_image = isinstance(content, list) and any(part["type"] == "image_url" for part in content)
        if has_image and not model.startswith("gpt-4-turbo"):
            raise Refusal("Invalid content type. image_url is only supported by certain models.",
                          param=f"messages.[{place}].content.[0].type")
    if format_type == "json_schema" or (format_type == "json_object" and _GPT_4_ITSELF.fullmatch(model)):
        raise Refusal(f"Invalid parameter: 'response_format' of type '{format_type}' is not supported with this model.",
                      param="response_format")


def openai_metadata(body):
    metadata = body.get("metadata") or {}
    if len(metadata) > 16:
        raise Refusal("Invalid 'metadata': too many properties. Expected an object with at most 16 properties.",
                      code="object_above_max_properties", param="metadata")
    for key, value in metadata.items():
        if len(key) > 64 or len(value) > 512:
            raise Refusal(f"Invalid 'metadata.{key}': string too long. Keys have at most 64 characters, values 512.",
                          code="string_above_max_length", param="metadata")
    if len(body.get("safety_identifier") or "") > 64:
        raise Refusal("Invalid 'safety_identifier': string too long. Expected a string with maximum length 64.",
                      code="string_above_max_length", param="safety_identifier")


def openai_logit_bias(body):
    for token, bias in (body.get("logit_bias") or {}).items():
        if not -100 <= bias <= 100:
            raise invalid_value("logit_bias", f"Invalid bias {bias} for token {token}: expected -100 to 100.")


# Rules of the others ------------------------------------------------------------------------------------------------

def groq_names(body):
    for place, message in enumerate(body["messages"]):
        if "name" in message:
            raise Refusal(f"'messages.{place}' : property 'name' is unsupported", param=f"messages[{place}].name")


def groq_reasoning(body):
    if "reasoning_format" in body and "include_reasoning" in body:
        raise Refusal("cannot specify both 'reasoning_format' and 'include_reasoning'", param="reasoning_format")
    if body.get("reasoning_format") == "raw" and (body.get("tools") or body.get("response_format")):
        raise Refusal("'reasoning_format' 'raw' cannot be used with tools or JSON mode", param="reasoning_format")
    effort = body.get("reasoning_effort")
    allowed = {"gpt-oss": ("low", "medium", "high"), "qwen3": ("none", "default")}
    for family, values in allowed.items():
        if effort is not None and family in body["model"] and effort not in values:
            raise unsupported_value("reasoning_effort", effort)


def groq_json_schema(body):
    """Only some models know JSON schemas; all know JSON mode."""
    wants_schema = (body.get("response_format") or {}).get("type") == "json_schema"
    if wants_schema and not re.search("gpt-oss|kimi-k2|llama-4", body["model"].lower()):
        raise Refusal("This model does not support response format `json_schema`.", param="response_format")


def mistral_call_ids(body):
    """Ids of calls and results are exactly nine letters or digits."""
    for message in body["messages"]:
        ids = [call.get("id") for call in message.get("tool_calls") or []]
        if message["role"] == "tool":
            ids.append(message.get("tool_call_id"))
        for each in ids:
            if not _MISTRAL_CALL_ID.fullmatch(each or ""):
                raise Refusal(f"Tool call id was {each} but must be a-z, A-Z, 0-9, with a length of 9.",
                              type="invalid_function_call", code="3280")


def mistral_last_role(body):
    last = body["messages"][-1]
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        raise Refusal(f"Expected last role User or Tool (or Assistant with prefix True) for serving but got "
                      f"{last['role']}", type="invalid_request_message_order", code="3230")


def huggingface_image_detail(body):
    for place, message in enumerate(body["messages"]):
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if "detail" in part.get("image_url", {}):
                raise Refusal("Unknown parameter: 'detail' of an image.", code="unknown_parameter",
                              param=f"messages[{place}].content")


def xai_reasoning(body):
    """Reasoning models take neither penalties nor stop sequences."""
    if not re.match(r"grok-(4|code|3-mini)", body["model"]) or "non-reasoning" in body["model"]:
        return
    for name, told in {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty",
                       "stop": "stop"}.items():
        if body.get(name) is not None:
            raise Refusal(f"Argument not supported on this model: {told}", param=name)
