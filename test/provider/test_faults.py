"""That every scripted behaviour does on the wire what it says."""

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import time

import pytest

from harness import CALL, HELLO, eventually, exchange, read_all


# Scripted answers ---------------------------------------------------------------------------------------------------

def test_a_behaviour_is_taken_once_unless_told_otherwise(provider):
    provider.script({"status": 500}, {"status": 503, "times": 2})
    assert [provider.chat()[0] for _ in range(4)] == [500, 503, 503, 200]
    provider.script({"status": 500, "times": None})
    assert [provider.chat()[0] for _ in range(3)] == [500, 500, 500]
    assert provider.control("script")["script"] == [{"status": 500, "times": None}]


def test_behaviours_are_matched_by_model_and_path(provider):
    provider.script({"for_model": "gpt-4.1", "status": 500}, {"for_path": "/groq/", "status": 503})
    assert provider.chat()[0] == 200
    assert provider.chat(base="/groq/openai/v1")[0] == 503
    assert provider.chat(model="gpt-4.1")[0] == 500


def test_nonsense_is_no_script(provider):
    for nonsense in ({"statuss": 500}, {"hang": "connect", "for_model": "m"},
                     {"hang": "mid_body", "close": "mid_body"}):
        assert provider.call("POST", "/control/script", [nonsense])[0] == 400
    assert provider.control("script") == {"script": []}


def test_status_body_and_headers(provider):
    provider.script({"status": 429, "body": {"error": {"message": "slow"}},
                     "headers": {"Retry-After": "7", "retry-after-ms": "7000", "x-should-retry": "true"}})
    status, headers, answer = provider.chat()
    assert (status, answer) == (429, {"error": {"message": "slow"}})
    assert (headers["retry-after"], headers["retry-after-ms"], headers["x-should-retry"]) == ("7", "7000", "true")


