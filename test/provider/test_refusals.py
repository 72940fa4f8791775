"""Which requests OpenAI and each other dialect refuse or accept."""

import pytest

import vendor_types
from harness import CALL, HELLO, TOOL


# Refusals by OpenAI -------------------------------------------------------------------------------------------------

LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def image(url):
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


def schema_format(schema, name="x"):
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def named_tool(name, **function):
    return {"type": "function", "function": {"name": name, **function}}


REFUSED = {
    "unknown member": ({"colour": 1}, "unknown_parameter", "colour"),
    "unknown member of a message": ({"messages": [{**HELLO[0], "x": 1}]}, "unknown_parameter", "messages[0].x"),
    "unknown member of a part": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]}, "unknown_parameter",
        "messages[0].content[0].x"),
    "unknown member of a tool": ({"tools": [named_tool("f", x=1)]}, "unknown_parameter", "tools[0].function.x"),
    "unknown role": ({"messages": [{"role": "robot", "content": "a"}]}, "invalid_value", "messages[0]"),
    "no role": ({"messages": [{"content": "a"}]}, "missing_required_parameter", "messages[0]"),
    "no content": ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
    "no messages": ({"messages": []}, "empty_array", "messages"),
    "image in a system message": (
        {"messages": [{**image("https://x/y.png")[0], "role": "system"}]}, "invalid_value",
        "messages[0].content[0].type"),
    "number as text": ({"temperature": "1"}, "invalid_type", "temperature"),
    "fraction for integer": ({"seed": 1.5}, "invalid_type", "seed"),
    "temperature above 2": ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
    "top_p below 0": ({"top_p": -0.1}, "decimal_below_min_value", "top_p"),
    "penalty below -2": ({"presence_penalty": -2.5}, "decimal_below_min_value", "presence_penalty"),
    "n above 128": ({"n": 129}, "integer_above_max_value", "n"),
    "no output": ({"max_completion_tokens": 0}, "integer_below_min_value", "max_completion_tokens"),
    "five stops": ({"stop": ["a", "b", "c", "d", "e"]}, "array_above_max_length", "stop"),
    "both limits": ({"max_tokens": 5, "max_completion_tokens": 5}, "invalid_value", "max_tokens"),
    "max_tokens for o3": ({"model": "o3", "max_tokens": 5}, "unsupported_parameter", "max_tokens"),
    "max_tokens for gpt-5": ({"model": "gpt-5-mini", "max_tokens": 5}, "unsupported_parameter", "max_tokens"),
    "max_tokens for gpt-6": ({"model": "gpt-6.1-sol", "max_tokens": 5}, "unsupported_parameter", "max_tokens"),
    "temperature for o3": ({"model": "o3", "temperature": 0.5}, "unsupported_value", "temperature"),
    "temperature for gpt-5.1": ({"model": "gpt-5.1", "temperature": 0.5}, "unsupported_value", "temperature"),
    "penalty for gpt-5": ({"model": "gpt-5", "frequency_penalty": 1}, "unsupported_parameter", "frequency_penalty"),
    "logprobs for gpt-5": ({"model": "gpt-5", "logprobs": True}, "unsupported_parameter", "logprobs"),
    "stop for gpt-5": ({"model": "gpt-5", "stop": "a"}, "unsupported_parameter", "stop"),
    "parallel calls for o3": (
        {"model": "o3", "tools": [TOOL], "parallel_tool_calls": True}, "unsupported_parameter", "parallel_tool_calls"),
    "effort without reasoning": ({"reasoning_effort": "low"}, "unsupported_parameter", "reasoning_effort"),
    "verbosity before gpt-5": ({"verbosity": "low"}, "unsupported_parameter", "verbosity"),
    "unknown effort": ({"model": "o3", "reasoning_effort": "heroic"}, "invalid_value", "reasoning_effort"),
    "top_logprobs alone": ({"top_logprobs": 2}, "invalid_value", "top_logprobs"),
    "developer to gpt-4": (
        {"model": "gpt-4", "messages": [{"role": "developer", "content": "a"}]}, "unsupported_value",
        "messages[0].role"),
    "JSON schema to gpt-4-turbo": (
        {"model": "gpt-4-turbo", "response_format": schema_format({})}, None, "response_format"),
    "image to gpt-3.5": ({"model": "gpt-3.5-turbo", "messages": image("https://x/y.png")}, None,
                         "messages.[0].content.[0].type"),
    "image without address": ({"messages": image("y.png")}, "invalid_image_url", "messages[0].content[0].image_url"),
    "JSON mode without JSON": ({"response_format": {"type": "json_object"}}, None, "messages"),
    "schema name": ({"response_format": schema_format({}, "a b")}, "invalid_value", "response_format.json_schema.name"),
    "loose schema": ({"response_format": schema_format(LOOSE)}, "invalid_json_schema", "response_format"),
    "optional property": (
        {"response_format": schema_format({**LOOSE, "additionalProperties": False, "required": []})},
        "invalid_json_schema", "response_format"),
    "loose schema inside": (
        {"response_format": schema_format({"type": "array", "items": LOOSE})}, "invalid_json_schema",
        "response_format"),
    "loose strict tool": ({"tools": [named_tool("f", strict=True, parameters=LOOSE)]}, "invalid_json_schema",
                          "tools[0].function.parameters"),
    "tool name": ({"tools": [named_tool("a b")]}, "invalid_value", "tools[0].function.name"),
    "empty tools": ({"tools": []}, "empty_array", "tools"),
    "129 tools": ({"tools": [named_tool(f"f{place}") for place in range(129)]}, "array_above_max_length", "tools"),
    "choice without tools": ({"tool_choice": "auto"}, "invalid_value", "tool_choice"),
    "choice of no tool": (
        {"tools": [TOOL], "tool_choice": named_tool("other")}, "invalid_value", "tool_choice"),
    "parallel calls without tools": ({"parallel_tool_calls": True}, "invalid_value", "parallel_tool_calls"),
    "call without answer": ({"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL]}, *HELLO]}, None,
                            "messages[1].tool_calls"),
    "answer without call": (
        {"messages": [*HELLO, {"role": "tool", "tool_call_id": "a", "content": "b"}]}, None, "messages[1].role"),
    "arguments as object": (
        {"messages": [{"role": "assistant", "tool_calls": [named_tool("f", arguments={}) | {"id": "a"}]}]},
        "invalid_type", "messages[0].tool_calls[0].function.arguments"),
    "silent assistant": ({"messages": [{"role": "assistant", "content": None}]}, None, "messages[0].content"),
    "long metadata": ({"metadata": {"k" * 65: "v"}}, "string_above_max_length", "metadata"),
    "long safety identifier": ({"safety_identifier": "s" * 65}, "string_above_max_length", "safety_identifier"),
    "large bias": ({"logit_bias": {"1": 101}}, "invalid_value", "logit_bias"),
    "stream options without stream": ({"stream_options": {"include_usage": True}}, None, "stream_options"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_openai_refuses(provider, case):
    body, code, param = REFUSED[case]
    status, _headers, answer = provider.chat(body)
    error = answer["error"]
    assert (status, error["code"], error["param"]) == (400, code, param), error["message"]
    assert error["type"] == "invalid_request_error"
    assert provider.requests()[0]["refused"]["message"] == error["message"]


@pytest.mark.parametrize("body", [
    {"temperature": 0, "top_p": 1, "max_tokens": 5, "seed": 7, "user": "u", "stop": "x", "store": True,
     "metadata": {"a": "b"}, "logit_bias": {"5": -100}, "logprobs": True, "top_logprobs": 3},
    {"model": "gpt-5.1", "reasoning_effort": "none", "temperature": 0.2, "max_completion_tokens": 5,
     "verbosity": "low"},
    {"model": "gpt-5-chat-latest", "temperature": 0.2, "max_tokens": 5},
    {"model": "o3", "temperature": 1, "reasoning_effort": "high"},
    {"messages": image("data:image/png;base64,AAAA")},
    {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "Some JSON, please"}]},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}}])
