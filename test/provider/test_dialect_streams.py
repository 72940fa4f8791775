"""What is particular to the streams of each dialect, read by its vendor's own client where there is one."""

import contextlib
import json

import groq
import huggingface_hub
import openai
import openrouter
import pytest
import together
from mistralai.client import Mistral

from harness import HELLO, KEY, TOOL, sse_data

BASES = ["/openai/v1", "/together/v1", "/openrouter/api/v1", "/groq/openai/v1", "/mistral/v1", "/huggingface/v1",
         "/deepseek", "/xai/v1", "/local/v1"]
AZURE = "/azure/openai/v1"
VERSION = {"api-version": "2024-10-21"}
CALLING = {"tools": [TOOL], "tool_choice": "required"}


def stream(provider, base, body=None):
    """The chunks of a stream, as JSON values without the end mark."""
    return sse_data(provider.chat({"stream": True, **(body or {})}, base)[2])[:-1]


def deltas(chunks):
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


# All alike ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("base", BASES)
def test_every_dialect_streams_the_same_text(provider, base):
    with provider.client(base=base).chat.completions.create(model="m", messages=HELLO, stream=True) as chunks:
        choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "You said: Hello"
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]


@pytest.mark.parametrize("base", BASES)
def test_every_dialect_streams_the_same_tool_call(provider, base):
    calls = [call for delta in deltas(stream(provider, base, CALLING)) for call in delta.get("tool_calls", [])]
    assert {call.get("index") for call in calls} == {0}
    assert calls[0]["function"]["name"] == "weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "text", "days": 1}


# Tool calls ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("base, expected", [("/openai/v1", 3), ("/openrouter/api/v1", 3), ("/huggingface/v1", 3),
                                            ("/together/v1", 1), ("/groq/openai/v1", 1), ("/mistral/v1", 1)])
def test_tool_calls_come_in_fragments_or_whole(provider, base, expected):
    assert sum(bool(delta.get("tool_calls")) for delta in deltas(stream(provider, base, CALLING))) == expected


def test_mistral_ends_with_the_tool_calls(provider):
    last = stream(provider, "/mistral/v1", CALLING)[-1]["choices"][0]
    assert (last["finish_reason"], len(last["delta"]["tool_calls"])) == ("tool_calls", 1)


def test_huggingface_repeats_id_and_name_in_each_fragment(provider):
    calls = [call for delta in deltas(stream(provider, "/huggingface/v1", CALLING))
             for call in delta.get("tool_calls", [])]
    assert len({call["id"] for call in calls}) == 1
    assert [call["function"]["name"] for call in calls] == ["weather"] * 3


# Usage --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("base", ["/together/v1", "/groq/openai/v1", "/mistral/v1"])
def test_usage_comes_unasked_with_the_finish_reason(provider, base):
    *before, last = stream(provider, base)
    assert not any("usage" in chunk for chunk in before)
    assert (last["choices"][0]["finish_reason"], last["usage"]["total_tokens"]) == ("stop", 12)


def test_openrouter_gives_usage_and_cost_unasked_in_a_chunk_of_their_own(provider):
    last = stream(provider, "/openrouter/api/v1")[-1]
    assert (last["usage"]["total_tokens"], last["usage"]["cost"]) == (12, 0.000012)
    assert last["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize("base", ["/openai/v1", "/huggingface/v1", "/deepseek", "/local/v1"])
@pytest.mark.parametrize("asked", [True, False])
def test_usage_comes_alone_and_when_asked_for(provider, base, asked):
    last = stream(provider, base, {"stream_options": {"include_usage": asked}})[-1]
    assert (last["choices"] == []) == ("usage" in last) == asked


@pytest.mark.parametrize("base", BASES)
def test_no_dialect_tells_usage_that_is_to_be_kept_back(provider, base):
    provider.script({"no_usage": True})
    assert not any("usage" in chunk or "usage" in chunk.get("x_groq", {}) for chunk in stream(provider, base))


def test_mistral_knows_no_stream_options(provider):
    body = {"stream": True, "stream_options": {"include_usage": True}}
    assert provider.chat(body, "/mistral/v1")[0] == 422


# Reasoning ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("base, member", [
    ("/together/v1", "reasoning"), ("/openrouter/api/v1", "reasoning"), ("/groq/openai/v1", "reasoning"),
    ("/huggingface/v1", "reasoning"), ("/deepseek", "reasoning_content"), ("/local/v1", "reasoning_content")])
def test_reasoning_has_a_member_of_its_own(provider, base, member):
    provider.script({"reasoning": "Let me see", "times": 2})
    assert provider.chat(base=base)[2]["choices"][0]["message"][member] == "Let me see"
    thoughts = [delta[member] for delta in deltas(stream(provider, base)) if member in delta]
    assert thoughts == ["Let", " me", " see"]


