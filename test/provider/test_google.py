"""Google's Gemini API: answers and streams as the official client reads them, and which requests are refused."""

import json

import pytest
from google import genai
from google.genai import errors, types

import google_rules
from harness import CALL, KEY

HEADERS = {"x-goog-api-key": KEY, "Content-Type": "application/json"}
OLD, NEW = "gemini-2.5-flash", "gemini-3.6-flash"
HELLO = [{"role": "user", "parts": [{"text": "Hello"}]}]
WEATHER = {"name": "weather", "parametersJsonSchema": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}
TOOLS = [{"functionDeclarations": [WEATHER]}]
ANY = {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}
USE = {"functionCall": {"name": "weather", "args": {}}}
RESULT = {"functionResponse": {"name": "weather", "response": {"output": "rain"}}}


@pytest.fixture
def client(provider):
    """The official client's models."""
    options = types.HttpOptions(base_url=f"http://127.0.0.1:{provider.ports['http']}/google", api_version="v1beta",
                                timeout=5000)
    with genai.Client(api_key=KEY, http_options=options) as client:
        yield client.models


def generate(client, contents="Hello", model=OLD, **config):
    return client.generate_content(model=model, contents=contents, config=config)


def send(provider, body=None, model=OLD, method="generateContent", **members):
    """A request without the client: (status, headers, answer)."""
    return provider.call("POST", f"/google/v1beta/models/{model}:{method}",
                         {"contents": HELLO, **(body or {}), **members}, HEADERS)


def stream(provider, body=None, model=OLD, **members):
    """The body of a streamed answer."""
    return send(provider, body, model, "streamGenerateContent?alt=sse", **members)[2]


def chunks(body):
    """The values of a stream's data lines."""
    return [json.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n") if line]


def conversation(*turns, **members):
    """Contents by user and model in turn, each given by its parts."""
    return {"contents": [{"role": ("user", "model")[place % 2], "parts": parts} for place, parts in enumerate(turns)],
            "tools": TOOLS, **members}


def text(value):
    return {"text": value}


# Answers ------------------------------------------------------------------------------------------------------------

def test_the_official_client_gets_an_answer(client):
    answer = generate(client)
    usage = answer.usage_metadata
    assert (answer.text, answer.candidates[0].finish_reason, answer.model_version) == ("You said: Hello", "STOP", OLD)
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (8, 4, 12)
    assert usage.thoughts_token_count is None


def test_equal_requests_get_equal_answers(provider):
    first, second = send(provider)[2], send(provider)[2]
    assert first.pop("responseId") != second.pop("responseId")
    assert first == second


def test_functions_are_called_when_required(client):
    answer = generate(client, **{"tools": TOOLS, "tool_config": ANY["toolConfig"]})
    assert [(call.name, call.args) for call in answer.function_calls] == [("weather", {"city": "text", "days": 1})]
    assert answer.candidates[0].finish_reason == "STOP"


def test_functions_are_called_when_the_text_says_so(provider):
    answer = send(provider, conversation([text("Please call weather now")]))[2]
    assert "functionCall" in answer["candidates"][0]["content"]["parts"][0]


def test_an_allowed_function_is_called(provider):
    config = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}
    tools = [{"functionDeclarations": [{"name": "other"}, WEATHER]}]
    answer = send(provider, tools=tools, toolConfig=config)[2]
    assert answer["candidates"][0]["content"]["parts"][0]["functionCall"]["name"] == "weather"