@pytest.mark.parametrize("base, body", [
    ("/v1", {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": "content_filter"}}),
    ("/openrouter/api/v1", {"error": {"code": 400, "message": "No.", "metadata": {"error_type": "content_filter"}}}),
    ("/mistral/v1", {"object": "error", "message": "No.", "type": "invalid_request_error", "param": None,
                     "code": "content_filter", "raw_status_code": 400})])
def test_a_scripted_error_has_the_dialects_shape(provider, base, body):
    provider.script({"error": {"status": 400, "message": "No.", "code": "content_filter"}})
    status, _headers, answer = provider.chat(base=base)
    assert (status, answer) == (400, body)


def test_redirect(provider):
    provider.script({"redirect": "http://127.0.0.1:1/elsewhere", "status": 307})
    status, headers, _body = provider.chat()
    assert (status, headers["location"]) == (307, "http://127.0.0.1:1/elsewhere")


def test_scripted_usage_and_cost(provider):
    provider.script({"usage": {"prompt_tokens": 100, "completion_tokens": 50, "cached_tokens": 80,
                               "reasoning_tokens": 40, "cost": 0.25}})
    usage = provider.chat(base="/openrouter/api/v1")[2]["usage"]
    assert (usage["total_tokens"], usage["cost"]) == (150, 0.25)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 80
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 40


@pytest.mark.parametrize("tokens", [-5, 1.5, 1e30, "many", None])
def test_scripted_usage_may_be_nonsense(provider, tokens):
    provider.script({"usage": {"prompt_tokens": tokens}})
    answer = provider.chat()[2]
    assert answer["choices"][0]["message"]["content"] == "You said: Hello"
    assert answer["usage"]["prompt_tokens"] == tokens


def test_scripted_content_finish_reason_refusal_and_calls(provider):
    provider.script({"content": "exactly this", "finish_reason": "eos"}, {"refusal": "I will not."},
                    {"tool_calls": [CALL]})
    choice = provider.chat()[2]["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("exactly this", "eos")
    assert provider.chat()[2]["choices"][0]["message"]["refusal"] == "I will not."
    called = provider.chat()[2]["choices"][0]
    assert (called["message"]["tool_calls"], called["finish_reason"]) == ([CALL], "tool_calls")


def test_wrong_types_by_replacing_and_removing(provider):
    provider.script({"replace": {"choices": "text", "usage.prompt_tokens": -1.5e300}}, {"remove": ["choices", "usage"]},
                    {"replace": {"choices.0.message.content": 5}}, {"replace": {"nowhere.at.all": 1}})
    first = provider.chat()[2]
    assert (first["choices"], first["usage"]["prompt_tokens"]) == ("text", -1.5e300)
    assert not {"choices", "usage"} & provider.chat()[2].keys()
    assert provider.chat()[2]["choices"][0]["message"]["content"] == 5
    assert provider.chat()[2]["error"]["type"] == "simulator_error"


def test_a_refused_request_is_refused_in_spite_of_scripted_content(provider):
    provider.script({"content": "never"})
    assert provider.chat(temperature=3)[0] == 400


@pytest.mark.parametrize("payload, holds", [
    ("empty", lambda body: body == b""), ("html", lambda body: body.startswith(b"<!DOCTYPE html>")),
    ("garbage_json", lambda body: body.startswith(b'{"id"') and not body.endswith(b"}")),
    ("invalid_utf8", lambda body: b'"content": "\xff\xfe' in body),
    ("nul", lambda body: b'"content": "\\u0000' in body),
    ("lone_surrogate", lambda body: b'"content": "\\ud800' in body)])
def test_hostile_payloads(provider, payload, holds):
    provider.script({"payload": payload, "close": "after_answer"})
    with provider.open_request() as sock:
        head, body = read_all(sock).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 ") and f"Content-Length: {len(body)}".encode() in head
    assert holds(body), body


def test_huge_nested_and_compressed_answers(provider):
    provider.script({"huge_mb": 2}, {"nesting": 50000, "close": "after_answer"}, {"gzip": True}, {"huge_headers_kb": 40})
    assert len(provider.chat()[2]["choices"][0]["message"]["content"]) == 2 << 20
    with provider.open_request() as sock:  # raw, because some versions of Python parse this and some do not
        assert read_all(sock).endswith(b"[" * 50000 + b"]" * 50000 + b"}")
    _status, headers, body = provider.chat()
    assert headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body))["object"] == "chat.completion"
    assert sum(len(value) for value in provider.chat()[1].values()) > 40000


# Scripted transport -------------------------------------------------------------------------------------------------

def test_delay_holds_back_the_first_byte(provider):
    provider.script({"delay_ms": 200})
    begun = time.monotonic()
    assert provider.chat()[0] == 200
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("place, sent", [("before_headers", b""), ("after_headers", b"\r\n\r\n"), ("mid_body", b"{")])
def test_hangs_say_so_much_and_release_with_the_client(provider, place, sent):
    provider.script({"hang": place})
    with provider.open_request() as sock:
        eventually(lambda: provider.control("stats")["open_requests"] == 1)
        got = b"" if not sent else sock.recv(65536)
        got += sock.recv(65536) if place == "mid_body" and got.endswith(b"\r\n\r\n") else b""
        assert sent in got and not got.endswith(b"}")
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    eventually(lambda: provider.control("stats") == {
        "connections": 1, "open_connections": 0, "open_requests": 0, "peak_requests": 1})
    assert provider.requests()[0]["ended"] == "client gone"


def test_hang_at_connect_releases_with_the_client(provider):
    with contextlib.closing(provider.connect()) as control:
        exchange(control, "POST", "/control/script", [{"hang": "connect"}])
        with provider.open_request() as sock:
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        eventually(lambda: exchange(control, "GET", "/control/stats")[2]["open_connections"] == 0)
        assert exchange(control, "GET", "/control/requests")[2] == {"requests": []}


def test_hang_at_connect_stops_a_tls_handshake(provider):
    with contextlib.closing(provider.connect()) as control:
        exchange(control, "POST", "/control/script", [{"hang": "connect"}])
        with socket.create_connection(("127.0.0.1", provider.ports["https"]), timeout=0.1) as sock:
            with pytest.raises(TimeoutError):
                ssl._create_unverified_context().wrap_socket(sock)


def test_reset_at_connect(provider):
    with contextlib.closing(provider.connect()) as control:
        exchange(control, "POST", "/control/script", [{"reset": "connect"}])
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            with provider.open_request() as sock:
                read_all(sock)


@pytest.mark.parametrize("place, sent", [("after_request", b""), ("mid_body", b'{"id"')])
def test_resets(provider, place, sent):
    provider.script({"reset": place})
    got = b""
    with provider.open_request() as sock, pytest.raises(ConnectionResetError):
        while True:
            piece = sock.recv(65536)
            assert piece, "the connection was closed in order"
            got += piece
    assert sent in got and not got.endswith(b"}")
    assert provider.requests()[0]["ended"] == "broken off"


def test_reset_over_tls(provider):
    """Seen below TLS, since Python's ssl reports a reset as a mere end."""
    provider.script({"reset": "after_request"})
    with provider.open_request(port="https", wrap=ssl._create_unverified_context().wrap_socket) as sock:
        with pytest.raises(ConnectionResetError):
            while socket.socket.recv(sock, 65536):
                pass


@pytest.mark.parametrize("behaviour, complete", [
    ({"close": "after_request"}, False), ({"close": "mid_body"}, False), ({"close": "after_answer"}, True),
    ({"close": "mid_body", "chunked": True}, False), ({"content_length": 5000}, False)])
def test_closes_and_cuts(provider, behaviour, complete):
    provider.script(behaviour)
    with contextlib.closing(provider.connect()) as connection:
        if complete:
            assert exchange(connection, "POST", "/v1/chat/completions", {"model": "m", "messages": HELLO})[0] == 200
        else:
            with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected)):
                exchange(connection, "POST", "/v1/chat/completions", {"model": "m", "messages": HELLO})


def test_a_cut_can_be_placed_exactly(provider):
    provider.script({"close": "mid_body", "body_bytes": 3})
    with provider.open_request() as sock:
        assert read_all(sock).split(b"\r\n\r\n", 1)[1] == b'{"i'


def test_a_content_length_that_is_too_small_ends_the_connection(provider):
    provider.script({"content_length": 10})
    with provider.open_request() as sock:
        head, body = read_all(sock).split(b"\r\n\r\n", 1)
    assert b"Content-Length: 10" in head and len(body) > 10


def test_drip_and_chunked_answers_arrive_whole(provider):
    provider.script({"drip": {"bytes": 50, "every_ms": 5}}, {"chunked": True})
    begun = time.monotonic()
    assert provider.chat()[2]["object"] == "chat.completion"
    assert time.monotonic() - begun >= 0.03
    _status, headers, answer = provider.chat()
    assert (headers["transfer-encoding"], answer["object"]) == ("chunked", "chat.completion")


def test_what_is_not_http(provider):
    provider.script({"not_http": True})
    with pytest.raises(http.client.BadStatusLine):
        provider.chat()


def test_an_endless_answer_ends_with_the_client(provider):
    provider.script({"endless": True})
    with provider.open_request() as sock:
        received = 0
        while received < 8 << 20:
            received += len(sock.recv(1 << 20))
    assert eventually(lambda: provider.requests()[0].get("ended")) == "client gone"
