"""Event streams: what they hold, read by the official client, and what scripts do to them."""

import contextlib
import json
import ssl

import openai
import pytest

from harness import HELLO, TOOL, eventually, exchange, read_all, sse_data

WHOLE = ["You", " said:", " Hello"]


def stream(provider, body=None):
    """The body of a streamed answer, as bytes."""
    return provider.chat({"stream": True, **(body or {})})[2]


@contextlib.contextmanager
def reading(provider, **members):
    """The chunks of a stream, as the official client reads them."""
    with provider.client().chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, **members) as chunks:
        yield chunks


# What a stream holds ------------------------------------------------------------------------------------------------

def test_a_text_comes_in_several_deltas(provider):
    with reading(provider) as chunks:
        choices = [chunk.choices[0] for chunk in chunks]
    assert [choice.delta.content for choice in choices] == ["", *WHOLE, None]
    assert [choice.delta.role for choice in choices][:2] == ["assistant", None]
    assert [choice.finish_reason for choice in choices][-2:] == [None, "stop"]


def test_a_stream_is_chunked_and_ends_with_its_mark(provider):
    status, headers, body = provider.chat(stream=True)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert headers["transfer-encoding"] == "chunked"
    assert body.endswith(b"}\n\ndata: [DONE]\n\n")


def test_arguments_come_in_fragments_after_the_name(provider):
    with reading(provider, tools=[TOOL], tool_choice="required") as chunks:
        calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert (calls[0].function.name, calls[0].function.arguments) == ("weather", "")
    assert calls[0].id and not any(call.id or call.function.name for call in calls[1:])
    assert len(calls) == 3
    assert json.loads("".join(call.function.arguments for call in calls)) == {"city": "text", "days": 1}


def test_usage_comes_alone_in_the_last_chunk_when_asked_for(provider):
    with reading(provider, stream_options={"include_usage": True}) as chunks:
        *before, last = chunks
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in before)
    assert (last.choices, last.usage.prompt_tokens, last.usage.completion_tokens) == ([], 8, 4)


def test_usage_does_not_come_unasked(provider):
    with reading(provider) as chunks:
        assert not any("usage" in chunk.model_fields_set for chunk in chunks)


def test_each_choice_is_streamed(provider):
    with reading(provider, n=2) as chunks:
        ends = [(chunk.choices[0].index, chunk.choices[0].finish_reason) for chunk in chunks]
    assert (0, "stop") in ends and (1, "stop") in ends


def test_a_refused_request_gets_no_stream(provider):
    status, headers, answer = provider.chat(stream=True, temperature=3)
    assert (status, headers["content-type"], answer["error"]["param"]) == (400, "application/json", "temperature")


# Scripted completions -----------------------------------------------------------------------------------------------

def test_scripted_completions_are_streamed(provider):
    provider.script({"content": "a b", "finish_reason": "eos", "usage": {"prompt_tokens": "many"}})
    *chunks, _done = sse_data(stream(provider, {"stream_options": {"include_usage": True}}))
    assert chunks[-2]["choices"][0]["finish_reason"] == "eos"
    assert chunks[-1]["usage"]["prompt_tokens"] == "many"


def test_a_scripted_refusal_is_streamed(provider):
    provider.script({"refusal": "I will not."})
    with reading(provider) as chunks:
        assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks) == "I will not."


def test_usage_can_be_kept_back(provider):
    provider.script({"no_usage": True})
    assert b"usage" not in stream(provider, {"stream_options": {"include_usage": True}})


def test_edits_apply_to_every_event_that_has_the_member(provider):
    provider.script({"replace": {"choices.0.delta.content": 5}, "remove": ["model"]})
    *chunks, _done = sse_data(stream(provider))
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == [5, 5, 5, 5, None]
    assert not any("model" in chunk for chunk in chunks)


def test_an_edit_that_fits_no_event_is_told(provider):
    provider.script({"replace": {"nowhere.at.all": 1}})
    assert stream(provider)["error"]["type"] == "simulator_error"


