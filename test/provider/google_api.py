"""The format of Google's Gemini API: checks key and request and makes the answer or its stream of chunks.

Requests are checked by google_rules.py; answers are built from the official SDK's own types. A request is put in
OpenAI's terms to be answered, so that equal questions get equal answers from every format.
"""

import hashlib
import json
import re

from google.genai import types

import answers
import google_rules
import payloads
import sse
from api_format import Format, Outcome
from refusals import Refusal
from responses import event_stream, json_response

_CALL = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent)")
_MODEL = re.compile(r"/v1beta/models/([^/:]+)")
_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
             429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE",
             504: "DEADLINE_EXCEEDED"}
_FINISH_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}
_THOUGHT = "Thinking."
_BAD_KEY = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
             "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}]


class Google(Format):
    """generateContent, its stream, and the list of models."""

    name = "google"
    prefixes = ("/google",)
    tells_tier = False

    def answer(self, path, request, behaviour, number):
        streamed = path.endswith(":streamGenerateContent")
        try:
            self._check_key(request)
            called = _CALL.fullmatch(path)
            if request.method == "POST" and called:
                body = google_rules.checked(_json_of(request), called[1])
                return Outcome(self._content(body, called[1], streamed, request, behaviour, number))
            return Outcome(json_response(200, _look_up(request, path)))
        except Refusal as refusal:
            told = self.error(refusal)
            listed = streamed and not _wants_events(request)
            return Outcome(json_response(refusal.status, [told] if listed else told), refusal.as_dict())

    def error(self, refusal):
        """The status word follows the HTTP status, unless a script has one as its type."""
        status = refusal.type if refusal.type.isupper() else _STATUSES.get(refusal.status, "UNKNOWN")
        details = {"details": refusal.detail} if refusal.detail else {}
        return {"error": {"code": refusal.status, "message": refusal.message, "status": status, **details}}

    def stream_error(self, refusal):
        return sse.event(self.error(refusal))

    def model(self, path, body):
        called = _CALL.fullmatch(path)
        return called and called[1]

    @staticmethod
    def call_id(seed):
        return "call-" + hashlib.sha256(seed.encode()).hexdigest()[:12]

    def _check_key(self, request):
        if "key" in request.query:
            raise Refusal("The API key is sent in the header x-goog-api-key, where no log shows it.")
        key = request.header("x-goog-api-key")
        if not key:
            raise Refusal("Method doesn't allow unregistered callers (callers without established identity). Please "
                          "use API Key or other form of API consumer identity to call this API.", status=403)
        if not self.keys.accept(key):
            raise Refusal("API key not valid. Please pass a valid API key.", detail=_BAD_KEY)

    def _content(self, body, model, streamed, request, behaviour, number):
        try:
            whole = _answer(body, model, self, behaviour, number)
            if not streamed:
                return json_response(200, payloads.edited(_scripted(whole, behaviour), behaviour))
            chunks = _chunks(whole)
            chunks[-1] = _scripted(chunks[-1], behaviour)
            if behaviour.no_usage:
                chunks = [{name: value for name, value in chunk.items() if name != "usageMetadata"} for chunk in chunks]
            chunks = payloads.edited_events(chunks, behaviour)
            return event_stream(list(map(sse.event, chunks))) if _wants_events(request) else json_response(200, chunks)
        except (LookupError, TypeError, ValueError) as error:
            return self.misfit(error)


def _json_of(request):
    """The body, if it is said to be JSON; the API takes any other for a form."""
    if request.header("content-type").split(";")[0].strip().lower() != "application/json":
        raise Refusal("Invalid JSON payload received. Unknown name \"{\": Cannot bind query parameter.")
    return request.body


def _wants_events(request):
    return request.query.get("alt") == ["sse"]


# Models -------------------------------------------------------------------------------------------------------------

def _look_up(request, path):
    """What a GET answers: a page of the models, or one of them."""
    names, asked = list(google_rules.MODELS), _MODEL.fullmatch(path)
    if request.method == "GET" and path == "/v1beta/models":
        begin, size = _number(request, "pageToken", 0), _number(request, "pageSize", 50) or 50
        more = {"nextPageToken": str(begin + size)} if begin + size < len(names) else {}
        return {"models": [_model(name) for name in names[begin:begin + size]], **more}
    if request.method == "GET" and asked and asked[1] in names:
        return _model(asked[1])
    raise Refusal(f"{path} is not found for API version v1beta, or is not supported for {request.method}.", status=404)