def test_mistral_reasons_in_parts_of_the_content(provider):
    provider.script({"reasoning": "Let me", "times": 2})
    content = provider.chat(base="/mistral/v1")[2]["choices"][0]["message"]["content"]
    assert [part["type"] for part in content] == ["thinking", "text"]
    contents = [delta["content"] for delta in deltas(stream(provider, "/mistral/v1"))]
    assert [each[0]["thinking"][0]["text"] for each in contents if isinstance(each, list)] == ["Let", " me"]
    assert "".join(each for each in contents if isinstance(each, str)) == "You said: Hello"


def test_openai_does_not_show_its_reasoning_and_counts_it(provider):
    provider.script({"reasoning": "Let me see"})
    answer = provider.chat()[2]
    assert "reasoning" not in str(answer["choices"])
    assert answer["usage"]["completion_tokens"] == 4 + 3
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


# Errors inside a stream ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("base, expected", [
    ("/openai/v1", {"error": {"message": "No.", "type": "overloaded", "param": None, "code": "busy"}}),
    ("/together/v1", {"id": "oc-simulated",
                      "error": {"message": "No.", "type": "overloaded", "param": None, "code": "busy"}}),
    ("/mistral/v1", {"object": "error", "message": "No.", "type": "overloaded", "param": None, "code": "busy",
                     "raw_status_code": 503}),
    ("/huggingface/v1", {"error": "No.", "error_type": "overloaded"})])
def test_a_stream_tells_of_errors_in_the_dialects_shape(provider, base, expected):
    provider.script({"stream_error": {"status": 503, "message": "No.", "type": "overloaded", "code": "busy"}})
    assert sse_data(provider.chat({"stream": True}, base)[2])[-1] == expected


def test_openrouter_tells_of_errors_in_a_last_chunk(provider):
    error = {"status": 503, "message": "No.", "code": "provider_overloaded"}
    provider.script({"stream_error": error, "times": 2})
    last = sse_data(provider.chat({"stream": True}, "/openrouter/api/v1")[2])[-1]
    assert last["choices"][0]["finish_reason"] == "error"
    with openrouter.OpenRouter(server_url=provider.url("/openrouter/api/v1"), api_key=KEY) as client:
        with client.chat.send(model="m", messages=HELLO, stream=True) as chunks:
            told = [chunk.error for chunk in chunks][-1]
    assert (told.code, told.message, told.metadata.error_type) == (503, "No.", "provider_overloaded")


def test_groq_tells_of_errors_in_its_own_member(provider):
    provider.script({"stream_error": {"message": "No."}})
    with groq.Groq(base_url=provider.url("/groq"), api_key=KEY, max_retries=0) as client:
        assert [chunk.x_groq and chunk.x_groq.error
                for chunk in client.chat.completions.create(model="m", messages=HELLO, stream=True)][-1] == "No."


# In particular ------------------------------------------------------------------------------------------------------

def test_openai_pads_its_chunks_unless_told_not_to(provider):
    assert all(chunk["obfuscation"] for chunk in stream(provider, "/v1"))
    told = {"stream_options": {"include_obfuscation": False}}
    assert not any("obfuscation" in chunk for chunk in stream(provider, "/v1", told))


@pytest.mark.parametrize("base", ["/together/v1", "/openrouter/api/v1", "/huggingface/v1"])
def test_some_repeat_the_role_in_each_delta(provider, base):
    assert {delta["role"] for delta in deltas(stream(provider, base))} == {"assistant"}


def test_openrouter_begins_with_a_comment(provider):
    assert provider.chat({"stream": True}, "/openrouter/api/v1")[2].startswith(b": OPENROUTER PROCESSING\n\ndata: {")


def test_openrouter_says_the_native_finish_reason(provider):
    ends = [choice["native_finish_reason"] for chunk in stream(provider, "/openrouter/api/v1")
            for choice in chunk["choices"]]
    assert ends == [None, None, None, None, "stop", None]


def test_groq_tells_the_request_first_and_the_usage_last(provider):
    with groq.Groq(base_url=provider.url("/groq"), api_key=KEY, max_retries=0) as client:
        chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    assert [bool(chunk.x_groq) for chunk in chunks] == [True, False, False, False, True]
    assert chunks[0].x_groq.id == chunks[-1].x_groq.id
    assert chunks[-1].x_groq.usage.total_tokens == chunks[-1].usage.total_tokens == 12


def test_groqs_usage_is_scripted_in_both_places(provider):
    provider.script({"usage": {"prompt_tokens": 100}})
    last = stream(provider, "/groq/openai/v1")[-1]
    assert last["usage"]["total_tokens"] == last["x_groq"]["usage"]["total_tokens"] == 104


# The vendors' own clients --------------------------------------------------------------------------------------------

def test_groqs_client_reads_an_answer(provider):
    with groq.Groq(base_url=provider.url("/groq"), api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model="m", messages=HELLO, **CALLING)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    assert answer.usage.total_time > 0