def test_arguments_fit_a_schema_of_the_openapi_kind(provider):
    declared = {"name": "f", "parameters": {"type": "OBJECT", "properties": {"days": {"type": "INTEGER"}}}}
    answer = send(provider, ANY, tools=[{"functionDeclarations": [declared]}])[2]
    assert answer["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"days": 1}


@pytest.mark.parametrize("response, said", [
    ({"output": "rain"}, "rain"), ({"error": "none"}, "none"), ({"a": 1}, '{"a": 1}')])
def test_the_response_of_a_function_is_echoed(provider, response, said):
    turns = [text("a")], [USE], [{"functionResponse": {"name": "weather", "response": response}}]
    answer = send(provider, conversation(*turns))[2]
    assert answer["candidates"][0]["content"]["parts"] == [text(f"The tool said: {said}")]


def test_the_system_instruction_counts(client):
    assert generate(client, system_instruction="Be kind.").usage_metadata.prompt_token_count == 8 + 2 + 3


def test_an_equal_question_counts_as_many_tokens_as_at_openai(provider):
    function = {"type": "function", "function": {"name": "weather", "parameters": WEATHER["parametersJsonSchema"]}}
    asked = [{"role": "user", "content": "Hello"}, {"role": "assistant", "tool_calls": [CALL]},
             {"role": "tool", "tool_call_id": "a", "content": "rain"}]
    usage = provider.chat(messages=asked, tools=[function])[2]["usage"]
    answer = send(provider, conversation([text("Hello")], [USE], [RESULT]))[2]["usageMetadata"]
    assert (answer["promptTokenCount"], answer["candidatesTokenCount"]) == (
        usage["prompt_tokens"], usage["completion_tokens"])


@pytest.mark.parametrize("schema", [
    {"responseJsonSchema": {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}}},
    {"responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "enum": ["x", "y"]}}}}])
def test_json_answers_fit_their_schema(provider, schema):
    answer = send(provider, generationConfig={"responseMimeType": "application/json", **schema})[2]
    assert answer["candidates"][0]["content"]["parts"] == [text('{"a": "x"}')]


def test_json_mode_echoes_in_json(client):
    assert generate(client, response_mime_type="application/json").text == '{"echo": "Hello"}'


def test_the_output_limit_ends_an_answer(client):
    answer = generate(client, max_output_tokens=2)
    assert (answer.text, answer.candidates[0].finish_reason) == ("You said", "MAX_TOKENS")


def test_stop_sequences_end_an_answer(client):
    assert generate(client, stop_sequences=["said"]).text == "You "


def test_several_candidates(client):
    answer = generate(client, candidate_count=3)
    assert [candidate.index for candidate in answer.candidates] == [0, 1, 2]
    assert answer.usage_metadata.candidates_token_count == 12


def test_thoughts_come_first_when_asked_for_and_count_apart(client):
    answer = generate(client, thinking_config={"include_thoughts": True})
    assert [(part.text, part.thought) for part in answer.candidates[0].content.parts] == [
        ("Thinking.", True), ("You said: Hello", None)]
    usage = answer.usage_metadata
    assert (usage.candidates_token_count, usage.thoughts_token_count, usage.total_token_count) == (4, 3, 15)


def test_gemini_3_signs_the_first_of_its_calls(provider):
    provider.script({"tool_calls": [CALL, {**CALL, "id": "b"}]})
    first, second = send(provider, model=NEW)[2]["candidates"][0]["content"]["parts"]
    assert first == {**USE, "functionCall": {**USE["functionCall"], "id": "a"},
                     "thoughtSignature": google_rules.SIGNATURE}
    assert "thoughtSignature" not in second


def test_older_models_neither_sign_nor_number_their_calls(provider):
    part = send(provider, ANY)[2]["candidates"][0]["content"]["parts"][0]
    assert (part.keys(), part["functionCall"].keys()) == ({"functionCall"}, {"name", "args"})


def test_an_answer_of_gemini_3_can_be_sent_back(provider):
    called = send(provider, ANY, NEW)[2]["candidates"][0]["content"]
    answer = send(provider, {"contents": [*HELLO, called, {"role": "user", "parts": [RESULT]}], "tools": TOOLS}, NEW)[2]
    assert answer["candidates"][0]["content"]["parts"][0]["text"] == "The tool said: rain"


def test_models_are_listed_by_the_page(client):
    pager = client.list(config={"page_size": 1})
    assert [model.name for model in pager.page] == ["models/gemini-2.5-flash-lite"]
    assert len(list(pager)) == len(google_rules.MODELS)
    assert client.get(model=OLD).input_token_limit == 1048576


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(errors.ClientError) as failure:
        client.get(model="no-such-model")
    assert failure.value.status == "NOT_FOUND"


# Streams ------------------------------------------------------------------------------------------------------------

def test_the_official_client_reads_a_stream(client):
    read = list(client.generate_content_stream(model=OLD, contents="Hello"))
    assert [chunk.text for chunk in read] == ["You", " said:", " Hello"]
    assert [chunk.candidates[0].finish_reason for chunk in read] == [None, None, "STOP"]


def test_usage_grows_in_a_stream(provider):
    read = [chunk["usageMetadata"] for chunk in chunks(stream(provider))]
    assert [usage["candidatesTokenCount"] for usage in read] == [1, 3, 4]
    assert read[-1] == {"promptTokenCount": 8, "candidatesTokenCount": 4, "totalTokenCount": 12}


def test_gemini_3_ends_its_texts_with_the_signature_alone(provider):
    last = chunks(stream(provider, model=NEW))[-1]["candidates"][0]
    assert last["content"]["parts"] == [{"text": "", "thoughtSignature": google_rules.SIGNATURE}]
    assert last["finishReason"] == "STOP"


def test_calls_are_streamed_whole(provider):
    chunk, = chunks(stream(provider, ANY))
    call = chunk["candidates"][0]["content"]["parts"][0]["functionCall"]
    assert call["args"] == {"city": "text", "days": 1}


def test_thoughts_are_streamed_first(provider):
    config = {"thinkingConfig": {"includeThoughts": True}}
    first = chunks(stream(provider, generationConfig=config))[0]["candidates"][0]["content"]["parts"]
    assert first == [{"text": "Thinking.", "thought": True}]


def test_each_candidate_is_streamed(provider):
    ends = [candidate["index"] for chunk in chunks(stream(provider, generationConfig={"candidateCount": 2}))
            for candidate in chunk["candidates"] if "finishReason" in candidate]
    assert ends == [0, 1]


def test_without_events_a_stream_is_a_list(provider):
    status, headers, answer = send(provider, method="streamGenerateContent")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in answer] == ["You", " said:", " Hello"]


def test_without_events_a_refusal_is_in_a_list(provider):
    status, _headers, answer = send(provider, {"contents": []}, method="streamGenerateContent")
    assert (status, answer[0]["error"]["status"]) == (400, "INVALID_ARGUMENT")


# Scripts ------------------------------------------------------------------------------------------------------------

def test_scripted_content_and_finish_reason(provider):
    provider.script({"content": "exactly this", "finish_reason": "NEW_REASON"})
    candidate = send(provider)[2]["candidates"][0]
    assert (candidate["content"]["parts"], candidate["finishReason"]) == ([text("exactly this")], "NEW_REASON")


def test_a_scripted_finish_reason_is_streamed(provider):
    provider.script({"finish_reason": "SAFETY"})
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks(stream(provider))] == [None, None, "SAFETY"]


def test_a_scripted_refusal_is_a_blocked_prompt(provider, client):
    provider.script({"refusal": "I will not."})
    answer = generate(client)
    assert (answer.candidates, answer.prompt_feedback.block_reason) == (None, "SAFETY")


def test_a_blocked_prompt_is_streamed_in_one_chunk(provider):
    provider.script({"refusal": "I will not.", "replace": {"promptFeedback.blockReason": "OTHER"}})
    chunk, = chunks(stream(provider))
    assert chunk["promptFeedback"] == {"blockReason": "OTHER"}


def test_scripted_reasoning_is_a_part_of_thoughts(provider):
    provider.script({"reasoning": "Hm, hm."})
    assert send(provider)[2]["candidates"][0]["content"]["parts"][0] == {"text": "Hm, hm.", "thought": True}


def test_scripted_usage_by_the_names_that_every_format_knows(provider):
    provider.script({"usage": {"prompt_tokens": 100, "completion_tokens": 50, "cached_tokens": 80,
                               "cache_write_tokens": 5, "reasoning_tokens": 40}})
    assert send(provider)[2]["usageMetadata"] == {
        "promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 40, "cachedContentTokenCount": 80,
        "totalTokenCount": 150}


def test_scripted_usage_by_googles_names(provider):
    provider.script({"usage": {"candidatesTokenCount": "many", "toolUsePromptTokenCount": 7}})
    usage = send(provider)[2]["usageMetadata"]
    assert (usage["candidatesTokenCount"], usage["toolUsePromptTokenCount"]) == ("many", 7)


def test_scripted_usage_is_the_last_that_is_streamed(provider):
    provider.script({"usage": {"prompt_tokens": 100}})
    assert [chunk["usageMetadata"]["promptTokenCount"] for chunk in chunks(stream(provider))] == [8, 8, 100]


def test_usage_can_be_kept_back(provider):
    provider.script({"no_usage": True})
    assert b"usageMetadata" not in stream(provider)


def test_edits_apply_to_answers_and_chunks(provider):
    part = "candidates.0.content.parts.0.text"
    provider.script({"replace": {part: 5}}, {"replace": {part: 5}}, {"remove": ["no.such"]})
    assert send(provider)[2]["candidates"][0]["content"]["parts"] == [{"text": 5}]
    assert stream(provider).count(b'"text": 5') == 3
    assert send(provider)[2]["error"]["message"].startswith("the script does not fit")


def test_behaviours_are_matched_by_the_model_in_the_path(provider):
    provider.script({"for_model": NEW, "status": 503})
    assert send(provider)[0] == 200
    assert send(provider, model=NEW)[0] == 503


@pytest.mark.parametrize("status, word", [
    (400, "INVALID_ARGUMENT"), (403, "PERMISSION_DENIED"), (404, "NOT_FOUND"), (429, "RESOURCE_EXHAUSTED"),
    (500, "INTERNAL"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")])
def test_a_scripted_error_has_the_word_of_its_status(provider, status, word):
    provider.script({"error": {"status": status, "message": "No."}})
    answered, _headers, answer = send(provider)
    assert (answered, answer) == (status, {"error": {"code": status, "message": "No.", "status": word}})


def test_a_scripted_error_may_have_another_word(provider):
    provider.script({"error": {"type": "FAILED_PRECONDITION"}})
    assert send(provider)[2]["error"]["status"] == "FAILED_PRECONDITION"


def test_a_scripted_error_may_have_details(provider):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]
    provider.script({"error": {"status": 429, "details": details}})
    assert send(provider)[2]["error"]["details"] == details


def test_an_error_inside_a_stream(provider):
    provider.script({"stream_error": {"status": 503, "message": "Overloaded."}, "stop_after_events": 1})
    begun, failed = chunks(stream(provider))
    assert begun["candidates"] and failed["error"]["status"] == "UNAVAILABLE"


# Keys ---------------------------------------------------------------------------------------------------------------

def test_a_bad_key_is_a_bad_request(client, provider):
    status, _headers, answer = provider.call("GET", "/google/v1beta/models", headers={"x-goog-api-key": "wrong"})
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer["error"]["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize("header", [{}, {"Authorization": f"Bearer {KEY}"}])
def test_no_key_is_no_permission(provider, header):
    status, _headers, answer = provider.call("GET", "/google/v1beta/models", headers=header)
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")


def test_a_key_in_the_address_is_refused(provider):
    assert provider.call("GET", f"/google/v1beta/models?key={KEY}", headers=HEADERS)[0] == 400


def test_a_page_of_fewer_than_no_models_is_refused(provider):
    assert provider.call("GET", "/google/v1beta/models?pageSize=-1", headers=HEADERS)[0] == 400


@pytest.mark.parametrize("path", ["models/m:countTokens", "models/m", "m:generateContent"])
def test_unknown_paths_are_not_found(provider, path):
    assert provider.call("POST", f"/google/v1beta/{path}", {}, HEADERS)[2]["error"]["status"] == "NOT_FOUND"


def test_a_body_that_is_not_said_to_be_json_is_refused(provider):
    headers = {**HEADERS, "Content-Type": "application/x-www-form-urlencoded"}
    path = f"/google/v1beta/models/{OLD}:generateContent"
    assert provider.call("POST", path, {"contents": HELLO}, headers)[0] == 400


@pytest.mark.parametrize("raw", [b'{"contents":', b"[]", b'{"contents": ' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_a_body_that_is_no_request_is_refused(provider, raw):
    status, _headers, answer = provider.call("POST", f"/google/v1beta/models/{OLD}:generateContent", headers=HEADERS,
                                             raw=raw)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


# Refusals -----------------------------------------------------------------------------------------------------------

def user(*parts):
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def declaring(*functions):
    return {"tools": [{"functionDeclarations": list(functions)}]}


def parameters(**schema):
    """A function whose one parameter has this schema."""
    return declaring({"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": schema}}})


def configured(**config):
    return {"generationConfig": config}


def thinking(**config):
    return configured(thinkingConfig=config)


def calling(**config):
    return {"tools": TOOLS, "toolConfig": {"functionCallingConfig": config}}


JSON = {"responseMimeType": "application/json"}
IMAGE = {"mimeType": "image/png", "data": "AAAA"}
HARM = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}

REFUSED = {
    "unknown member": (OLD, {"max_tokens": 5}, 'Unknown name "max_tokens"'),
    "unknown member of a part": (
        OLD, user({**text("a"), "type": "text"}), "Unknown name \"type\" at 'contents[0].parts[0]'"),
    "unknown member of a function": (OLD, declaring({"name": "f", "strict": True}), 'Unknown name "strict"'),
    "unknown setting": (OLD, configured(logitBias={}), "Unknown name \"logitBias\" at 'generationConfig'"),
    "another service's setting": (OLD, configured(audioTimestamp=True), 'Unknown name "audioTimestamp"'),
    "number as text": (OLD, configured(temperature="1"), "Invalid value at 'generationConfig.temperature'"),
    "fraction for integer": (OLD, configured(maxOutputTokens=1.5), "generationConfig.maxOutputTokens"),
    "unknown enumerator": (OLD, calling(mode="REQUIRED"), "toolConfig.functionCallingConfig.mode"),
    "enumerator of another type": (OLD, calling(mode=1), "toolConfig.functionCallingConfig.mode"),
    "no contents": (OLD, {"contents": []}, "contents is not specified"),
    "null contents": (OLD, {"contents": None}, "contents is not specified"),
    "contents as text": (OLD, {"contents": "Hello"}, "Invalid value at 'contents'"),
    "role assistant": (OLD, {"contents": [{"role": "assistant", "parts": [text("a")]}]}, "valid role: user, model"),
    "role system": (OLD, {"contents": [{"role": "system", "parts": [text("a")]}]}, "valid role: user, model"),
    "no parts": (OLD, user(), "contents[0].parts: contents.parts must not be empty"),
    "empty part": (OLD, user({}), "required oneof field 'data'"),
    "empty text": (OLD, user(text("a"), text("")), "contents[0].parts[1].data: required oneof field 'data'"),
    "part of two things": (OLD, user({**text("a"), "inlineData": IMAGE}), "Cannot set 'inlineData'"),
    "empty system instruction": (OLD, {"systemInstruction": {"parts": [text("")]}}, "system_instruction.parts"),
    "system instruction as text": (OLD, {"systemInstruction": "a"}, "Invalid value at 'systemInstruction'"),
    "system instruction to Gemma": (
        "gemma-3-27b-it", {"systemInstruction": {"parts": [text("a")]}}, "Developer instruction is not enabled"),
    "image without type": (OLD, user({"inlineData": {"data": "AAAA"}}), "data and mime_type must be set"),
    "image without data": (OLD, user({"inlineData": {**IMAGE, "data": ""}}), "data and mime_type must be set"),
    "image data": (OLD, user({"inlineData": {**IMAGE, "data": "data:,"}}), "inlineData.data"),
    "image type": (OLD, user({"inlineData": {**IMAGE, "mimeType": "image/tiff"}}), "Unsupported MIME type: image/tiff"),
    "file from anywhere": (OLD, user({"fileData": {"fileUri": "https://x/y.png"}}), "unsupported file uri"),
    "call by the user": (OLD, conversation([USE], [text("a")]), "function calls are in turns of the model"),
    "response by the model": (OLD, conversation([text("a")], [RESULT]), "function responses in turns of the user"),
    "response without call": (OLD, conversation([RESULT]), "immediately after a function call turn"),
    "response too late": (
        OLD, conversation([text("a")], [USE], [text("b")], [text("c")], [RESULT]), "number of function response parts"),
    "call without response": (OLD, conversation([text("a")], [USE]), "number of function response parts"),
    "one response for two calls": (OLD, conversation([text("a")], [USE, USE], [RESULT]), "number of function response"),
    "responses in two contents": (
        OLD, {"contents": [*HELLO, {"role": "model", "parts": [USE, USE]}, {"role": "user", "parts": [RESULT]},
                           {"role": "user", "parts": [RESULT]}], "tools": TOOLS}, "number of function response parts"),
    "call first": (OLD, {"contents": [{"role": "model", "parts": [USE]}, {"role": "user", "parts": [RESULT]}],
                         "tools": TOOLS}, "comes immediately after a user turn"),
    "call without name": (
        OLD, conversation([text("a")], [{"functionCall": {}}], [RESULT]), "functionCall.name: Name cannot be empty"),
    "response without name": (
        OLD, conversation([text("a")], [USE], [{"functionResponse": {"response": {}}}]), "Name cannot be empty"),
    "response as text": (
        OLD, conversation([text("a")], [USE], [{"functionResponse": {"name": "weather", "response": "rain"}}]),
        "contents[2].parts[0].functionResponse.response"),
    "no response": (
        OLD, conversation([text("a")], [USE], [{"functionResponse": {"name": "weather"}}]), "response must be set"),
    "arguments as text": (
        OLD, conversation([text("a")], [{"functionCall": {"name": "weather", "args": "{}"}}], [RESULT]),
        "contents[1].parts[0].functionCall.args"),
    "call without signature": (NEW, conversation([text("a")], [USE], [RESULT]), "missing a thought_signature"),
    "signature on the second call only": (
        NEW, conversation([text("a")], [USE, {**USE, "thoughtSignature": google_rules.SIGNATURE}], [RESULT, RESULT]),
        "missing a thought_signature"),
    "strange signature": (
        NEW, conversation([text("a")], [{**USE, "thoughtSignature": "AAAA"}], [RESULT]), "Corrupted thought signature"),
    "function name": (OLD, declaring({"name": "a b"}), "function_declarations[0].name: Invalid function name"),
    "function name that begins with a digit": (OLD, declaring({"name": "1a"}), "Invalid function name"),
    "function without name": (OLD, declaring({"description": "a"}), "Invalid function name"),
    "functions of one name": (OLD, declaring(WEATHER, WEATHER), "Duplicate function declaration found: weather"),
    "schema of both kinds": (
        OLD, declaring({**WEATHER, "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}),
        "cannot both be set"),
    "JSON schema of no object": (OLD, declaring({"name": "f", "parametersJsonSchema": {}}), "describe an object"),
    "JSON schema of no form": (
        OLD, declaring({"name": "f", "parametersJsonSchema": {"type": "object", "items": []}}), "describe an object"),
    "answer's JSON schema of no form": (OLD, configured(**JSON, responseJsonSchema=["a"]), "is no JSON schema"),
    "keyword of JSON schema only": (OLD, parameters(type="STRING", const="a"), 'Unknown name "const"'),
    "reference of JSON schema": (OLD, parameters(**{"$ref": "#/$defs/a"}), 'Unknown name "$ref"'),
    "list of types": (OLD, parameters(type=["string", "null"]), "Invalid value at"),
    "no additional properties": (
        OLD, declaring({"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}},
                                                    "additionalProperties": False}}),
        'Unknown name "additionalProperties"'),
    "schema without type": (OLD, parameters(description="a"), "must be specified when not using"),
    "object without properties": (OLD, parameters(type="object"), "should be non-empty for OBJECT type"),
    "properties of no object": (
        OLD, parameters(type="string", properties={"a": {"type": "string"}}), "only allowed for OBJECT type"),
    "array without items": (OLD, parameters(type="array"), "properties[a].items: missing field"),
    "enum of no string": (OLD, parameters(type="integer", enum=["1"]), "only allowed for STRING type"),
    "enum of numbers": (OLD, parameters(type="string", enum=[1]), "Invalid value at"),
    "format of a string": (OLD, parameters(type="string", format="email"), "only 'enum' and 'date-time'"),
    "required but undefined": (
        OLD, declaring({"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}},
                                                    "required": ["b"]}}), "required[0]: property is not defined"),
    "calling without functions": (
        OLD, {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}}, "set without function_declarations"),
    "allowed functions in mode auto": (
        OLD, calling(mode="AUTO", allowedFunctionNames=["weather"]), "only be set when the function calling mode"),
    "allowed function that is not there": (
        OLD, calling(mode="ANY", allowedFunctionNames=["other"]), "other is not in the function_declarations"),
    **{f"{name} of {value}": (OLD, configured(**{name: value}), f"generation_config.{name}") for name, value in (
        ("temperature", 2.1), ("temperature", -0.1), ("topP", 1.1), ("topK", 0), ("maxOutputTokens", 0),
        ("candidateCount", 0), ("candidateCount", 9), ("presencePenalty", 2.1), ("frequencyPenalty", -2.1),
        ("seed", 2 ** 31))},
    "six stop sequences": (OLD, configured(stopSequences=list("abcdef")), "at most 5 stop sequences"),
    "empty stop sequence": (OLD, configured(stopSequences=[""]), "must not be empty"),
    "logprobs alone": (OLD, configured(logprobs=3), "only allowed when response_logprobs"),
    "schema without JSON": (OLD, configured(responseJsonSchema={"type": "object"}), "only allowed with"),
    "two schemas": (OLD, configured(**JSON, responseJsonSchema={}, responseSchema={"type": "STRING"}),
                    "cannot both be set"),
    "schema of the answer": (OLD, configured(**JSON, responseSchema={"type": "OBJECT"}),
                             "generation_config.response_schema.properties"),
    "type of the answer": (OLD, configured(responseMimeType="text/html"), "allowed mimetypes"),
    "JSON with functions before Gemini 3": (OLD, {**configured(**JSON), "tools": TOOLS}, "is unsupported"),
    "thinking before Gemini 2.5": ("gemini-2.0-flash", thinking(thinkingBudget=0), "Thinking is not enabled"),
    "thinking of Gemma": ("gemma-3-27b-it", thinking(includeThoughts=True), "Thinking is not enabled"),
    "budget and level": (NEW, thinking(thinkingBudget=0, thinkingLevel="LOW"), "only set only one of"),
    "level to Gemini 2.5": (OLD, thinking(thinkingLevel="LOW"), "Thinking level is not supported"),
    "budget to Gemini 3": (NEW, thinking(thinkingBudget=1024), "Thinking budget is not supported"),
    "budget above 24576": (OLD, thinking(thinkingBudget=24577), "between 0 and 24576"),
    "budget below -1": (OLD, thinking(thinkingBudget=-2), "between 0 and 24576"),
    "budget of flash-lite": ("gemini-2.5-flash-lite", thinking(thinkingBudget=511), "between 512 and 24576"),
    "budget of pro": ("gemini-2.5-pro", thinking(thinkingBudget=127), "between 128 and 32768"),
    "no thinking of pro": ("gemini-2.5-pro", thinking(thinkingBudget=0), "only works in thinking mode"),
    "level none": (NEW, thinking(thinkingLevel="NONE"), "generationConfig.thinkingConfig.thinkingLevel"),
    "level xhigh": (NEW, thinking(thinkingLevel="XHIGH"), "Thinking level XHIGH is not supported"),
    "level minimal to pro": ("gemini-3.1-pro-preview", thinking(thinkingLevel="MINIMAL"), "level MINIMAL is not"),
    "level minimal to 3.7": ("gemini-3.7-flash", thinking(thinkingLevel="minimal"), "level MINIMAL is not"),
    "level medium to 3 pro": ("gemini-3-pro-preview", thinking(thinkingLevel="MEDIUM"), "level MEDIUM is not"),
    "level minimal to a model unheard of": ("gemini-next", thinking(thinkingLevel="MINIMAL"), "level MINIMAL is not"),
    "safety of no harm": (OLD, {"safetySettings": [{**HARM, "category": "HARM_CATEGORY_UNSPECIFIED"}]},
                          "element predicate failed"),
    "safety without threshold": (OLD, {"safetySettings": [{"category": HARM["category"]}]}, "with a threshold"),
    "safety set twice": (OLD, {"safetySettings": [HARM, HARM]}, "more than one setting"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(provider, case):
    model, body, told = REFUSED[case]
    status, _headers, answer = send(provider, body, model)
    assert (status, answer["error"]["code"], answer["error"]["status"]) == (400, 400, "INVALID_ARGUMENT"), answer
    assert told in answer["error"]["message"], answer
    assert provider.requests()[0]["refused"]["message"] == answer["error"]["message"]


SIGNED = {**USE, "thoughtSignature": google_rules.SIGNATURE}
STAND_IN = {**USE, "thoughtSignature": "skip_thought_signature_validator"}

ACCEPTED = {
    "settings": (OLD, {**configured(temperature=2, topP=0.9, topK=5, maxOutputTokens=50, seed=7, candidateCount=2,
                                    stopSequences=list("vwxyz"), presencePenalty=-2, frequencyPenalty=2,
                                    responseLogprobs=True, logprobs=3, responseMimeType="text/plain"),
                       "safetySettings": [HARM], "systemInstruction": {"parts": [text("Be kind.")]}}),
    "members in snake_case": (OLD, {**user({"inline_data": {"mime_type": "image/png", "data": "AAAA"}}),
                                    "generation_config": {"max_output_tokens": 5}}),
    "null members": (OLD, {"tools": None, "generationConfig": {"temperature": None}}),
    "no role": (OLD, {"contents": [{"parts": [text("a")]}]}),
    "two contents of a role": (OLD, {"contents": [*HELLO, *HELLO]}),
    "last content by the model": (OLD, conversation([text("a")], [text("Well,")])),
    "images and files": (OLD, user(
        {"inlineData": IMAGE}, {"inlineData": {"mimeType": "application/pdf", "data": "-_8="}},
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}},
        {"fileData": {"fileUri": "gs://bucket/a", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=a"}})),
    "calls of Gemini 2.5": (OLD, conversation([text("a")], [text("I look."), USE, USE], [RESULT, RESULT])),
    "signed calls": (NEW, conversation([text("a")], [SIGNED, USE], [RESULT, RESULT], [SIGNED], [RESULT])),
    "stand-in for a signature": (NEW, conversation([text("a")], [STAND_IN], [RESULT])),
    "signed empty text": (NEW, conversation([text("a")], [text("b"), {**SIGNED, "functionCall": None, "text": ""}],
                                            [text("c")])),
    "thoughts sent back": (OLD, conversation([text("a")], [{"text": "Hm.", "thought": True}, text("b")], [text("c")])),
    "schemas": (OLD, declaring(
        {"name": "a.b:c-d_1"}, {"name": "_f", "parameters": {
            "type": "object", "required": ["a"], "properties": {
                "a": {"type": "string", "format": "enum", "enum": ["x"], "nullable": True},
                "b": {"type": "ARRAY", "items": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}]}}}}},
        {"name": "g", "parametersJsonSchema": {"type": "object", "additionalProperties": False, "$defs": {}}})),
    "calling": (OLD, calling(mode="VALIDATED", allowedFunctionNames=["weather"])),
    "JSON with functions": (NEW, {**configured(**JSON), "tools": TOOLS}),
    "no thinking": (OLD, thinking(thinkingBudget=0)),
    "dynamic thinking": ("gemini-2.5-pro", thinking(thinkingBudget=-1, includeThoughts=True)),
    "minimal thinking": (NEW, thinking(thinkingLevel="minimal")),
    "little thinking": ("gemini-3.1-pro-preview", thinking(thinkingLevel="LOW")),
    "settings of Gemma": ("gemma-3-27b-it", configured(temperature=1)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(provider, case):
    model, body = ACCEPTED[case]
    status, _headers, answer = send(provider, body, model)
    assert status == 200, answer