def _number(request, name, default):
    given = request.query.get(name, [str(default)])[0]
    if not given.isdecimal():
        raise Refusal(f"Invalid value at '{name}' (TYPE_INT32), \"{given}\"")
    return int(given)


def _model(name):
    taken, given = google_rules.MODELS[name]
    model = types.Model(name=f"models/{name}", display_name=name, version="001", input_token_limit=taken,
                        output_token_limit=given, thinking=True)
    return {**_dumped(model), "supportedGenerationMethods": ["generateContent", "countTokens"]}


# Answers ------------------------------------------------------------------------------------------------------------

def _in_openais_terms(body, model):
    """The request as OpenAI's chat completions would have it, as far as it matters to the answer."""
    config = google_rules.config(body)
    messages = [message for content in body["contents"] for message in _split_content(content)]
    if body.get("systemInstruction"):
        messages.insert(0, {"role": "system", "content": body["systemInstruction"]["parts"]})
    asked = {"model": model, "messages": messages, "stop": config.get("stopSequences"),
             "max_completion_tokens": config.get("maxOutputTokens"), "n": config.get("candidateCount")}
    if google_rules.functions(body):
        asked["tools"] = [{"type": "function", "function": _function(each)} for each in google_rules.functions(body)]
        asked["tool_choice"] = _choice((body.get("toolConfig") or {}).get("functionCallingConfig") or {})
    if config.get("responseMimeType") == "application/json":
        asked["response_format"] = _format(config)
    return asked


def _function(declaration):
    described = {"description": declaration["description"]} if "description" in declaration else {}
    schema = declaration.get("parametersJsonSchema") or _json_schema(declaration.get("parameters") or {})
    return {"name": declaration["name"], **described, "parameters": schema}


def _choice(calling):
    mode, allowed = calling.get("mode", "AUTO").upper(), calling.get("allowedFunctionNames")
    if mode == "ANY" and allowed:
        return {"type": "function", "function": {"name": allowed[0]}}
    return {"ANY": "required", "NONE": "none"}.get(mode, "auto")


def _format(config):
    schema = config.get("responseJsonSchema") or _json_schema(config.get("responseSchema") or {})
    return {"type": "json_schema", "json_schema": {"schema": schema}} if schema else {"type": "json_object"}


def _json_schema(schema):
    """A schema of the OpenAPI kind as JSON schema: the names of its types are in lower case."""
    if isinstance(schema, list):
        return [_json_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: value.lower() if key == "type" and isinstance(value, str) else _json_schema(value)
            for key, value in schema.items()}


def _split_content(content):
    """A content as OpenAI's messages: each function response is one, and so is the rest, with the calls it makes."""
    rest, calls = [], []
    for part in content["parts"]:
        if "functionResponse" in part:
            yield {"role": "tool", "content": _text_of(part["functionResponse"]["response"])}
        elif "functionCall" in part:
            arguments = json.dumps(part["functionCall"].get("args") or {})
            calls.append({"function": {"name": part["functionCall"]["name"], "arguments": arguments}})
        elif not part.get("thought"):
            rest.append(part)
    if rest or calls:
        role = "assistant" if content.get("role") == "model" else "user"
        yield {"role": role, "content": rest, "tool_calls": calls}


def _text_of(response):
    """What a function said: the text that is its only output or error, else all of it as JSON."""
    (name, value), *more = response.items() or [("", None)]
    return value if name in ("output", "error") and isinstance(value, str) and not more else json.dumps(response)


def _answer(body, model, api_format, behaviour, number):
    """The whole answer, with a fair usage. A scripted refusal is a blocked prompt."""
    thinking = google_rules.config(body).get("thinkingConfig") or {}
    if behaviour.reasoning is None and thinking.get("includeThoughts"):
        behaviour = behaviour.model_copy(update={"reasoning": _THOUGHT})
    completion = answers.complete(_in_openais_terms(body, model), api_format, behaviour, number)
    answer = {"modelVersion": model, "responseId": f"simulated-{number}", "usageMetadata": _usage(completion["usage"])}
    if behaviour.refusal is not None:
        return _typed({**answer, "promptFeedback": {"blockReason": "SAFETY"}})
    answer["candidates"] = [{
        "index": choice["index"], "finishReason": _FINISH_REASONS[choice["finish_reason"]],
        "content": {"role": "model", "parts": list(_parts(choice["message"], model))}}
        for choice in completion["choices"]]
    return _typed(answer)


def _usage(usage):
    """A usage of OpenAI's as Google tells it."""
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    return {"promptTokenCount": usage["prompt_tokens"], "totalTokenCount": usage["total_tokens"],
            "candidatesTokenCount": usage["completion_tokens"] - thought,
            **({"thoughtsTokenCount": thought} if thought else {})}