@pytest.mark.parametrize("payload, damage", [
    ("invalid_utf8", b"\xff\xfe"), ("nul", b"\\u0000"), ("lone_surrogate", b"\\ud800")])
def test_hostile_texts_in_a_stream(provider, payload, damage):
    provider.script({"payload": payload})
    assert stream(provider).count(b'"content": "' + damage) == 1


def test_another_status_gets_no_stream(provider):
    provider.script({"status": 503})
    status, headers, _answer = provider.chat(stream=True)
    assert (status, headers["content-type"]) == (503, "application/json")


def test_nesting_is_in_one_event(provider):
    provider.script({"nesting": 100})
    assert stream(provider).count(b"[" * 100 + b"]" * 100 + b"}\n\n") == 1


# Scripted events ----------------------------------------------------------------------------------------------------

def test_events_can_be_inserted_after_the_first(provider):
    provider.script({"insert_events": ["event: odd\ndata: {\n\n", "unterminated"]})
    first, rest = stream(provider).split(b"\n\n", 1)
    assert first.startswith(b"data: {")
    assert rest.startswith(b"event: odd\ndata: {\n\nunterminateddata: {")


def test_comments_between_events_are_no_trouble(provider):
    provider.script({"comments": True, "times": 2})
    assert stream(provider).count(b"\n\n: keep-alive\n\ndata: ") == 5
    with reading(provider) as chunks:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello"


def test_lines_may_end_in_crlf(provider):
    provider.script({"crlf": True, "times": 2})
    body = stream(provider)
    assert body.count(b"\n") == body.count(b"\r\n") and body.endswith(b"data: [DONE]\r\n\r\n")
    with reading(provider) as chunks:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello"


def test_the_last_event_may_lack_its_end(provider):
    provider.script({"no_final_blank_line": True})
    assert stream(provider).endswith(b"}\n\ndata: [DONE]")


def test_an_error_may_come_inside_a_stream(provider):
    provider.script({"stream_error": {"message": "Too much.", "type": "server_error"}, "stop_after_events": 2})
    read = []
    with reading(provider) as chunks, pytest.raises(openai.APIError, match="Too much."):
        read += chunks
    assert [chunk.choices[0].delta.content for chunk in read] == ["", "You"]


def test_a_stream_may_stop_without_its_mark(provider):
    provider.script({"stop_after_events": 3})
    with reading(provider) as chunks:
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 3
    assert provider.requests()[0]["ended"] == "answered"


# Scripted transport -------------------------------------------------------------------------------------------------

def test_a_held_stream_goes_on_when_released(provider):
    provider.script({"hold_after_events": 2})
    with reading(provider) as chunks:
        assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["", "You"]
        eventually(lambda: provider.requests()[0].get("events") == 2)
        assert "ended" not in provider.requests()[0]
        assert provider.call("POST", "/control/release")[2] == {"released": 1}
        assert [chunk.choices[0].delta.content for chunk in chunks] == [" said:", " Hello", None]
    assert provider.requests()[0]["events"] == 6


def test_a_stream_can_be_held_before_its_first_event(provider):
    provider.script({"hold_after_events": 0})
    with provider.open_request({"stream": True}) as sock:
        assert sock.recv(65536).endswith(b"\r\n\r\n")
        provider.call("POST", "/control/release")
        assert sock.recv(65536).split(b"\r\n")[1].startswith(b"data: {")


def test_a_stream_can_be_held_before_it_breaks_off(provider):
    provider.script({"hold_after_events": 2, "stop_after_events": 2, "close": "mid_body"})
    with provider.open_request({"stream": True}) as sock:
        eventually(lambda: provider.requests()[0].get("events") == 2)
        assert "ended" not in provider.requests()[0]
        provider.call("POST", "/control/release")
        assert read_all(sock).count(b"data: ") == 2
    assert provider.requests()[0]["ended"] == "broken off"


def test_the_journal_says_that_the_client_left_a_stream(provider):
    provider.script({"hold_after_events": 2})
    with reading(provider) as chunks:
        next(chunks)
    entry = eventually(lambda: provider.requests()[0].get("ended") and provider.requests()[0])
    assert (entry["ended"], entry["events"]) == ("client gone", 2)
    assert provider.control("stats")["open_requests"] == 0
    assert provider.call("POST", "/control/release")[2] == {"released": 0}


