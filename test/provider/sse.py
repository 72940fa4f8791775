"""Server-sent events, and how a text becomes several of them."""

import json
import re

_MOST_WORDS = 500


def event(data, name=None, number=None):
    """The bytes of one event; `data` is text, or any other JSON value, `name` its type and `number` its id, if any."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    lines = [f"event: {name}"] if name else []
    lines += [f"id: {number}"] if number else []
    lines += [f"data: {line}" for line in text.split("\n")]
    return "\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass")


def words(text):
    """A text in pieces of a word each, with the space before it; very long texts in larger pieces."""
    found = re.findall(r"\s*\S+|\s+$", text)
    size = -(-len(found) // _MOST_WORDS) or 1
    return ["".join(found[start:start + size]) for start in range(0, len(found), size)]


def halves(text):
    """A text in two pieces, or one if it has but one character."""
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]