def _parts(message, model):
    """A message of OpenAI's as parts. Gemini 3 signs the first call or the text, and gives its calls ids."""
    signs = google_rules.generation(model) >= (3, 0)
    if "reasoning" in message:
        yield {"text": message["reasoning"], "thought": True}
    if message["content"] is not None:
        yield {"text": message["content"], **({"thoughtSignature": google_rules.SIGNATURE} if signs else {})}
    for index, call in enumerate(message.get("tool_calls", [])):
        part = {"functionCall": {"name": call["function"]["name"], "args": json.loads(call["function"]["arguments"])}}
        if signs:
            part["functionCall"]["id"] = call["id"]
        if signs and index == 0:
            part["thoughtSignature"] = google_rules.SIGNATURE
        yield part


def _typed(answer):
    """An answer as the SDK's type has it on the wire."""
    return _dumped(types.GenerateContentResponse.model_validate_json(json.dumps(answer), strict=True))


def _dumped(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


# Chunks -------------------------------------------------------------------------------------------------------------

def _chunks(whole):
    """The chunks (dicts) that stream an answer, each an answer that holds the next parts and the usage so far."""
    if "candidates" not in whole:
        return [whole]
    shared = {name: whole[name] for name in ("modelVersion", "responseId")}
    candidates = [piece for candidate in whole["candidates"] for piece in _pieces(candidate)]
    prompt, said = whole["usageMetadata"]["promptTokenCount"], ""
    chunks = []
    for candidate in candidates:
        said += "".join(part.get("text", "") for part in candidate["content"]["parts"] if not part.get("thought"))
        so_far = answers.count_text(said)
        usage = {"promptTokenCount": prompt, "candidatesTokenCount": so_far, "totalTokenCount": prompt + so_far}
        chunks.append({"candidates": [candidate], "usageMetadata": usage, **shared})
    chunks[-1]["usageMetadata"] = whole["usageMetadata"]
    return list(map(_typed, chunks))


def _pieces(candidate):
    """A candidate in pieces: texts by the word, calls whole; a signed text ends with a piece of the signature alone."""
    parts = [piece for part in candidate["content"]["parts"] for piece in _split_part(part)]
    for place, part in enumerate(parts):
        ending = {"finishReason": candidate["finishReason"]} if place == len(parts) - 1 else {}
        yield {"index": candidate["index"], "content": {"role": "model", "parts": [part]}, **ending}


def _split_part(part):
    if "text" not in part:
        return [part]
    words = [{**part, "text": word} for word in sse.words(part["text"])]
    if "thoughtSignature" not in part:
        return words or [part]
    unsigned = [{name: value for name, value in word.items() if name != "thoughtSignature"} for word in words]
    return [*unsigned, {**part, "text": ""}]


# Scripted members, of any type --------------------------------------------------------------------------------------

def _scripted(answer, behaviour):
    """An answer or its last chunk (a dict, changed in place) with the scripted usage and finish reason."""
    if behaviour.usage:
        answer["usageMetadata"] = _scripted_usage(answer["usageMetadata"], behaviour.usage)
    for candidate in answer.get("candidates", []):
        if behaviour.finish_reason and "finishReason" in candidate:
            candidate["finishReason"] = behaviour.finish_reason
    return answer


def _scripted_usage(usage, scripted):
    """Members have Google's names or those that every format knows; completion_tokens has the thoughts in it."""
    named = dict(scripted)
    named.pop("cache_write_tokens", None)
    usage = dict(usage)
    for name, googles in (("prompt_tokens", "promptTokenCount"), ("cached_tokens", "cachedContentTokenCount"),
                          ("reasoning_tokens", "thoughtsTokenCount"), ("total_tokens", "totalTokenCount")):
        if name in named:
            usage[googles] = named.pop(name)
    thoughts = usage.get("thoughtsTokenCount", 0)
    if "completion_tokens" in named:
        produced = named.pop("completion_tokens")
        whole = isinstance(produced, int) and isinstance(thoughts, int)
        usage["candidatesTokenCount"] = produced - thoughts if whole else produced
    usage |= named
    counts = (usage.get("promptTokenCount"), usage.get("candidatesTokenCount", 0), usage.get("thoughtsTokenCount", 0))
    if not {"total_tokens", "totalTokenCount"} & scripted.keys() and all(isinstance(count, int) for count in counts):
        usage["totalTokenCount"] = sum(counts)
    return usage