def test_openai_accepts(provider, body):
    status, _headers, answer = provider.chat(body)
    assert status == 200, answer


def test_a_body_that_is_no_json_is_refused(provider):
    status, _headers, answer = provider.call("POST", "/v1/chat/completions", raw=b'{"model":')
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


def test_unknown_paths_and_methods_are_404(provider):
    assert provider.call("GET", "/v1/chat/completions")[0] == 404
    assert provider.call("POST", "/v1/embeddings", {})[0] == 404
    assert provider.call("GET", "/elsewhere")[0] == 404


# The other dialects -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("base, body, status", [
    ("/together/v1", {"stop": "a"}, 422), ("/together/v1", {"logprobs": True}, 422),
    ("/together/v1", {"messages": [{"role": "developer", "content": "a"}]}, 400),
    ("/groq/openai/v1", {"n": 2}, 400), ("/groq/openai/v1", {"logit_bias": {"1": 1}}, 400),
    ("/groq/openai/v1", {"messages": [{**HELLO[0], "name": "a"}]}, 400),
    ("/groq/openai/v1", {"reasoning_format": "raw", "tools": [TOOL]}, 400),
    ("/groq/openai/v1", {"model": "llama-3.1-8b-instant", "response_format": schema_format({})}, 400),
    ("/mistral/v1", {"seed": 1}, 422), ("/mistral/v1", {"max_completion_tokens": 1}, 422),
    ("/mistral/v1", {"stream_options": {}}, 422), ("/mistral/v1", {"user": "u"}, 422),
    ("/mistral/v1", {"messages": [{**HELLO[0], "name": "a"}]}, 422), ("/mistral/v1", {"temperature": 1.6}, 400),
    ("/mistral/v1", {"messages": [{"role": "assistant", "content": "a"}]}, 400),
    ("/mistral/v1", {"tools": [named_tool("f")]}, 422), ("/mistral/v1", {"reasoning_effort": "low"}, 422),
    ("/huggingface/v1", {"stop": ["a", "b", "c", "d", "e"]}, 400),
    ("/huggingface/v1", {"user": "u"}, 400), ("/huggingface/v1", {"stop": "a"}, 400),
    ("/huggingface/v1", {"top_logprobs": 6, "logprobs": True}, 400), ("/huggingface/v1", {"n": 1}, 400),
    ("/groq/openai/v1", {"messages": [*HELLO, {"role": "assistant", "content": "a", "refusal": "b"}, *HELLO]}, 400),
    ("/groq/openai/v1", {"logprobs": True}, 400), ("/groq/openai/v1", {"store": True}, 400),
    ("/openrouter/api/v1", {"reasoning": {"effort": "heroic"}}, 400), ("/openrouter/api/v1", {"stop": 5}, 400),
    ("/together/v1", {"reasoning": {"enabled": "yes"}}, 422), ("/together/v1", {"reasoning_effort": "none"}, 422),
    ("/huggingface/v1", {"tools": [named_tool("f")]}, 400), ("/huggingface/v1", {"tool_choice": "any"}, 400)])
