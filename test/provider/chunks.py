"""A completion as the chunks of a stream: deltas of role, reasoning, text and tool calls, a finish, the usage.

Chunks are built from the SDK's own type, as the completion was. What differs between providers is StreamWays.
"""

from dataclasses import dataclass

from openai.types.chat import ChatCompletionChunk

import sse


@dataclass(frozen=True)
class StreamWays:
    """How a dialect's streams differ from OpenAI's."""


def split(answer, body, dialect, behaviour):
    """The chunks (dicts) for a completion that answers `body`."""
    shared = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    shared["object"] = "chat.completion.chunk"
    asked = (body.get("stream_options") or {}).get("include_usage") and not behaviour.no_usage
    nothing_yet = {"usage": None} if asked else {}
    chunks = [{**shared, "choices": [choice], **nothing_yet}
              for whole in answer["choices"] for choice in _choices(whole)]
    if asked:
        chunks.append({**shared, "choices": [], "usage": answer["usage"]})
    return [ChatCompletionChunk.model_validate(chunk).model_dump(mode="json", exclude_unset=True) for chunk in chunks]


def _choices(whole):
    """One choice of an answer as the choices of its chunks."""
    deltas = [{"role": "assistant", "content": "", "refusal": None}, *_deltas(whole["message"])]
    choices = [{"index": whole["index"], "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    return [*choices, {**choices[0], "delta": {}, "finish_reason": whole["finish_reason"]}]


def _deltas(message):
    """A message's deltas after the first one."""
    for member in ("refusal", "content"):
        for word in sse.words(message.get(member) or ""):
            yield {member: word}
    for index, call in enumerate(message.get("tool_calls") or []):
        arguments = call["function"]["arguments"]
        begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        yield {"tool_calls": [begun]}
        for piece in sse.halves(arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
