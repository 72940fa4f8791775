"""seeds.py DIRECTORY: makes the fuzzer's first inputs there, corpus/TARGET/*, and a dictionary for each, dictionary/TARGET.

They are taken from the golden tests of the formats (test/modules/formats/sql), which have the answers, streams and errors
of every vendor as SQL literals; what is cut out wrongly does no harm. For requests, and for answers in OpenAI's format,
there are collected ones besides (test/fuzz/corpus). Prints the targets, a line each: fuzz.c says what the bytes mean.
"""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
GOLDEN = PROJECT / "test/modules/formats/sql"
# OpenAI's format has several files.
FILES = {"openai": ["answer", "failure", "usage", "openai_stream"]}
STREAMS, GOOD, BAD, LIMITED = 0x80, 0x00, 0x03, 0x06
PIECES = {1: 0x00, 7: 0x03}
WHOLE = 0x80
SEPARATOR = b"\x1e"
LITERAL = re.compile(r"\$\$(.*?)\$\$|(E?)'((?:[^']|'')*)'", re.S)


def formats():
    """The formats that are registered."""
    return re.findall(r"&(\w+)_format,", (PROJECT / "src/providers/registry.c").read_text())


def unescape(text):
    """The text of an E'' literal; the octal escapes of bytea in it count as bytes."""
    text = re.sub(r"\\(n|r|t|\\|')", lambda found: {"n": "\n", "r": "\r", "t": "\t"}.get(found[1], found[1]), text)
    return re.sub(rb"\\([0-3][0-7]{2})", lambda found: bytes([int(found[1], 8)]), text.encode())


def statements(name):
    """The SQL of one file, with its psql variables put in and without its comments."""
    text = (GOLDEN / f"{name}.sql").read_text()
    variables = dict(re.findall(r"^\\set (\w+) '(.*)'$", text, re.M))
    text = re.sub(r"'\s*\|\|\s*:'(\w+)'\s*\|\|\s*'", lambda found: variables.get(found[1], ""), text)
    return re.split(r";$", re.sub(r"^\s*(--|\\).*$", "", text, flags=re.M), flags=re.M)


def literals(text):
    """The literals of a statement, as bytes."""
    for dollars, escapes, quoted in LITERAL.findall(text):
        if escapes:
            yield unescape(quoted.replace("''", "'"))
        else:
            yield (dollars or quoted.replace("''", "'")).encode()


def events(documents):
    """A stream of documents, named by their types as Anthropic does."""
    return b"".join(b"event: %s\ndata: %s\n\n" % (str(value.get("type")).encode(), document)
                    for document, value in documents)


def streams_in(text, found):
    """The streams that stand in a statement, or that its documents make."""
    yield from filter(is_stream, found)
    documents = [(literal, value) for literal, value in zip(found, map(parsed, found)) if isinstance(value, dict)]
    if "sse(" in text:
        yield events(documents)
    for document in documents:
        yield events([document])


def is_stream(literal):
    return re.search(rb"^(data|event):", literal, re.M) is not None


def parsed(literal):
    try:
        return json.loads(literal)
    except ValueError:
        return None


def is_exchange(value):
    """The answers to a request and to what follows it, as test_exchange takes them."""
    return isinstance(value, list) and value and all(
        isinstance(step, dict) and step.keys() & {"body", "events"} for step in value)


def joined(steps):
    return SEPARATOR.join(step["events"].encode() if "events" in step else json.dumps(step["body"]).encode()
                          for step in steps if step.keys() & {"body", "events"})


def seeds():
    """Pairs of a target and an input."""
    for name in formats():
        texts = [text for file in FILES.get(name, [name]) for text in statements(file)]
        found = [literal for text in texts for literal in literals(text)]
        streams = {stream for text in texts for stream in streams_in(text, list(literals(text)))}
        # Where a stream is not the first answer: what names it.
        asked = [joined([value]) for value in map(parsed, found)
                 if isinstance(value, dict) and "stream" in (value.get("body") or {}).get("urls", {})][:1]
        for literal in found:
            value = parsed(literal)
            if is_exchange(value):
                for first in (GOOD, STREAMS):
                    yield f"response_{name}", bytes([first]) + joined(value)
                yield f"stream_{name}", bytes([PIECES[7]]) + joined(value)
            elif b'"role"' in literal and isinstance(value, list):
                yield "request", literal
            elif literal[:1] in (b"{", b"[", b"<"):
                for first in (GOOD, STREAMS, BAD, LIMITED):
                    yield f"response_{name}", bytes([first]) + literal
        for literal in streams:
            yield "sse", bytes([len(literal) % 256, 7]) + literal
            yield f"stream_{name}", bytes([PIECES[1]]) + literal
            yield f"stream_{name}", bytes([PIECES[7] | WHOLE]) + literal
            for prediction in asked:
                for last in (b'{"status":"succeeded","output":"x"}', b'{"status":"failed","error":"late"}'):
                    yield f"stream_{name}", bytes([PIECES[7]]) + SEPARATOR.join([prediction, literal, last])
    for text in re.findall(r"\$q\$(.*?)\$q\$", (GOLDEN / "redaction.sql").read_text(), re.S):
        for known in (4, 7):
            yield "redaction", bytes([known]) + text.encode()
    for target, file in (("request", "request"), ("response_openai", "response")):
        for seed in (PROJECT / "test/fuzz/corpus" / file).iterdir():
            yield target, seed.read_bytes()


def write_dictionary(path, inputs):
    """The words in quotes and the fields of events."""
    words = {word for seed in inputs for word in re.findall(rb'"[\w./-]{1,40}"', seed)}
    words |= {b"data: ", b"event: ", b"\n\n", b"[DONE]", SEPARATOR, b"\\u0000", b"\\ud800", b"1e400"}
    with path.open("w") as file:
        for word in sorted(words)[:1000]:
            file.write('"' + "".join(chr(c) if 0x20 <= c < 0x7f and c not in b'"\\' else f"\\x{c:02x}" for c in word) + '"\n')


def main():
    directory = Path(sys.argv[1])
    shutil.rmtree(directory / "corpus", ignore_errors=True)
    (directory / "dictionary").mkdir(parents=True, exist_ok=True)
    targets = {"sse": set(), "request": set(), "redaction": set()}
    for name in formats():
        targets[f"response_{name}"] = set()
        targets[f"stream_{name}"] = set()
    for target, seed in seeds():
        if len(seed) <= 4096:
            targets[target].add(seed)
    for target, inputs in targets.items():
        (directory / "corpus" / target).mkdir(parents=True)
        for seed in inputs:
            (directory / "corpus" / target / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        write_dictionary(directory / "dictionary" / target, inputs)
        print(target)


if __name__ == "__main__":
    main()