def test_each_dialect_is_strict_in_its_way(provider, base, body, status):
    assert provider.chat(body, base)[0] == status
    assert provider.requests()[0]["refused"]["status"] == status


@pytest.mark.parametrize("base, body", [
    ("/openai/v1", {}), ("/together/v1", {"stop": ["a"], "logprobs": 3, "top_k": 4, "max_tokens": 50}),
    ("/openrouter/api/v1", {"messages": [{"role": "developer", "content": "a"}], "top_k": 3, "max_tokens": 50}),
    ("/openrouter/api/v1", {"reasoning": {"enabled": True, "max_tokens": 100}, "provider": {"order": ["a"]}}),
    ("/groq/openai/v1", {"max_completion_tokens": 50, "reasoning_format": "parsed", "seed": 1, "user": "u"}),
    ("/mistral/v1", {"stop": ["a", "b", "c", "d", "e"]}),
    ("/mistral/v1", {"random_seed": 1, "max_tokens": 50, "tool_choice": "any", "tools": [TOOL], "n": 2,
                     "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x/y"}]}]}),
    ("/mistral/v1", {"response_format": schema_format({"type": "object", "additionalProperties": False})}),
    ("/huggingface/v1", {"stop": ["a"], "max_tokens": 50, "seed": 1, "reasoning_effort": "low"})])
