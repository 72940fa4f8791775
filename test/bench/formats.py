"""What the benchmark of the API formats asks and what it is answered: a conversation of any size, and each vendor's answer."""

import json

SYSTEM = "You are the help desk of a garden centre. Answer in two sentences, and look prices up before you quote them."
WORDS = ("The spider in your greenhouse has eight legs and eats the aphids on the tomatoes, so let it stay; it is "
         "harmless, café “Zur Linde” sells honey, and\nthe price of the net is 12.50 a metre. ")
TOOLS = [{"type": "function", "function": {
    "name": "look_up_price", "description": "The price of an article",
    "parameters": {"type": "object", "required": ["article"],
                   "properties": {"article": {"type": "string"}, "currency": {"type": "string", "enum": ["EUR", "USD"]}}}}}]

# The format: a model to ask, and whether it is given tools.
MODELS = {
    "openai": ("gpt-4.1-mini", True),
    "anthropic": ("claude-sonnet-4-6", True),
    "google": ("gemini-2.5-flash", True),
    "cohere": ("command-a-03-2025", True),
    "replicate": ("meta/meta-llama-3-8b-instruct", False),
}


def text_of(length):
    return (WORDS * (length // len(WORDS) + 1))[:length]


def turns(number, tools):
    """Two exchanges, of about 900 bytes as JSON; the first one with a tool call, for formats that have them."""
    call = f"call_{number:06}_0f9e8d7c6b5a"
    yield {"role": "user", "content": text_of(160)}
    if tools:
        yield {"role": "assistant", "content": None, "tool_calls": [{"id": call, "type": "function", "function": {
            "name": "look_up_price", "arguments": json.dumps({"article": f"net {number}", "currency": "EUR"})}}]}
        yield {"role": "tool", "tool_call_id": call, "content": json.dumps({"price": 12.5, "unit": "m", "stock": number})}
    yield {"role": "assistant", "content": text_of(180 if tools else 480)}


def conversation(size, tools):
    """A conversation of about that many bytes, as JSON, which ends with a question."""
    messages = [{"role": "system", "content": SYSTEM}]
    length = len(json.dumps(messages)) + 150
    number = 0
    while length < size:
        more = list(turns(number, tools))
        length += len(json.dumps(more, ensure_ascii=False).encode())
        messages += more
        number += 1
    return [*messages, {"role": "user", "content": text_of(100)}]


def answer(name, size):
    """A whole answer as the vendor sends it, with a text of about that many bytes and the rest of what is in it."""
    model, text = MODELS[name][0], text_of(size)
    bodies = {
        "openai": {
            "id": "chatcmpl-CfA1b2C3d4E5f6G7h8I9j0K1L2M3", "object": "chat.completion", "created": 1764000000,
            "model": model, "choices": [{"index": 0, "message": {
                "role": "assistant", "content": text, "refusal": None, "annotations": []},
                "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 250, "completion_tokens": 150, "total_tokens": 400,
                      "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                      "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}},
            "service_tier": "default", "system_fingerprint": "fp_560af6e559"},
        "anthropic": {
            "id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 250, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                      "output_tokens": 150, "service_tier": "standard"}},
        "google": {
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 250, "candidatesTokenCount": 150, "totalTokenCount": 400,
                              "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 250}]},
            "modelVersion": model, "responseId": "mAAQaZ2dLsqwnsEP1c2AyQE"},
        "cohere": {
            "id": "c14c80c3-18eb-4519-9460-6c92edd8cfb4", "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
            "usage": {"billed_units": {"input_tokens": 240, "output_tokens": 150},
                      "tokens": {"input_tokens": 250, "output_tokens": 150}}},
        "replicate": {
            "id": "gm3qorzdhgbfurvjtvhg6dckhu", "model": model, "version": "hidden", "status": "succeeded",
            "input": {"prompt": "hidden"}, "output": [text[i:i + 5] for i in range(0, len(text), 5)], "logs": "",
            "error": None, "created_at": "2026-11-23T12:00:00.000Z", "completed_at": "2026-11-23T12:00:01.000Z",
            "metrics": {"predict_time": 1.2, "input_token_count": 250, "output_token_count": 150}},
    }
    return bodies[name]
