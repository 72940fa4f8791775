"""That the benchmark's mock provider and its floor client do what they say: python3 -m pytest test/bench"""

import contextlib
import http.client
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REQUEST = b'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}'


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bench")
    for name, libraries in (("mock", []), ("floor_client", ["-lcurl"])):
        subprocess.run(["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", HERE / f"{name}.c", "-o",
                        directory / name, *libraries], check=True)
    return directory


@contextlib.contextmanager
def running_mock(directory, *options):
    """The port of a mock that runs meanwhile."""
    port_file = directory / "ports"
    port_file.unlink(missing_ok=True)
    process = subprocess.Popen([directory / "mock", "--port-file", port_file, *options])
    try:
        deadline = time.monotonic() + 10
        while not port_file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        yield int(port_file.read_text().splitlines()[0].removeprefix("http="))
        assert process.poll() is None, "the mock ended by itself"
    finally:
        process.kill()
        process.wait()


def receive_answer(sock):
    data = b""
    while len(data.partition(b"\r\n\r\n")[2]) < 600:
        piece = sock.recv(4096)
        assert piece, "the connection ended before its answer"
        data += piece
    return data


def test_every_post_has_the_same_answer_on_one_connection(built):
    with running_mock(built) as port, contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        answers = []
        for size in (0, 10, 20000, 1000000):
            connection.request("POST", "/v1/chat/completions", b"x" * size)
            answers.append(connection.getresponse().read())
    assert len(answers[0]) == 600 and set(answers) == {answers[0]}
    assert json.loads(answers[0])["object"] == "chat.completion"


def test_a_head_in_pieces_is_put_together(built):
    with running_mock(built) as port, socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(REQUEST)):
            sock.sendall(REQUEST[place:place + 1])
        assert receive_answer(sock).startswith(b"HTTP/1.1 200 OK\r\n")


def test_delays_run_side_by_side(built):
    with running_mock(built, "--delay-ms", "200") as port, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(500)]
        begun = time.monotonic()
        for sock in socks:
            sock.sendall(REQUEST)
        for sock in socks:
            receive_answer(sock)
        taken = time.monotonic() - begun
    assert 0.2 <= taken < 5


def test_clients_that_leave_or_hurry_do_no_harm(built):
    with running_mock(built, "--delay-ms", "50") as port:
        for unruly in (REQUEST, REQUEST + REQUEST, b"P" * 20000):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                sock.sendall(unruly)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as hurried:
            hurried.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(ConnectionError):
                while True:
                    hurried.sendall(REQUEST)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(REQUEST)
            assert receive_answer(sock).endswith(b"}")


def stream_of(port, body=b'{"stream":true}'):
    """The events of a stream."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", "/v1/chat/completions", body)
        answer = connection.getresponse()
        assert answer.getheader("Content-Type").startswith("text/event-stream")
        events = answer.read().decode().split("\n\n")
    assert events.pop() == ""
    return [event.removeprefix("data: ") for event in events]


def test_a_stream_is_chunks_their_usage_and_the_end_mark(built):
    with running_mock(built, "--chunks", "1000") as port:
        *chunks, end = stream_of(port)
    chunks = [json.loads(chunk) for chunk in chunks]
    assert len(chunks) == 1003 and end == "[DONE]"
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 1001 + ["stop"]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == 1000


@pytest.mark.parametrize("microseconds", [0, 20])
def test_a_stream_is_the_same_with_a_write_for_each_chunk(built, microseconds):
    with running_mock(built, "--chunks", "2000") as port:
        whole = stream_of(port)
    with running_mock(built, "--chunks", "2000", "--chunk-us", str(microseconds)) as port:
        begun = time.monotonic()
        assert stream_of(port) == whole
        assert time.monotonic() - begun >= 2000 * microseconds / 1e6


def test_a_stream_is_asked_for_by_a_member_and_nothing_else(built):
    with running_mock(built, "--chunks", "1") as port:
        for body in (b'{"messages":[],"stream": true}', b'{"stream" : true}', b'{"x":"stream","stream":true}',
                     b'{"stream"' + b" " * 200000 + b':true,"x":1}'):
            assert len(stream_of(port, body)) == 5
        for body in (b'{"stream":false}', b'{"x":"\\"stream\\":true"}', b'{"stream":"true"}', b'{"xstream":true}'):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("POST", "/v1/chat/completions", body)
                assert len(connection.getresponse().read()) == 600


def test_clients_that_leave_a_stream_do_no_harm(built):
    request = REQUEST.replace(b"2\r\n\r\n{}", b"15\r\n\r\n" + b'{"stream":true}')
    for options in ((), ("--chunk-us", "0"), ("--chunk-us", "100")):
        with running_mock(built, *options) as port:
            for unruly in (request, request + request):
                for _ in range(10):
                    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                        sock.sendall(unruly)
                        assert sock.recv(10)
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                sock.sendall(REQUEST)
                assert receive_answer(sock).endswith(b"}")


def test_the_floor_client_measures(built):
    with running_mock(built) as port:
        run = subprocess.run([built / "floor_client", "--url", f"http://127.0.0.1:{port}/", "--clients", "2",
                              "--seconds", "0.3"], capture_output=True, text=True)
    figures = dict(figure.split("=") for figure in run.stdout.split())
    assert (run.returncode, figures["clients"], figures["failures"]) == (0, "2", "0")
    assert float(figures["rate"]) > 100
    assert 0 < int(figures["p50_us"]) <= int(figures["p99_us"]) and float(figures["cpu_us"]) > 0


def test_the_floor_client_reports_failures(built):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    run = subprocess.run([built / "floor_client", "--url", f"http://127.0.0.1:{port}/", "--seconds", "0.1"],
                         capture_output=True, text=True)
    assert run.returncode == 1 and "rate=0 " in run.stdout