def test_each_dialect_accepts_its_own(provider, base, body):
    status, _headers, answer = provider.chat(body, base)
    assert (status, provider.requests()[0]["ignored"]) == (200, []), answer


def test_what_a_vendors_types_lack_is_ignored_where_the_api_ignores_it(provider):
    status, _headers, _answer = provider.chat({"reasoning": {"enabled": True, "effort": "low"}}, "/together/v1")
    assert (status, provider.requests()[0]["ignored"]) == (200, ["reasoning.effort"])


@pytest.mark.parametrize("base", ["/together/v1", "/openrouter/api/v1"])
def test_ignored_members_are_named_in_the_journal(provider, base):
    status, _headers, _answer = provider.chat({"store": True, "messages": [{**HELLO[0], "odd": 1}]}, base)
    assert (status, provider.requests()[0]["ignored"]) == (200, ["messages[0].odd", "store"])


def test_mistral_wants_call_ids_of_nine_characters(provider):
    def turn(call_id):
        return [*HELLO, {"role": "assistant", "tool_calls": [{**CALL, "id": call_id}]},
                {"role": "tool", "tool_call_id": call_id, "content": "rain"}]
    assert provider.chat({"messages": turn("abcDEF123")}, "/mistral/v1")[0] == 200
    status, _headers, answer = provider.chat({"messages": turn("call_1")}, "/mistral/v1")
    assert (status, answer["type"], answer["code"]) == (400, "invalid_function_call", "3280")
    given = provider.chat({"tools": [TOOL], "tool_choice": "any"}, "/mistral/v1")[2]
    assert len(given["choices"][0]["message"]["tool_calls"][0]["id"]) == 9


def test_openrouter_reports_cost_and_key(provider):
    assert provider.chat(base="/openrouter/api/v1")[2]["usage"]["cost"] == 0.000012
    assert provider.call("GET", "/openrouter/api/v1/key")[2]["data"]["usage"] == 0
    assert provider.call("GET", "/openrouter/api/v1/key", headers={})[0] == 401


def test_model_lists_have_each_dialects_shape(provider):
    assert isinstance(provider.call("GET", "/together/v1/models")[2], list)
    assert provider.call("GET", "/groq/openai/v1/models")[2]["object"] == "list"
    assert provider.call("GET", "/openrouter/api/v1/models", headers={})[2]["data"][0]["pricing"]
    assert provider.call("GET", "/huggingface/v1/models", headers={})[2]["data"][0]["providers"]
    assert provider.call("GET", "/mistral/v1/models", headers={})[2] == {"detail": "Unauthorized"}


@pytest.mark.parametrize("member, value", [("colour", 1), ("created", "now"), ("choices", None)])
def test_the_simulator_cannot_give_an_answer_that_the_vendors_types_lack(provider, member, value):
    answer = provider.chat(base="/groq/openai/v1")[2]
    assert vendor_types.checked(vendor_types.GROQ.completion, answer) is answer
    with pytest.raises(ValueError, match=member):
        vendor_types.checked(vendor_types.GROQ.completion, {**answer, member: value})
