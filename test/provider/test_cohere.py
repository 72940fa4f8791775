"""Cohere's chat: answers and streams as the official client reads them, and which requests are refused."""

import cohere
import httpx
import pytest

from cohere_api import PREAMBLE_TOKENS
from harness import CALL, HELLO, KEY, TOOL, sse_data, unknown_members

# The client asks its types for __fields__, of which pydantic warns.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")

MODEL, REASONING, VISION = "command-a-03-2025", "command-a-reasoning-08-2025", "command-a-vision-07-2025"
RESULT = {"role": "tool", "tool_call_id": "a", "content": "rain"}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
SCHEMA = {"type": "object", "properties": {"color": {"type": "string", "enum": ["red", "blue"]}}, "required": ["color"]}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
BASIC_EVENTS = ["message-start", "content-start", "content-delta", "content-delta", "content-delta", "content-end",
                "message-end"]


@pytest.fixture
def client(provider):
    """The official client."""
    with httpx.Client(timeout=5) as connections:
        yield cohere.ClientV2(KEY, base_url=provider.url("/cohere"), httpx_client=connections)


def create(client, **members):
    return client.chat(**{"model": MODEL, "messages": HELLO, **members})


def stream(client, **members):
    return list(client.chat_stream(**{"model": MODEL, "messages": HELLO, **members}))


def send(provider, body=None, **members):
    """A request without the client: (status, headers, answer)."""
    return provider.call("POST", "/cohere/v2/chat", {"model": MODEL, "messages": HELLO, **(body or {}), **members})


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


def named(name, **function):
    return {"type": "function", "function": {"name": name, "parameters": {}, **function}}


# Answers ------------------------------------------------------------------------------------------------------------

def test_the_official_client_gets_an_answer(client):
    answer = create(client)
    assert ([part.text for part in answer.message.content], answer.finish_reason) == (["You said: Hello"], "COMPLETE")
    assert (answer.usage.billed_units.input_tokens, answer.usage.billed_units.output_tokens) == (8, 4)


def test_tokens_count_the_preamble_that_is_not_billed(client):
    tokens = create(client).usage.tokens
    assert (tokens.input_tokens, tokens.output_tokens) == (8 + PREAMBLE_TOKENS, 4)


def test_answers_have_only_members_that_the_sdk_knows(client):
    assert unknown_members(create(client, tools=[TOOL], tool_choice="REQUIRED")) == []


def test_equal_requests_get_equal_answers(provider):
    first, second = send(provider)[2], send(provider)[2]
    assert first.pop("id") != second.pop("id")
    assert first == second


def test_tools_are_called_when_required(client):
    answer = create(client, tools=[TOOL], tool_choice="REQUIRED")
    [call] = answer.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "text", "days": 1}')
    assert (answer.finish_reason, answer.message.content) == ("TOOL_CALL", None)


def test_tools_are_called_when_the_text_says_so(client):
    said = create(client, tools=[TOOL], messages=[{"role": "user", "content": "Please call weather now"}])
    assert said.finish_reason == "TOOL_CALL"


def test_tools_are_not_called_when_they_must_not(client):
    wants = {"tools": [TOOL], "messages": [{"role": "user", "content": "call weather"}]}
    assert create(client, tool_choice="NONE", **wants).finish_reason == "COMPLETE"


@pytest.mark.parametrize("content, said", [
    ("rain", "rain"), ([{"type": "text", "text": "rain"}], "rain"),
    ([{"type": "document", "document": {"data": {"sky": "grey"}}}], '{"sky": "grey"}')])
def test_the_result_of_a_tool_is_echoed(client, content, said):
    answer = create(client, tools=[TOOL], messages=[*HELLO, CALLING, {**RESULT, "content": content}])
    assert answer.message.content[0].text == f"The tool said: {said}"


def test_a_plan_counts_like_a_text(client):
    def given(**turn):
        return create(client, messages=[*HELLO, {**CALLING, **turn}, RESULT]).usage.billed_units.input_tokens
    assert given(tool_plan="I look up.") == given() + 3


def test_json_answers_fit_their_schema(client):
    wanted = {"type": "json_object", "json_schema": SCHEMA}
    assert create(client, response_format=wanted).message.content[0].text == '{"color": "red"}'


def test_json_mode_echoes_as_json(client):
    assert create(client, response_format={"type": "json_object"}).message.content[0].text == '{"echo": "Hello"}'