def test_togethers_client_reads_answers_and_streams(provider):
    with together.Together(base_url=provider.url("/together"), api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model="m", messages=HELLO)
        chunks = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
    assert answer.choices[0].message.content == "You said: Hello"
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "You said: Hello"
    assert chunks[-1].usage.total_tokens == 12


def test_mistrals_client_reads_answers_and_streams(provider):
    with Mistral(server_url=provider.url("/mistral"), api_key=KEY) as client:
        answer = client.chat.complete(model="m", messages=HELLO)
        with client.chat.stream(model="m", messages=HELLO) as events:
            chunks = [event.data for event in events]
    assert answer.choices[0].message.content == "You said: Hello"
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == "You said: Hello"


def test_openrouters_client_reads_answers_and_streams(provider):
    with openrouter.OpenRouter(server_url=provider.url("/openrouter/api/v1"), api_key=KEY) as client:
        answer = client.chat.send(model="m", messages=HELLO)
        with client.chat.send(model="m", messages=HELLO, stream=True) as chunks:
            text = "".join(chunk.choices[0].delta.content for chunk in chunks)
    assert (answer.choices[0].message.content, text) == ("You said: Hello", "You said: Hello")


def test_huggingfaces_client_reads_answers_and_streams(provider):
    client = huggingface_hub.InferenceClient(base_url=provider.url("/huggingface/v1"), api_key=KEY)
    with contextlib.closing(client.chat_completion(model="m", messages=HELLO, stream=True)) as chunks:
        text = "".join(chunk.choices[0].delta.content for chunk in chunks)
    answer = client.chat_completion(model="m", messages=HELLO)
    huggingface_hub.close_session()
    assert (answer.choices[0].message.content, text) == ("You said: Hello", "You said: Hello")


# Azure --------------------------------------------------------------------------------------------------------------

def azure(provider, **options):
    return provider.client(base=AZURE, default_headers={"api-key": KEY}, default_query=VERSION, **options)


def test_azure_streams_begin_with_a_chunk_of_no_choices(provider):
    with azure(provider).chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as chunks:
        first, *rest = chunks
    assert (first.choices, first.id) == ([], "")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in rest) == "You said: Hello"


def test_azure_answers_what_openai_does_and_says_what_its_filters_found(provider):
    answer = azure(provider).chat.completions.create(model="gpt-4o", messages=HELLO).to_dict()
    assert answer["choices"][0]["message"]["content"] == "You said: Hello"
    assert answer["choices"][0]["content_filter_results"]["hate"] == {"filtered": False, "severity": "safe"}


def test_azure_keeps_openais_rules(provider):
    with pytest.raises(openai.BadRequestError) as failure:
        azure(provider).chat.completions.create(model="o3", messages=HELLO, max_tokens=5)
    assert failure.value.param == "max_tokens"


@pytest.mark.parametrize("query", ["", "?api-version=", "?api-version=1999-01-01"])
def test_azure_knows_only_some_api_versions(provider, query):
    headers = {"api-key": KEY, "Content-Type": "application/json"}
    body = {"model": "gpt-4o", "messages": HELLO}
    status, _headers, answer = provider.call("POST", f"{AZURE}/chat/completions{query}", body, headers)
    assert (status, answer) == (404, {"error": {"code": "404", "message": "Resource not found"}})


@pytest.mark.parametrize("headers", [{}, {"api-key": "wrong"}, {"Authorization": f"Bearer {KEY}"}])
def test_azure_has_the_key_in_a_header_of_its_own(provider, headers):
    status, _headers, answer = provider.call("GET", f"{AZURE}/models?api-version=preview", headers=headers)
    assert (status, answer["error"]["code"]) == (401, "401")


# DeepSeek and xAI ---------------------------------------------------------------------------------------------------

def test_deepseek_takes_back_reasoning_and_ignores_what_it_does_not_know(provider):
    messages = [*HELLO, {"role": "assistant", "content": "Hi", "reasoning_content": "A greeting."}, *HELLO]
    status, _headers, _answer = provider.chat({"messages": messages, "max_tokens": 50, "mirostat": 2}, "/deepseek")
    assert (status, provider.requests()[0]["ignored"]) == (200, ["mirostat"])


@pytest.mark.parametrize("member", ["presence_penalty", "frequency_penalty", "stop"])
def test_xais_reasoning_models_take_neither_penalties_nor_stops(provider, member):
    body = {"model": "grok-4", member: "a" if member == "stop" else 0.5}
    status, _headers, answer = provider.chat(body, "/xai/v1")
    assert (status, answer["code"]) == (400, "Client specified an invalid argument")
    assert provider.chat({**body, "model": "grok-4-fast-non-reasoning"}, "/xai/v1")[0] == 200


def test_xai_calls_a_bad_key_a_bad_request(provider):
    status, _headers, answer = provider.call("GET", "/xai/v1/models", headers={"Authorization": "Bearer wrong"})
    assert (status, answer["error"][:29]) == (400, "Incorrect API key provided: w")
