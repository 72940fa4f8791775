"""Completions: deterministic answers to valid requests, in the form that is neutral between dialects (see shapes.py).

Unless a script says otherwise the answer echoes the last message, a tool is called when it must be or when the last
user message says `call NAME`, and a JSON answer is the smallest value that fits the schema. Tokens are counted by a
rule that a test can do in its head; see README.md.
"""

import copy
import json
import re

import rules
from shapes import CREATED
from vendor_types import checked

_BYTES_A_TOKEN = 4
_TOKENS_A_MESSAGE = 3
_USAGE_DETAILS = {"cached_tokens": "prompt_tokens_details", "cache_write_tokens": "prompt_tokens_details",
                  "reasoning_tokens": "completion_tokens_details"}


def count_text(text):
    """Tokens of a text: its UTF-8 bytes divided by four, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)


def count_prompt(body):
    """Tokens of a request: its texts and tools, three for each message, three for the answer's beginning."""
    texts = [rules.text_of(message) for message in body["messages"]]
    calls = [call["function"]["arguments"] for message in body["messages"] for call in message.get("tool_calls") or []
             if "function" in call]
    tools = [json.dumps(body["tools"])] if body.get("tools") else []
    counted = (text if isinstance(text, str) else json.dumps(text) for text in texts + calls + tools)
    return sum(map(count_text, counted)) + _TOKENS_A_MESSAGE * (len(body["messages"]) + 1)


def complete(body, dialect, behaviour, number):
    """The neutral chat.completion (a dict) for a valid request; `number` is the request's own."""
    message, finish_reason = _message(body, dialect, behaviour, number)
    produced = (message.get("content") or "") + "".join(
        call["function"]["arguments"] for call in message.get("tool_calls", []))
    counts = [count_text(text) * (body.get("n") or 1) for text in (produced, behaviour.reasoning or "")]
    if behaviour.reasoning is not None:
        message["reasoning"] = behaviour.reasoning
    choice = {"message": message, "logprobs": None, "finish_reason": finish_reason}
    answer = {
        "id": f"chatcmpl-simulated-{number}", "object": "chat.completion", "created": CREATED, "model": body["model"],
        "choices": [{"index": index, **choice} for index in range(body.get("n") or 1)],
        "usage": _usage(body, *counts)}
    if dialect.tells_tier and body.get("service_tier"):
        answer["service_tier"] = "default" if body["service_tier"] == "auto" else body["service_tier"]
    return answer


def whole(answer, shape):
    """A neutral completion in a dialect's words, which its vendor's SDK knows."""
    choices = [{**choice, "message": shape.words(choice["message"])} for choice in answer["choices"]]
    answer = {**answer, **shape.always, "choices": choices, "usage": shape.usage(answer["usage"])}
    return checked(shape.vendor.completion, shape.whole(answer))


def script(answer, behaviour):
    """A completion or a chunk (a dict, changed in place) with the scripted usage and finish reason, of any type."""
    for holder in (answer, answer.get("x_groq", {})):
        if holder.get("usage"):
            holder["usage"] = _script_usage(holder["usage"], behaviour.usage)
    for choice in answer["choices"]:
        if behaviour.finish_reason and choice["finish_reason"]:
            choice["finish_reason"] = behaviour.finish_reason
    return answer


def _message(body, dialect, behaviour, number):
    """The answer's message and why it ended."""
    message = {"role": "assistant", "content": None, "refusal": None}
    if behaviour.refusal is not None:
        return {**message, "refusal": behaviour.refusal}, "stop"
    if behaviour.huge_mb:
        return {**message, "content": "a" * (behaviour.huge_mb << 20)}, "stop"
    if behaviour.content is not None:
        return {**message, "content": behaviour.content}, "stop"
    calls = behaviour.tool_calls or _wanted_calls(body, dialect, number)
    if calls:
        return {**message, "tool_calls": calls}, "tool_calls"
    content, finish_reason = _limited(_content(body), body)
    return {**message, "content": content}, finish_reason


def _wanted_calls(body, dialect, number):
    """The tool call that the request asks for, as a list of none or one."""
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or [] if "function" in tool}
    choice, last = body.get("tool_choice", "auto"), body["messages"][-1]
    if not tools or choice == "none":
        return []
    asked = re.search(r"\bcall ([\w-]+)", rules.text_of(last)) if last["role"] == "user" else None
    if isinstance(choice, dict) and "function" in choice:
        name = choice["function"]["name"]
    elif asked and asked[1] in tools:
        name = asked[1]
    elif choice in ("required", "any"):
        name = next(iter(tools))
    else:
        return []
    arguments = json.dumps(sample(tools[name].get("parameters") or {"type": "object"}))
    return [{"id": dialect.call_id(f"{number} {name}"), "type": "function",
             "function": {"name": name, "arguments": arguments}}]


def _content(body):
    last = body["messages"][-1]
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(sample(wanted["json_schema"].get("schema", {})))
    if wanted.get("type") == "json_object":
        return json.dumps({"echo": rules.text_of(last)}, ensure_ascii=False)
    return f"You said: {rules.text_of(last)}" if last["role"] != "tool" else f"The tool said: {rules.text_of(last)}"


def _limited(content, body):
    """The content up to a stop sequence and the output limit, with the finish reason."""
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        content = content.split(stop, 1)[0]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit and count_text(content) > limit:
        return content.encode()[:limit * _BYTES_A_TOKEN].decode("utf-8", "ignore"), "length"
    return content, "stop"


def _usage(body, produced, reasoning):
    prompt_tokens, completion_tokens = count_prompt(body), produced + reasoning
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens, "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": reasoning}}


def _script_usage(usage, scripted):
    """The usage with scripted members, of any type, in their places; the total follows where both counts are integers.
    """
    usage = copy.deepcopy(usage)
    for member, value in scripted.items():
        group = _USAGE_DETAILS.get(member)
        (usage.setdefault(group, {}) if group else usage)[member] = value
    counts = (usage["prompt_tokens"], usage["completion_tokens"])
    if "total_tokens" not in scripted and all(isinstance(count, int) for count in counts):
        usage["total_tokens"] = sum(counts)
    return usage


def sample(schema):
    """The smallest value that fits a JSON schema made of the common keywords."""
    if isinstance(schema, bool):
        return None
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0])
    kind = schema.get("type", "object" if "properties" in schema else "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: sample(inner) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {}))] * schema.get("minItems", 0)
    return {"string": "text", "integer": 1, "number": 1.5, "boolean": True}.get(kind)