def test_the_output_limit_ends_an_answer(client):
    answer = create(client, max_tokens=2)
    assert (answer.message.content[0].text, answer.finish_reason) == ("You said", "MAX_TOKENS")


def test_a_stop_sequence_ends_an_answer(client):
    answer = create(client, stop_sequences=["said"])
    assert (answer.message.content[0].text, answer.finish_reason) == ("You ", "STOP_SEQUENCE")


def test_reasoning_models_think_first(client):
    answer = create(client, model=REASONING)
    assert [part.type for part in answer.message.content] == ["thinking", "text"]
    assert answer.usage.billed_units.output_tokens == 4 + 3


def test_thinking_can_be_turned_off(client):
    answer = create(client, model=REASONING, thinking={"type": "disabled"})
    assert [part.type for part in answer.message.content] == ["text"]


def test_log_probabilities_come_when_asked_for(client):
    assert [item.text for item in create(client, logprobs=True).logprobs] == ["You", " said:", " Hello"]
    assert create(client).logprobs is None


# Scripts ------------------------------------------------------------------------------------------------------------

def test_the_finish_reason_can_be_scripted(provider, client):
    provider.script({"finish_reason": "ERROR_TOXIC"})
    assert create(client).finish_reason == "ERROR_TOXIC"


def test_usage_can_be_scripted(provider):
    provider.script({"usage": {"prompt_tokens": 12, "completion_tokens": 7, "cached_tokens": 448}})
    assert send(provider)[2]["usage"] == {
        "billed_units": {"input_tokens": 12, "output_tokens": 7}, "tokens": {"input_tokens": 512, "output_tokens": 7},
        "cached_tokens": 448}


def test_usage_of_another_shape_can_be_scripted(provider):
    provider.script({"usage": {"billed_units": None, "prompt_tokens": "many"}})
    assert send(provider)[2]["usage"] == {"billed_units": None, "cached_tokens": 0,
                                          "tokens": {"input_tokens": "many", "output_tokens": 4}}


def test_reasoning_can_be_scripted(provider, client):
    provider.script({"reasoning": "Hm."})
    answer = create(client)
    assert [(part.type, getattr(part, part.type)) for part in answer.message.content] == [
        ("thinking", "Hm."), ("text", "You said: Hello")]


def test_reasoning_before_a_call_is_its_plan(provider, client):
    provider.script({"reasoning": "I look it up."})
    answer = create(client, tools=[TOOL], tool_choice="REQUIRED")
    assert (answer.message.tool_plan, answer.message.content) == ("I look it up.", None)


def test_members_can_be_replaced_and_removed(provider):
    provider.script({"replace": {"message.tool_calls.0.function.arguments": None}, "remove": ["usage"]})
    answer = send(provider, tools=[TOOL], tool_choice="REQUIRED")[2]
    assert answer["message"]["tool_calls"][0]["function"]["arguments"] is None and "usage" not in answer


def test_errors_have_coheres_shape(provider, client):
    provider.script({"error": {"status": 429, "message": "Please wait and try again later"}})
    with pytest.raises(cohere.TooManyRequestsError) as failure:
        create(client, request_options={"max_retries": 0})
    assert failure.value.body["message"] == "Please wait and try again later"


def test_a_script_that_does_not_fit_is_told(provider):
    provider.script({"remove": ["message.nothing"]})
    status, _headers, answer = send(provider)
    assert (status, answer["message"].split(":")[0]) == (500, "the script does not fit the answer")


# Streams ------------------------------------------------------------------------------------------------------------

def test_a_text_is_streamed_word_by_word(client):
    events = stream(client)
    assert [event.type for event in events] == BASIC_EVENTS
    assert [event.delta.message.content.text for event in events[1:5]] == ["", "You", " said:", " Hello"]


def test_a_stream_ends_with_finish_reason_and_usage(client):
    ended = stream(client, max_tokens=2)[-1].delta
    assert (ended.finish_reason, ended.usage.billed_units.output_tokens) == ("MAX_TOKENS", 2)
    assert ended.usage == create(client, max_tokens=2).usage


def test_events_are_named_by_their_type(provider):
    body = send(provider, stream=True)[2]
    names = [line.removeprefix(b"event: ").decode() for line in body.split(b"\n") if line.startswith(b"event: ")]
    assert names == [data["type"] for data in sse_data(body)] == BASIC_EVENTS


