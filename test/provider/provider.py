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
from endpoints import Endpoints, KEY_PREFIX
from journal import Journal
from server import Server, listen


def _arguments():
    parser = argparse.ArgumentParser(description="A simulated LLM provider on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="port for HTTP; 0 (default): any free one")
    parser.add_argument("--port-file", type=Path, help="write the ports and the process id here, atomically")
    parser.add_argument("--log", type=Path, help="append all requests here, as JSON lines")
    parser.add_argument("--key", action="append", default=[],
                        help=f"an API key to accept (repeatable); default: all that begin with {KEY_PREFIX}")
    parser.add_argument("--certificates", type=Path, metavar="DIR",
                        help="serve TLS too, with throw-away certificates made in DIR, each on a port of its own: "
                             "https, https_wrong_host, https_expired, https_untrusted")
    parser.add_argument("--tls-port", type=int, default=0, help="port for TLS; 0 (default): any free one")
    parser.add_argument("--cert", type=Path, help="serve TLS with this certificate (chain) ...")
    parser.add_argument("--cert-key", type=Path, help="... and this private key")
    return parser.parse_args()


def _tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _listeners(arguments):
    """All sockets as {name: (socket, TLS context or None)}."""
    listeners = {"http": (listen(arguments.port), None)}
    if arguments.cert:
        context = _tls_context(arguments.cert, arguments.cert_key)
        listeners["https"] = (listen(arguments.tls_port), context)
    if arguments.certificates:
        certificates.make(arguments.certificates)
        for name in certificates.NAMES:
            context = _tls_context(arguments.certificates / f"{name}.pem", arguments.certificates / f"{name}.key")
            own = name == "server"
            if not (own and arguments.cert):
                listeners["https" if own else f"https_{name}"] = (listen(arguments.tls_port if own else 0), context)
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
    server = Server(Endpoints(arguments.key), Script(), journal)
    listeners = _listeners(arguments)
    accepting = [loop.create_task(server.accept(listener, tls)) for listener, tls in listeners.values()]
    _write_ports(arguments.port_file, listeners)
    await asyncio.wait([loop.create_task(stopped.wait()), *accepting], return_when=asyncio.FIRST_COMPLETED)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(_arguments())))
