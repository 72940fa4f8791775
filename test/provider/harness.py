"""What the tests of the simulated provider share: a client of its APIs, waiting, sample requests."""

import contextlib
import http.client
import json
import socket
import time
from pathlib import Path

import openai
from pydantic import BaseModel

HERE = Path(__file__).resolve().parent
KEY = "sk-test-tests"
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}
CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


class Provider:
    """A running provider: its ports and its control API. `directory` has its log and its certificates."""

    def __init__(self, ports, directory):
        self.ports = ports
        self.log = directory / "log.jsonl"
        self.authority = str(directory / "tls" / "ca.pem")
        self._clients = []

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

    def url(self, base, port="http"):
        scheme = "https" if port.startswith("https") else "http"
        return f"{scheme}://localhost:{self.ports[port]}{base}"

    def client(self, port="http", base="/v1", **options):
        """The official client, which keeps its connections until close_clients."""
        client = openai.OpenAI(base_url=self.url(base, port), api_key=KEY, max_retries=0, timeout=5, **options)
        self._clients.append(client)
        return client

    def close_clients(self):
        while self._clients:
            self._clients.pop().close()

    @contextlib.contextmanager
    def open_request(self, body=None, port="http", wrap=contextlib.nullcontext):
        """A raw socket, wrapped by `wrap`, on which a chat request has been sent."""
        payload = json.dumps({"model": "gpt-4o", "messages": HELLO, **(body or {})}).encode()
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", self.ports[port]), timeout=5) as plain, wrap(plain) as sock:
            sock.sendall(head + payload)
            yield sock


def sse_data(body):
    """The values of a stream's data lines, text where they are no JSON objects."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) if line.startswith(b"{") else line.decode() for line in lines]


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


def stop(process):
    """The exit status after SIGTERM; a provider that does not heed it is killed."""
    process.terminate()
    try:
        return process.wait(5)
    finally:
        process.kill()


def unknown_members(value):
    """Members that the SDK's types do not have."""
    if isinstance(value, list):
        return [name for each in value for name in unknown_members(each)]
    if not isinstance(value, BaseModel):
        return []
    return [*(value.model_extra or {}), *unknown_members([getattr(value, name) for name in type(value).model_fields])]