def test_a_stream_begins_with_an_empty_message(provider):
    begun = sse_data(send(provider, stream=True)[2])[0]
    assert begun["delta"]["message"] == {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [],
                                         "citations": []}


def test_a_call_is_streamed_in_fragments(client):
    events = stream(client, tools=[TOOL], tool_choice="REQUIRED")
    assert [event.type for event in events] == ["message-start", "tool-call-start", "tool-call-delta",
                                                "tool-call-delta", "tool-call-end", "message-end"]
    call = events[1].delta.message.tool_calls
    assert (call.function.name, call.function.arguments, call.id.split("_")[0]) == ("weather", "", "weather")
    fragments = [event.delta.message.tool_calls.function.arguments for event in events[2:4]]
    assert "".join(fragments) == '{"city": "text", "days": 1}'


def test_a_plan_is_streamed_before_the_calls(provider, client):
    provider.script({"reasoning": "I look it up."})
    events = stream(client, tools=[TOOL], tool_choice="REQUIRED")
    assert [event.type for event in events[1:6]] == ["tool-plan-delta"] * 4 + ["tool-call-start"]
    assert "".join(event.delta.message.tool_plan for event in events[1:5]) == "I look it up."


def test_several_calls_are_numbered(provider, client):
    provider.script({"tool_calls": [CALL, {**CALL, "id": "b"}]})
    events = stream(client, tools=[TOOL])
    assert [(event.index, event.delta.message.tool_calls.id) for event in events
            if event.type == "tool-call-start"] == [(0, "a"), (1, "b")]


def test_thoughts_and_text_are_numbered(client):
    events = stream(client, model=REASONING)
    assert [(event.index, event.delta.message.content.type) for event in events
            if event.type == "content-start"] == [(0, "thinking"), (1, "text")]


def test_events_have_only_members_that_the_sdk_knows(client):
    events = stream(client, model=REASONING, tools=[TOOL], messages=[{"role": "user", "content": "call weather"}])
    assert unknown_members(events[1:]) == []


def test_a_stream_can_lack_its_usage(provider, client):
    provider.script({"no_usage": True})
    assert stream(client)[-1].delta.usage is None


def test_a_stream_can_end_in_an_error(provider, client):
    provider.script({"stop_after_events": 3, "stream_error": {"message": "Out of tokens"}})
    ended = stream(client)[-1].delta
    assert (ended.finish_reason, ended.error, ended.usage) == ("ERROR", "Out of tokens", None)


def test_events_can_be_edited(provider):
    provider.script({"replace": {"delta.message.content.text": 5}})
    events = sse_data(send(provider, stream=True)[2])
    assert [event["delta"]["message"]["content"]["text"] for event in events[1:5]] == [5] * 4


# Keys and models ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("header, message", [
    ({}, "no api key supplied"), ({"Authorization": KEY}, "no api key supplied"),
    ({"Authorization": "Bearer wrong"}, "invalid api token")])
def test_bad_keys_are_refused(provider, header, message):
    for method, path in (("POST", "/v2/chat"), ("GET", "/v1/models"), ("POST", "/v1/check-api-key")):
        status, _headers, answer = provider.call(method, f"/cohere{path}", headers=header)
        assert (status, answer["message"]) == (401, message)


def test_a_key_can_be_checked(provider):
    status, _headers, answer = provider.call("POST", "/cohere/v1/check-api-key")
    assert (status, answer["valid"]) == (200, True)


def test_models_are_listed_by_the_page(client):
    page = client.models.list(page_size=1)
    assert ([model.name for model in page.models], page.next_page_token) == (["command-r7b-12-2024"], "simulated")


@pytest.mark.parametrize("method, path", [("GET", "/v2/chat"), ("POST", "/v2/embed"), ("POST", "/chat/completions")])
def test_unknown_paths_and_methods_are_404(provider, method, path):
    assert provider.call(method, f"/cohere{path}")[0] == 404


# Refusals -----------------------------------------------------------------------------------------------------------

