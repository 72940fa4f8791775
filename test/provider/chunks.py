"""A completion as the chunks of a stream: deltas of role, reasoning, text and tool calls, a finish, the usage.

The order is OpenAI's; what a dialect does otherwise is said by its Shape.
"""

import sse
from vendor_types import checked


def split(whole, body, shape, behaviour):
    """The chunks (dicts) for a neutral completion that answers `body`."""
    shared = {name: value for name, value in whole.items() if name not in ("choices", "usage")} | shape.always
    shared["object"] = "chat.completion.chunk"
    options = body.get("stream_options") or {}
    chunks = [{**shared, "choices": [choice]} for each in whole["choices"] for choice in _choices(each, shape)]
    if not behaviour.no_usage:
        chunks = _with_usage(chunks, shape.usage(whole["usage"]), shape, options.get("include_usage"))
    return [checked(shape.vendor.chunk, chunk) for chunk in shape.stream(chunks, options)]


def _with_usage(chunks, usage, shape, asked):
    """The chunks with the usage where the shape has it."""
    *before, last = chunks
    if shape.usage_in == "finish":
        return [*before, {**last, "usage": usage}]
    if shape.usage_in == "extra":
        empty = {**last["choices"][0], "delta": shape.each_delta, "finish_reason": None}
        return [*chunks, {**last, "choices": [empty], "usage": usage}]
    if not asked:
        return chunks
    return [*({**chunk, "usage": None} for chunk in chunks), {**last, "choices": [], "usage": usage}]


def _choices(whole, shape):
    """One choice of an answer as the choices of its chunks."""
    message = whole["message"]
    calls = list(_calls(message.get("tool_calls") or [], shape.calls))
    final = calls.pop() if calls and shape.calls == "final" else {}
    deltas = [{"role": "assistant", "content": "" if message["content"] else None, "refusal": None},
              *_texts(message), *calls]
    begun = {"index": whole["index"], "logprobs": None, "finish_reason": None}
    choices = [{**begun, "delta": {**shape.each_delta, **shape.words(delta)}} for delta in deltas]
    finish = {**shape.each_delta, **shape.words(final)}
    return [*choices, {**begun, "delta": finish, "finish_reason": whole["finish_reason"]}]


def _texts(message):
    """The deltas of reasoning, refusal and content, a word each."""
    for member in ("reasoning", "refusal", "content"):
        for word in sse.words(message.get(member) or ""):
            yield {member: word}


def _calls(calls, way):
    """The deltas of tool calls."""
    calls = [{"index": index, **call} for index, call in enumerate(calls)]
    if way == "final":
        yield from [{"tool_calls": calls}] if calls else []
        return
    for call in calls:
        if way == "whole":
            yield {"tool_calls": [call]}
            continue
        function = call["function"]
        yield {"tool_calls": [{**call, "function": {**function, "arguments": ""}}]}
        for piece in sse.halves(function["arguments"]):
            more = {"arguments": piece}
            yield {"tool_calls": [{**call, "function": {**function, **more}} if way == "repeated"
                                  else {"index": call["index"], "function": more}]}
