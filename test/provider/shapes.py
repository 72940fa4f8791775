"""What the dialects' answers look like, whole and streamed, one Shape each.

answers.py makes one neutral completion for all: OpenAI's, with all counts of tokens, and `reasoning` in its message
where a script wants some. A Shape puts it into a vendor's words; vendor_types.py says whether these are right.
"""

from dataclasses import dataclass, field
from typing import Callable

import vendor_types
from vendor_types import Vendor

CREATED = 1764000000
"""Every answer's time of creation, so that answers can be compared as a whole."""

_FINGERPRINT = "fp_simulated"
_COST_A_TOKEN = 0.000001
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_OBFUSCATION = "simulated"


# Messages and deltas -------------------------------------------------------------------------------------------------

def _words(reasoning=None, refusal=False):
    """How a vendor names the parts of a message or delta: its member for reasoning, if it shows any, and refusals."""
    def speak(part):
        said = {name: value for name, value in part.items() if name != "reasoning" and (refusal or name != "refusal")}
        if reasoning and "reasoning" in part:
            said[reasoning] = part["reasoning"]
        return said
    return speak


def _openrouter_words(part):
    if "reasoning" not in part:
        return part
    return {**part, "reasoning_details": [{"type": "reasoning.text", "text": part["reasoning"], "index": 0}]}


def _together_words(part):
    said = _words(reasoning="reasoning")(part)
    if "tool_calls" in said:
        said["tool_calls"] = [{"index": index, **call} for index, call in enumerate(said["tool_calls"])]
    return said


def _mistral_words(part):
    """Reasoning is a part of the content; the text after it is another in a message, and plain in a delta."""
    said = _words()(part)
    if "reasoning" not in part:
        return said
    thoughts = [{"type": "thinking", "thinking": [{"type": "text", "text": part["reasoning"]}]}]
    text = [{"type": "text", "text": said["content"]}] if said.get("content") else []
    return {**said, "content": thoughts + text}


# Usage ---------------------------------------------------------------------------------------------------------------

def _all_counts(usage):
    return usage


def _three_counts(usage):
    return {name: usage[name] for name in _COUNTS}


def _openrouter_usage(usage):
    return {**usage, "cost": round(usage["total_tokens"] * _COST_A_TOKEN, 9)}


def _groq_usage(usage):
    return {**usage, "queue_time": 0.01, "prompt_time": 0.02, "completion_time": 0.03, "total_time": 0.05}


def _mistral_usage(usage):
    return {**_three_counts(usage), "prompt_tokens_details": usage["prompt_tokens_details"]}


# What else an answer has ---------------------------------------------------------------------------------------------

def _nothing(answer):
    return answer


def _nothing_more(chunks, _options):
    return chunks


def _obfuscated(chunks, options):
    """Chunks with a padding, unless stream_options say no."""
    if options.get("include_obfuscation") is False:
        return chunks
    return [{**chunk, "obfuscation": _OBFUSCATION} if chunk["choices"] else chunk for chunk in chunks]


def _native_finish(answer):
    """OpenRouter says what the provider behind it gave as finish reason, and which that was."""
    choices = [{**choice, "native_finish_reason": choice["finish_reason"]} for choice in answer["choices"]]
    return {**answer, "provider": "Simulated", "choices": choices}


def _openrouter_stream(chunks, _options):
    return [{**_native_finish(chunk), "system_fingerprint": _FINGERPRINT} for chunk in chunks]


def _groq_stream(chunks, _options):
    """The first and the last chunk tell the request's id, the last one the usage again."""
    told = {"id": f"req_{chunks[0]['id']}"}
    usage = {"usage": chunks[-1]["usage"]} if "usage" in chunks[-1] else {}
    return [{**chunks[0], "x_groq": told}, *chunks[1:-1], {**chunks[-1], "x_groq": {**told, **usage}}]


def _filters(**more):
    verdicts = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
    return {"content_filter_results": {**verdicts, **more}}


def _azure_whole(answer):
    choices = [{**choice, **_filters()} for choice in answer["choices"]]
    return {**answer, "choices": choices, "prompt_filter_results": [{"prompt_index": 0, **_filters()}]}


def _azure_stream(chunks, options):
    """First comes what the filters say of the prompt, in a chunk that has nothing else."""
    begin = {"choices": [], "created": 0, "id": "", "model": "", "object": "",
             "prompt_filter_results": [{"prompt_index": 0, **_filters()}]}
    filtered = [{**chunk, "choices": [{**choice, **_filters()} for choice in chunk["choices"]]} for chunk in chunks]
    return [begin, *_obfuscated(filtered, options)]


# The shapes ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Shape:
    """How a dialect's answers differ from the neutral ones.

    words       a message or a delta in the vendor's members
    usage       likewise the usage
    whole       what else a whole answer has
    stream      what else the chunks of a stream have, given the request's stream_options
    always      members of every answer and chunk
    each_delta  members of every delta that does not have them itself
    calls       how a tool call is streamed: its arguments in "fragments"; so, with id and name in each ("repeated");
                "whole" in one delta; whole in the "final" delta, which has the finish reason
    usage_in    where a stream has its usage: in a chunk of its own if "asked" for, in the "finish" chunk, or in an
                "extra" chunk with an empty delta
    opening     a comment before the first event
    """

    vendor: Vendor
    words: Callable = _words()
    usage: Callable = _all_counts
    whole: Callable = _nothing
    stream: Callable = _nothing_more
    always: dict = field(default_factory=dict)
    each_delta: dict = field(default_factory=dict)
    calls: str = "fragments"
    usage_in: str = "asked"
    opening: bytes = b""


_SPEAKER = {"role": "assistant", "content": ""}

OPENAI = Shape(vendor_types.OPENAI, _words(refusal=True), stream=_obfuscated)
AZURE = Shape(vendor_types.AZURE, _words(refusal=True), whole=_azure_whole, stream=_azure_stream)
OPENAI_LIKE = Shape(vendor_types.OPENAI_LIKE, _words(reasoning="reasoning_content", refusal=True))
TOGETHER = Shape(vendor_types.TOGETHER, _together_words, _three_counts, each_delta=_SPEAKER, calls="whole",
                 usage_in="finish", whole=lambda answer: {**answer, "prompt": []})
OPENROUTER = Shape(vendor_types.OPENROUTER, _openrouter_words, _openrouter_usage, each_delta=_SPEAKER,
                   usage_in="extra", opening=b": OPENROUTER PROCESSING\n\n", stream=_openrouter_stream,
                   whole=lambda answer: {**_native_finish(answer), "system_fingerprint": None})
GROQ = Shape(vendor_types.GROQ, _words(reasoning="reasoning"), _groq_usage, stream=_groq_stream, calls="whole",
             usage_in="finish", always={"system_fingerprint": _FINGERPRINT},
             whole=lambda answer: {**answer, "x_groq": {"id": f"req_{answer['id']}"}})
MISTRAL = Shape(vendor_types.MISTRAL, _mistral_words, _mistral_usage, each_delta={"content": ""}, calls="final",
                usage_in="finish")
HUGGINGFACE = Shape(vendor_types.HUGGINGFACE, _words(reasoning="reasoning"), _three_counts, each_delta=_SPEAKER,
                    calls="repeated", always={"system_fingerprint": _FINGERPRINT})