def test_one_release_lets_all_held_streams_go_on(provider):
    provider.script({"hold_after_events": 1, "times": 2})
    with reading(provider) as first, reading(provider) as second:
        next(first), next(second)
        provider.call("POST", "/control/release")
        assert [len(list(chunks)) for chunks in (first, second)] == [4, 4]


def test_events_can_be_paced(provider):
    provider.script({"event_delay_ms": 20})
    stream(provider)
    entry = provider.requests()[0]
    assert entry["ended_at"] - entry["received_at"] >= 5 * 0.02


@pytest.mark.parametrize("size", [1, 7])
def test_a_stream_can_be_cut_anywhere(provider, size):
    provider.script({"cut_bytes": size, "close": "after_answer"})
    with provider.open_request({"stream": True}) as sock:
        chunked = read_all(sock).split(b"\r\n\r\n", 1)[1].split(b"\r\n")
    sizes = [int(each, 16) for each in chunked[:-1:2]]
    assert set(sizes[:-2]) == {size} and sizes[-1] == 0
    assert b"".join(chunked[1::2]).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("behaviour", [{"cut_bytes": 1, "hold_after_events": 1}, {"cut_bytes": 1, "event_delay_ms": 1}])
def test_a_cut_stream_cannot_wait_between_events(provider, behaviour):
    assert provider.call("POST", "/control/script", behaviour)[0] == 400


def test_a_stream_can_be_closed_after_some_events(provider):
    provider.script({"close": "mid_body", "stop_after_events": 2})
    with provider.open_request({"stream": True}) as sock:
        body = read_all(sock)
    assert (body.count(b"data: "), body.endswith(b"}\n\n\r\n")) == (2, True)
    assert (provider.requests()[0]["ended"], provider.requests()[0]["events"]) == ("broken off", 2)


def test_a_stream_can_be_reset_after_some_events(provider):
    provider.script({"reset": "mid_body", "stop_after_events": 2})
    with provider.open_request({"stream": True}) as sock, pytest.raises(ConnectionResetError):
        read_all(sock)
    assert (provider.requests()[0]["ended"], provider.requests()[0]["events"]) == ("broken off", 2)


def test_a_stream_can_hang_after_some_events(provider):
    provider.script({"hang": "mid_body", "stop_after_events": 1})
    with reading(provider) as chunks:
        assert next(chunks).choices[0].delta.role == "assistant"
        assert provider.control("stats")["open_requests"] == 1
    assert eventually(lambda: provider.requests()[0].get("ended")) == "client gone"


def test_a_stream_can_break_off_inside_an_event(provider):
    provider.script({"close": "mid_body", "body_bytes": 9})
    with provider.open_request({"stream": True}) as sock:
        assert read_all(sock).endswith(b'\r\n\r\n9\r\ndata: {"i\r\n')


def test_an_endless_stream_ends_with_the_client(provider):
    provider.script({"endless": True})
    with provider.open_request({"stream": True}) as sock:
        received = b""
        while len(received) < 1 << 20:
            received += sock.recv(1 << 16)
    assert received.count(b'" Hello"') > 1000
    assert eventually(lambda: provider.requests()[0].get("ended")) == "client gone"


def test_a_compressed_stream_can_be_read_event_by_event(provider):
    provider.script({"gzip": True, "hold_after_events": 1})
    with reading(provider) as chunks:
        assert next(chunks).choices[0].delta.role == "assistant"
        provider.call("POST", "/control/release")
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello"


def test_a_stream_comes_over_tls(provider):
    trusted = openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=provider.authority))
    client = provider.client("https", http_client=trusted)
    for _ in range(5):
        with client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as chunks:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello"


def test_a_connection_is_kept_after_a_stream(provider):
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
    with contextlib.closing(provider.connect()) as connection:
        for _ in range(2):
            assert exchange(connection, "POST", "/v1/chat/completions", body)[0] == 200
    assert provider.control("stats")["connections"] == 1
