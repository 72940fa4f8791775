"""The provider under test: one process for all tests; each begins with an empty script and journal."""

import subprocess
import sys

import pytest

from harness import HERE, Provider, eventually, stop


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("provider")
    port_file = directory / "ports"
    process = subprocess.Popen([sys.executable, HERE / "provider.py", "--port-file", port_file,
                                "--log", directory / "log.jsonl", "--certificates", directory / "tls"])
    try:
        eventually(lambda: port_file.exists() or process.poll() is not None, 30)
        lines = dict(line.split("=") for line in port_file.read_text().splitlines())
        assert int(lines["pid"]) == process.pid
        yield Provider({name: int(value) for name, value in lines.items()}, directory)
    finally:
        assert stop(process) == 0


@pytest.fixture
def provider(running):
    running.call("POST", "/control/reset")
    yield running
    running.close_clients()
