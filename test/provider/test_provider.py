"""Tests of the simulated provider: python3 -m pytest test/provider

One provider runs for all tests, in a process of its own; each test begins with an empty script and journal.
"""

import asyncio
import contextlib
import gzip
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

HERE = Path(__file__).resolve().parent
KEY = "sk-test-tests"
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}


class Provider:
    """A running provider: its ports and its control API."""

    def __init__(self, ports, tls):
        self.ports = ports
        self.authority = str(tls / "ca.pem")

    def connect(self, timeout=5):
        return http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=timeout)

    def call(self, method, path, body=None, headers=None, raw=None):
        """One request on a connection of its own: (status, headers, body as JSON value or text)."""
        with contextlib.closing(self.connect()) as connection:
            return exchange(connection, method, path, body, headers, raw)

    def chat(self, body=None, base="/v1", **members):
        return self.call("POST", f"{base}/chat/completions",
                         {"model": "gpt-4o", "messages": HELLO, **(body or {}), **members})

    def script(self, *behaviours):
        status, _headers, answer = self.call("POST", "/control/script", list(behaviours))
        assert status == 200, answer

    def control(self, name):
        return self.call("GET", f"/control/{name}")[2]

    def requests(self, since=0):
        return self.control(f"requests?since={since}")["requests"]

    def client(self, port="http", **options):
        scheme = "https" if port.startswith("https") else "http"
        return openai.OpenAI(base_url=f"{scheme}://localhost:{self.ports[port]}/v1", api_key=KEY, max_retries=0,
                             timeout=5, **options)

    @contextlib.contextmanager
    def open_request(self, body=None, port="http", wrap=contextlib.nullcontext):
        """A raw socket, wrapped by `wrap`, on which a chat request has been sent."""
        payload = json.dumps({"model": "gpt-4o", "messages": HELLO, **(body or {})}).encode()
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", self.ports[port]), timeout=5) as plain, wrap(plain) as sock:
            sock.sendall(head + payload)
            yield sock


def exchange(connection, method, path, body=None, headers=None, raw=None):
    if headers is None:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    if body is not None:
        raw = json.dumps(body)
    connection.request(method, path, raw, headers)
    response = connection.getresponse()
    data = response.read()
    try:
        return response.status, response.headers, json.loads(data)
    except (ValueError, RecursionError):
        return response.status, response.headers, data


def read_all(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def eventually(condition, seconds=5):
    """Waits until the condition holds and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)
    return value


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("provider")
    port_file, log = directory / "ports", directory / "log.jsonl"
    process = subprocess.Popen([sys.executable, HERE / "provider.py", "--port-file", port_file, "--log", log,
                                "--certificates", directory / "tls"])
    try:
        eventually(lambda: port_file.exists() or process.poll() is not None, 30)
        lines = dict(line.split("=") for line in port_file.read_text().splitlines())
        assert int(lines["pid"]) == process.pid
        provider = Provider({name: int(value) for name, value in lines.items()}, directory / "tls")
        provider.log = log
        yield provider
    finally:
        assert stop(process) == 0


def stop(process):
    """The exit status after SIGTERM; a provider that does not heed it is killed."""
    process.terminate()
    try:
        return process.wait(5)
    finally:
        process.kill()


@pytest.fixture
def provider(running):
    running.call("POST", "/control/reset")
    return running


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


# Refusals by OpenAI -------------------------------------------------------------------------------------------------

CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
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
        {"response_format": schema_format({"type": "array", "items": LOOSE})}, "invalid_json_schema", "response_format"),
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
    "stream": ({"stream": True}, "unsupported_value", "stream"),
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
    ("/mistral/v1", {"seed": 1}, 422), ("/mistral/v1", {"max_completion_tokens": 1}, 422),
    ("/mistral/v1", {"stream_options": {}}, 422), ("/mistral/v1", {"user": "u"}, 422),
    ("/mistral/v1", {"messages": [{**HELLO[0], "name": "a"}]}, 422), ("/mistral/v1", {"temperature": 1.6}, 400),
    ("/mistral/v1", {"messages": [{"role": "assistant", "content": "a"}]}, 400),
    ("/mistral/v1", {"tools": [named_tool("f")]}, 422), ("/mistral/v1", {"reasoning_effort": "low"}, 422),
    ("/huggingface/v1", {"user": "u"}, 400), ("/huggingface/v1", {"stop": "a"}, 400),
    ("/huggingface/v1", {"top_logprobs": 6, "logprobs": True}, 400), ("/huggingface/v1", {"n": 1}, 400)])
def test_each_dialect_is_strict_in_its_way(provider, base, body, status):
    assert provider.chat(body, base)[0] == status
    assert provider.requests()[0]["refused"]["status"] == status


@pytest.mark.parametrize("base, body", [
    ("/openai/v1", {}), ("/together/v1", {"stop": ["a"], "logprobs": 3, "top_k": 4, "max_tokens": 50}),
    ("/openrouter/api/v1", {"messages": [{"role": "developer", "content": "a"}], "top_k": 3, "max_tokens": 50}),
    ("/groq/openai/v1", {"max_completion_tokens": 50, "reasoning_format": "parsed", "seed": 1, "user": "u"}),
    ("/mistral/v1", {"random_seed": 1, "max_tokens": 50, "tool_choice": "any", "tools": [TOOL], "n": 2,
                     "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x/y"}]}]}),
    ("/mistral/v1", {"response_format": schema_format({"type": "object", "additionalProperties": False})}),
    ("/huggingface/v1", {"stop": ["a"], "max_tokens": 50, "seed": 1, "reasoning_effort": "low"})])
def test_each_dialect_accepts_its_own(provider, base, body):
    status, _headers, answer = provider.chat(body, base)
    assert (status, provider.requests()[0]["ignored"]) == (200, []), answer


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
    for nonsense in ({"statuss": 500}, {"hang": "connect", "for_model": "m"}, {"hang": "mid_body", "close": "mid_body"}):
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
    provider.script({"huge_mb": 2}, {"nesting": 50000}, {"gzip": True}, {"huge_headers_kb": 40})
    assert len(provider.chat()[2]["choices"][0]["message"]["content"]) == 2 << 20
    assert provider.chat()[2].endswith(b"[" * 50000 + b"]" * 50000 + b"}")
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


# Connections and the journal ----------------------------------------------------------------------------------------

def test_connections_are_kept_alive_and_counted(provider):
    body = {"model": "gpt-4o", "messages": HELLO}
    with contextlib.closing(provider.connect()) as connection:
        for _ in range(3):
            assert exchange(connection, "POST", "/v1/chat/completions", body)[0] == 200
        assert provider.control("stats") == {
            "connections": 1, "open_connections": 1, "open_requests": 0, "peak_requests": 1}
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
