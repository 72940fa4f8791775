"""What the simulated provider answers, to whom, and what it records."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys

import openai
import pytest

from harness import HELLO, HERE, KEY, TOOL, Provider, eventually, exchange, read_all, stop


# The official client ------------------------------------------------------------------------------------------------

def test_official_client_over_http(provider):
    answer = provider.client().chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.choices[0].message.content == "You said: Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (8, 4, 12)


def test_official_client_over_tls(provider):
    trusted = openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=provider.authority))
    answer = provider.client("https", http_client=trusted).chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.choices[0].message.content == "You said: Hello"
    assert provider.requests()[0]["tls"]["version"] == "TLSv1.3"


def test_the_journal_tells_resumed_tls_sessions(provider):
    context, session = ssl._create_unverified_context(), None
    for _ in range(2):
        with provider.open_request(port="https", wrap=lambda sock: context.wrap_socket(sock, session=session)) as sock:
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            session = sock.session
    assert [entry["tls"]["resumed"] for entry in provider.requests()] == [False, True]


@pytest.mark.parametrize("port", ["https_wrong_host", "https_expired", "https_untrusted"])
def test_bad_certificates_are_refused(provider, port):
    trusted = openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=provider.authority))
    with pytest.raises(openai.APIConnectionError) as failure:
        provider.client(port, http_client=trusted).models.list()
    assert "CERTIFICATE_VERIFY_FAILED" in repr(failure.value.__cause__)


def test_official_client_lists_models(provider):
    assert "gpt-4o-mini" in [model.id for model in provider.client().models.list()]
    assert provider.client().models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError):
        provider.client().models.retrieve("no-such-model")


def test_official_client_understands_a_refusal(provider):
    with pytest.raises(openai.BadRequestError) as failure:
        provider.client().chat.completions.create(model="o3", messages=HELLO, max_tokens=5)
    assert (failure.value.code, failure.value.param) == ("unsupported_parameter", "max_tokens")


# Answers ------------------------------------------------------------------------------------------------------------

def test_equal_requests_get_equal_answers(provider):
    first, second = provider.chat()[2], provider.chat()[2]
    assert first.pop("id") != second.pop("id")
    assert first == second


def test_tools_are_called_when_required(provider):
    choice = provider.chat(tools=[TOOL], tool_choice="required")[2]["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "text", "days": 1}


def test_tools_are_called_when_the_text_says_so(provider):
    said = provider.chat(tools=[TOOL], messages=[{"role": "user", "content": "Please call weather now"}])[2]
    unsaid = provider.chat(tools=[TOOL])[2]
    assert said["choices"][0]["finish_reason"] == "tool_calls"
    assert unsaid["choices"][0]["finish_reason"] == "stop"


def test_the_result_of_a_tool_is_echoed(provider):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [*HELLO, {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]
    answer = provider.chat(messages=messages, tools=[TOOL])[2]
    assert answer["choices"][0]["message"]["content"] == "The tool said: rain"


def test_json_answers_fit_their_schema(provider):
    schema = {"type": "object", "properties": {"color": {"enum": ["red", "blue"]}, "sizes": {
        "type": "array", "items": {"type": "number"}, "minItems": 2}}, "required": ["color", "sizes"],
        "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "shirt", "strict": True, "schema": schema}}
    content = provider.chat(response_format=wanted)[2]["choices"][0]["message"]["content"]
    assert json.loads(content) == {"color": "red", "sizes": [1.5, 1.5]}


def test_output_limit_and_stop_sequences_end_an_answer(provider):
    limited = provider.chat(max_completion_tokens=2)[2]
    assert limited["choices"][0]["message"]["content"] == "You said"
    assert (limited["choices"][0]["finish_reason"], limited["usage"]["completion_tokens"]) == ("length", 2)
    stopped = provider.chat(stop=["said"])[2]["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("You ", "stop")


def test_several_choices(provider):
    answer = provider.chat(n=3)[2]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 12


# Keys ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}])
def test_bad_keys_are_refused(provider, header):
    status, _headers, answer = provider.call("GET", "/v1/models", headers=header)
    assert (status, answer["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("base, expected", [
    ("/together/v1", {"code": "invalid_api_key"}), ("/openrouter/api/v1", {"message": "User not found.", "code": 401}),
    ("/groq/openai/v1", {"message": "Invalid API Key"}), ("/mistral/v1", "Unauthorized"),
    ("/huggingface/v1", "Invalid credentials in Authorization header")])
def test_each_dialect_words_a_bad_key_its_way(provider, base, expected):
    headers = {"Authorization": "Bearer wrong", "Content-Type": "application/json"}
    body = {"model": "m", "messages": HELLO}
    status, _headers, answer = provider.call("POST", f"{base}/chat/completions", body, headers)
    told = answer.get("error", answer.get("detail"))
    assert status == 401
    assert told == expected if isinstance(expected, str) else expected.items() <= told.items()


def test_given_keys_replace_the_default(tmp_path):
    ports = tmp_path / "ports"
    process = subprocess.Popen([sys.executable, HERE / "provider.py", "--port-file", ports, "--api-key", "only-this"])
    try:
        eventually(lambda: ports.exists() or process.poll() is not None, 30)
        lone = Provider({"http": int(ports.read_text().split("=")[1].split()[0])}, tmp_path)
        assert lone.call("GET", "/v1/models")[0] == 401
        assert lone.call("GET", "/v1/models", headers={"Authorization": "Bearer only-this"})[0] == 200
    finally:
        stop(process)


def test_the_local_dialect_needs_no_key(provider):
    body = {"model": "SmolLM2-135M-Instruct", "messages": HELLO, "mirostat": 2}
    status, _headers, _answer = provider.call("POST", "/local/v1/chat/completions", body,
                                              {"Content-Type": "application/json"})
    assert (status, provider.requests()[0]["ignored"]) == (200, ["mirostat"])


# Connections and the journal ----------------------------------------------------------------------------------------

def test_connections_are_kept_alive_and_counted(provider):
    body = {"model": "gpt-4o", "messages": HELLO}
    with contextlib.closing(provider.connect()) as connection:
        for _ in range(3):
            assert exchange(connection, "POST", "/v1/chat/completions", body)[0] == 200
        eventually(lambda: provider.control("stats") == {
            "connections": 1, "open_connections": 1, "open_requests": 0, "peak_requests": 1})
    assert len({entry["connection"] for entry in provider.requests()}) == 1
    provider.chat()
    assert provider.control("stats")["connections"] == 2


def test_hundreds_of_hanging_connections(provider):
    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.ports["http"])
        payload = json.dumps({"model": "gpt-4o", "messages": HELLO}).encode()
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nContent-Type: "
                     f"application/json\r\nContent-Length: {len(payload)}\r\n\r\n".encode() + payload)
        return writer

    async def many():
        writers = await asyncio.gather(*(one() for _ in range(300)))
        await asyncio.to_thread(eventually, lambda: provider.control("stats")["open_requests"] == 300)
        assert await asyncio.to_thread(lambda: provider.call("GET", "/v1/models")[0]) == 200
        for writer in writers:
            writer.close()

    provider.script({"hang": "before_headers", "times": 300})
    asyncio.run(many())
    eventually(lambda: provider.control("stats")["open_requests"] == 0)
    assert provider.control("stats")["peak_requests"] == 301  # with the list of models between


def test_the_journal_tells_what_came(provider):
    headers = {"AUTHORIZATION": f"Bearer {KEY}", "content-type": "application/json", "X-Odd": "Ünï".encode("latin-1")}
    provider.call("POST", "/v1/chat/completions?a=1&a=2", {"model": "gpt-4o", "messages": HELLO}, headers)
    provider.call("POST", "/v1/chat/completions", raw=b"\xffno json")
    first, second = provider.requests()
    assert (first["method"], first["path"], first["query"]) == ("POST", "/v1/chat/completions", {"a": ["1", "2"]})
    assert ["AUTHORIZATION", f"Bearer {KEY}"] in first["headers"] and ["X-Odd", "Ünï"] in first["headers"]
    assert first["body"] == {"model": "gpt-4o", "messages": HELLO}
    assert second["body"] == "\N{REPLACEMENT CHARACTER}no json"
    assert first["received_at"] <= first["ended_at"] <= second["received_at"]
    assert (first["status"], second["status"], first["dialect"]) == (200, 400, "openai")
    assert provider.requests(since=1) == [second]
    assert [json.loads(line)["number"] for line in provider.control("log").splitlines()] == [1, 2]


def test_the_log_file_shows_arrival_and_end(provider):
    provider.script({"delay_ms": 1})
    already = len(provider.log.read_text().splitlines())
    provider.chat()
    lines = eventually(lambda: [json.loads(line) for line in provider.log.read_text().splitlines()[already:]][1:] and
                       [json.loads(line) for line in provider.log.read_text().splitlines()[already:]])
    assert [(line["event"], line["number"]) for line in lines] == [("request", 1), ("end", 1)]
    assert (lines[1]["ended"], lines[1]["behaviour"]) == ("answered", {"delay_ms": 1})


def test_what_is_not_http_is_closed(provider):
    with socket.create_connection(("127.0.0.1", provider.ports["http"]), timeout=5) as sock:
        sock.sendall(b"hello there\r\n\r\n")
        assert read_all(sock) == b""


def test_large_uploads_with_expect_continue(provider, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "a" * (3 << 20)}]}))
    answer = subprocess.run(
        ["curl", "-sS", "--expect100-timeout", "5", "-H", "Expect: 100-continue", "-H", f"Authorization: Bearer {KEY}",
         "-H", "Content-Type: application/json", "--data-binary", f"@{body}",
         f"http://127.0.0.1:{provider.ports['http']}/v1/chat/completions"], capture_output=True, check=True,
        env={**os.environ, "no_proxy": "*"})
    assert len(json.loads(answer.stdout)["choices"][0]["message"]["content"]) > 3 << 20
