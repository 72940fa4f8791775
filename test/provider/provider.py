#!/usr/bin/env python3
"""A simulated LLM provider on 127.0.0.1, strict about requests and scriptable in its faults. See README.md.

    python3 provider.py --port 0 --port-file F --log FILE.jsonl --certificates DIR

Runs until SIGTERM or SIGINT. The port file is there once all ports listen: lines `http=PORT`, `pid=PID` and, with
TLS, `https=PORT` and so on, which a shell can source.
"""

import argparse
import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import certificates
from behaviours import Script
from formats import Formats
from journal import Journal
from keys import KEY_PREFIX, Keys
from server import Server, listen


def _arguments():
    parser = argparse.ArgumentParser(description="A simulated LLM provider on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="port for HTTP; 0 (default): any free one")
    parser.add_argument("--port-file", type=Path, help="write the ports and the process id here, atomically")
    parser.add_argument("--log", type=Path, help="append all requests here, as JSON lines")
    parser.add_argument("--api-key", action="append", default=[],
                        help=f"an API key to accept (repeatable); default: all that begin with {KEY_PREFIX}")
    parser.add_argument("--certificates", type=Path, metavar="DIR",
                        help="make throw-away certificates in DIR and serve TLS with each of them: ports https, "
                             "https_wrong_host, https_expired and https_untrusted")
    parser.add_argument("--cert", type=Path, help="serve TLS, port https, with this certificate chain instead ...")
    parser.add_argument("--key", type=Path, help="... and its private key")
    parser.add_argument("--tls-port", type=int, default=0, help="port for https; 0 (default): any free one")
    return parser.parse_args()


def _tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _tls_contexts(arguments):
    """The TLS ports to open, as {name: SSLContext}."""
    contexts, directory = {}, arguments.certificates
    if directory:
        certificates.make(directory)
        contexts = {"https" if name == "server" else f"https_{name}":
                    _tls_context(directory / f"{name}.pem", directory / f"{name}.key") for name in certificates.NAMES}
    if arguments.cert:
        contexts["https"] = _tls_context(arguments.cert, arguments.key)
    return contexts


def _listeners(arguments):
    """All sockets, as {name: (socket, SSLContext or None)}."""
    listeners = {"http": (listen(arguments.port), None)}
    for name, context in _tls_contexts(arguments).items():
        listeners[name] = (listen(arguments.tls_port if name == "https" else 0), context)
    return listeners


def _write_ports(path, listeners):
    lines = [f"{name}={listener.getsockname()[1]}" for name, (listener, _tls) in listeners.items()]
    text = "\n".join([*lines, f"pid={os.getpid()}", ""])
    if path is None:
        print(text, end="", flush=True)
        return
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text)
    unfinished.replace(path)


async def _run(arguments):
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    journal = Journal(arguments.log.open("a") if arguments.log else None)
    server = Server(Formats(Keys(arguments.api_key)), Script(), journal)
    listeners = _listeners(arguments)
    accepting = [loop.create_task(server.accept(listener, tls)) for listener, tls in listeners.values()]
    _write_ports(arguments.port_file, listeners)
    await asyncio.wait([loop.create_task(stopped.wait()), *accepting], return_when=asyncio.FIRST_COMPLETED)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(_arguments())))
