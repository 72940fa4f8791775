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