REFUSED = {
    "no model": ({"model": ""}, 400, "a model parameter is required"),
    "no messages": ({"messages": []}, 400, "invalid request: message must be at least 1 token long"),
    "unknown member": ({"top_p": 0.5}, 422, "unknown field: parameter 'top_p' is not a valid field"),
    "unknown member of a message": ({"messages": [{**HELLO[0], "name": "a"}]}, 422, "unknown field: parameter 'name'"),
    "strict of a tool": ({"tools": [named("f", strict=True)]}, 422, "unknown field: parameter 'strict'"),
    "unknown member of a part": ({"messages": user({"type": "text", "text": "a", "x": 1})}, 422, "unknown field: "),
    "unknown role": ({"messages": [{"role": "developer", "content": "a"}]}, 400, "invalid request: Invalid value"),
    "number as text": ({"temperature": "1"}, 400, "invalid request: Invalid type for 'temperature'"),
    "document as text": ({"messages": [*HELLO, CALLING, {**RESULT, "content": [
        {"type": "document", "document": "rain"}]}]}, 400, "invalid request: Invalid type for"),
    "second system turn": ({"messages": [{"role": "system", "content": "a"}] * 2 + HELLO}, 400,
                           "system turn must be the first in the list"),
    "late system turn": ({"messages": [*HELLO, {"role": "system", "content": "a"}]}, 400,
                         "system turn must be the first in the list"),
    "empty user turn": ({"messages": [{"role": "user", "content": ""}]}, 400, "message must not be empty in a turn"),
    "user turn of empty parts": ({"messages": user({"type": "text", "text": ""})}, 400,
                                 "message must not be empty in a turn"),
    "silent assistant": ({"messages": [*HELLO, {"role": "assistant"}, *HELLO]}, 400,
                         "message must not be empty in a turn"),
    "content beside calls": ({"messages": [*HELLO, {**CALLING, "content": "I look."}, RESULT]}, 400,
                             "invalid request: cannot specify both content and tool_calls"),
    "call of nothing": ({"messages": [*HELLO, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function"}]}]},
                        400, "invalid request: tool calls must have a function"),
    "unknown call": ({"messages": [*HELLO, CALLING, {**RESULT, "tool_call_id": "b"}]}, 400,
                     "tool call id not found in previous tool calls"),
    "result without call": ({"messages": [*HELLO, RESULT]}, 400, "tool call id not found in previous tool calls"),
    "two calls of one id": ({"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL, CALL]}, RESULT]}, 400,
                            "cannot have duplicate tool ids"),
    "two results of one call": ({"messages": [*HELLO, CALLING, RESULT, RESULT]}, 400, "cannot have duplicate tool ids"),
    "call without result": ({"messages": [*HELLO, CALLING, *HELLO]}, 400,
                            "invalid request: An assistant message with 'tool_calls' must be followed"),
    "image to a blind model": ({"messages": user(IMAGE)}, 400, "invalid request: image content is not supported"),
    "image without address": ({"model": VISION, "messages": user({**IMAGE, "image_url": {"url": "y.png"}})}, 400,
                              "invalid request: image url must be"),
    "image in a system turn": ({"model": VISION, "messages": [{"role": "system", "content": [IMAGE]}, *HELLO]}, 400,
                               "invalid request: "),
    "tool name with a dash": ({"tools": [named("a-b")]}, 400, "invalid request: tool names can only contain"),
    "tool name with a digit first": ({"tools": [named("1a")]}, 400, "invalid request: tool names can only contain"),
    "tool without parameters": ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400,
                                "invalid request: Missing required parameter"),
    "property without type": ({"tools": [named("f", parameters={"type": "object", "properties": {"a": {}}})]}, 400,
                              "property a must have a type"),
    "properties as a list": ({"tools": [named("f", parameters={"type": "object", "properties": []})]}, 400,
                             "invalid request: schema must be a JSON schema"),
    "choice of one tool": ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}}, 400,
                           "invalid request: "),
    "choice in small letters": ({"tools": [TOOL], "tool_choice": "required"}, 400, "invalid request: Invalid value"),
    "choice without tools": ({"tool_choice": "REQUIRED"}, 400, "invalid request: tool_choice REQUIRED needs tools"),
    "choice by an old model": ({"model": "command-r-08-2024", "tools": [TOOL], "tool_choice": "NONE"}, 400,
                               "invalid request: tool_choice is not supported"),
    "format beside tools": ({"tools": [TOOL], "response_format": {"type": "json_object"}}, 400,
                            "invalid request: response_format is not supported with tools"),
    "format beside documents": ({"documents": ["a"], "response_format": {"type": "json_object"}}, 400,
                                "invalid request: response_format is not supported with RAG"),
    "OpenAI's format": ({"response_format": {"type": "json_schema", "json_schema": SCHEMA}}, 400,
                        "invalid request: Invalid value for 'response_format'"),
    "schema of a list": ({"response_format": {"type": "json_object", "json_schema": {"type": "array"}}}, 400,
                         "schema must be an object"),
    "required without property": ({"response_format": {"type": "json_object", "json_schema": {
        **SCHEMA, "required": ["size"]}}}, 400, "required field name not found in properties"),
    "temperature above 1": ({"temperature": 1.1}, 400, "invalid request: temperature must be between 0 and 1.0"),
    "temperature below 0": ({"temperature": -0.1}, 400, "invalid request: temperature must be between 0 and 1.0"),
    "p of 1": ({"p": 1}, 400, "invalid request: p must be between 0.01 and 0.99"),
    "p of 0": ({"p": 0}, 400, "invalid request: p must be between 0.01 and 0.99"),
    "k above 500": ({"k": 501}, 400, "invalid request: k must be between 0 and 500"),
    "k below 0": ({"k": -1}, 400, "invalid request: k must be between 0 and 500"),
    "seed below 0": ({"seed": -1}, 400, "invalid request: seed must be at least 0"),
    "six stops": ({"stop_sequences": list("abcdef")}, 400, "invalid request: stop_sequences must have at most 5"),
    "penalty below 0": ({"presence_penalty": -0.1}, 400, "invalid request: presence_penalty must be between 0 and 1"),
    "penalty above 1": ({"frequency_penalty": 1.1}, 400, "invalid request: frequency_penalty must be between 0 and 1"),
    "both penalties": ({"frequency_penalty": 0.1, "presence_penalty": 0.1}, 400,
                       "invalid request: cannot specify both frequency_penalty and presence_penalty"),
    "no output": ({"max_tokens": 0}, 400, "invalid request: max_tokens must be at least 1"),
    "priority above 999": ({"priority": 1000}, 400, "invalid request: priority must be between 0 and 999"),
    "thinking without reasoning": ({"thinking": {"type": "enabled"}}, 400, "invalid request: thinking is not"),
    "no budget": ({"model": REASONING, "thinking": {"type": "enabled", "token_budget": 0}}, 400,
                  "invalid request: token_budget must be a positive integer"),
    "unknown thinking": ({"model": REASONING, "thinking": {"type": "adaptive"}}, 400, "invalid request: Invalid value"),
    "unknown safety mode": ({"safety_mode": "NONE"}, 400, "invalid request: Invalid value"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_cohere_refuses(provider, case):
    body, status, message = REFUSED[case]
    got, _headers, answer = send(provider, body)
    assert (got, answer["message"][:len(message)]) == (status, message)
    assert provider.requests()[0]["refused"]["message"] == answer["message"]


@pytest.mark.parametrize("body", [
    {"temperature": 0, "p": 0.01, "k": 500, "seed": 0, "stop_sequences": list("abcde"), "frequency_penalty": 1,
     "max_tokens": 5, "safety_mode": "OFF", "logprobs": True, "priority": 999},
    {"messages": [{"role": "system", "content": "a"}, *HELLO, {"role": "assistant", "content": "b"}, *HELLO]},
    {"messages": [*HELLO, {**CALLING, "tool_plan": "I look."}, RESULT, *HELLO], "tools": [TOOL], "strict_tools": True},
    {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {
        "type": "text", "text": "a"}]}, *HELLO]},
    {"model": VISION, "messages": user({"type": "text", "text": "a"}, IMAGE)},
    {"model": "command-a-plus-05-2026", "messages": user(IMAGE), "thinking": {"type": "enabled", "token_budget": 5}},
    {"model": "command-r7b-12-2024", "tools": [TOOL], "tool_choice": "REQUIRED"},
    {"response_format": {"type": "text"}, "tools": [TOOL]},
    {"documents": ["a", {"id": "b", "data": {"text": "c"}}], "citation_options": {"mode": "FAST"}}])
def test_cohere_accepts(provider, body):
    status, _headers, answer = send(provider, body)
    assert status == 200, answer


def test_a_body_that_is_no_json_is_refused(provider):
    status, _headers, answer = provider.call("POST", "/cohere/v2/chat", raw=b'{"model":')
    assert (status, answer["message"].split(":")[0]) == (400, "invalid json syntax")


def test_a_body_of_another_type_is_refused(provider):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "text/plain"}
    assert provider.call("POST", "/cohere/v2/chat", {}, headers)[0] == 415
