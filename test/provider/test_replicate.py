"""Replicate's predictions and their streams, as the official client reads them, and which requests are refused."""

import contextlib
import http.client
import ssl

import pytest
import replicate
from replicate._streaming import SSEDecoder
from replicate.exceptions import ModelError

from harness import HELLO, KEY, exchange

LLAMA, GPT, CLAUDE, GEMINI = ("meta/meta-llama-3-8b-instruct", "openai/gpt-4o-mini", "anthropic/claude-4.5-sonnet",
                              "google/gemini-2.5-flash")
PROMPT = {"prompt": "Hello"}
CREATE = f"/replicate/v1/models/{LLAMA}/predictions"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
WAITING = {**HEADERS, "Prefer": "wait"}
LISTENING = {"Accept": "text/event-stream"}
SAID = ["You", " said:", " Hello"]


@pytest.fixture
def client(provider):
    """The official client, which here refuses answers that are not of its types."""
    with replicate.Replicate(bearer_token=KEY, base_url=provider.url("/replicate/v1"), max_retries=0, timeout=5,
                             _strict_response_validation=True) as client:
        client.poll_interval = 0
        yield client


def create(provider, given=None, model=LLAMA, headers=WAITING, **members):
    """A prediction made without the client: (status, headers, answer)."""
    return provider.call("POST", f"/replicate/v1/models/{model}/predictions", {"input": given or PROMPT, **members},
                         headers)


def predict(provider, given=None, **options):
    status, _headers, answer = create(provider, given, **options)
    assert status < 300, answer
    return answer


def look(provider, prediction):
    return provider.call("GET", f"/replicate/v1/predictions/{prediction['id']}")[2]


def listen(provider, prediction):
    """The events of a prediction's stream, as (event, data)."""
    status, _headers, body = provider.call("GET", f"/replicate-stream/{prediction['id']}", headers=LISTENING)
    assert status == 200, body
    return [(event.event, event.data) for event in SSEDecoder().iter_bytes(iter([body]))]


def streamed(provider, **behaviour):
    provider.script(behaviour)
    return listen(provider, predict(provider, stream=True))


# Predictions --------------------------------------------------------------------------------------------------------

def test_the_official_client_runs_a_model(client):
    assert client.run(LLAMA, input=PROMPT) == SAID


def test_the_official_client_waits_by_polling(provider, client):
    provider.script({"pending_polls": 2})
    made = client.models.predictions.create(model_owner="meta", model_name="x", input=PROMPT)
    assert made.status == "starting"
    assert client.predictions.wait(made.id).output == SAID
    assert [entry["method"] for entry in provider.requests()] == ["POST", "GET", "GET", "GET"]


def test_a_prediction_that_nobody_waits_for_is_starting(provider):
    made = predict(provider, headers=HEADERS)
    assert (made["status"], made["output"], made["metrics"], made["started_at"]) == ("starting", None, {}, None)
    assert look(provider, made)["status"] == "succeeded"


@pytest.mark.parametrize("prefer", ["wait", "wait=1", "wait=60"])
def test_a_prediction_that_is_waited_for_is_done(provider, prefer):
    status, _headers, made = create(provider, headers={**HEADERS, "Prefer": prefer})
    assert (status, made["status"], made["output"], made["logs"]) == (201, "succeeded", SAID, "Simulated.")


def test_a_prediction_may_take_longer_than_the_wait(provider):
    provider.script({"pending_polls": 1})
    status, _headers, made = create(provider)
    assert (status, made["status"], made["output"]) == (202, "processing", None)
    assert [look(provider, made)["status"] for _ in range(3)] == ["processing", "succeeded", "succeeded"]


def test_tokens_are_counted(provider):
    assert predict(provider)["metrics"] == {"predict_time": 0.5, "total_time": 0.75, "input_token_count": 8,
                                            "output_token_count": 4}


def test_the_system_prompt_counts(provider):
    assert predict(provider, {**PROMPT, "system_prompt": "Be kind."})["metrics"]["input_token_count"] == 8 + 2 + 3


def test_equal_requests_get_equal_answers(provider):
    first, second = predict(provider), predict(provider)
    for each in (first, second):
        del each["urls"]
    assert first.pop("id") != second.pop("id")
    assert first == second


@pytest.mark.parametrize("version, model", [
    ("a" * 64, LLAMA), (f"some/model:{'b' * 64}", "some/model"), (GPT, GPT)])
def test_versions_are_run(client, version, model):
    made = client.predictions.create(version=version, input=PROMPT, prefer="wait")
    assert (made.model, made.output, len(made.version)) == (model, SAID, 64)


def test_the_version_of_a_model_is_known_by_its_id(client):
    latest = client.models.get(model_owner="google", model_name="gemini-2.5-flash").latest_version
    assert client.predictions.create(version=latest.id, input=PROMPT).model == GEMINI


def test_deployments_are_run(client):
    made = client.deployments.predictions.create(deployment_owner="me", deployment_name="mine", input=PROMPT,
                                                 prefer="wait")
    assert (made.deployment, made.output) == ("me/mine", SAID)


def test_addresses_are_the_servers_own(provider):
    made = predict(provider, stream=True)
    base = f"http://127.0.0.1:{provider.ports['http']}"
    assert made["urls"] == {
        "get": f"{base}/replicate/v1/predictions/{made['id']}", "stream": f"{base}/replicate-stream/{made['id']}",
        "cancel": f"{base}/replicate/v1/predictions/{made['id']}/cancel",
        "web": f"https://replicate.com/p/{made['id']}"}


def test_addresses_tell_the_scheme(provider):
    trusted = ssl.create_default_context(cafile=provider.authority)
    with contextlib.closing(http.client.HTTPSConnection("localhost", provider.ports["https"], timeout=5,
                                                        context=trusted)) as connection:
        made = exchange(connection, "POST", CREATE, {"input": PROMPT}, HEADERS)[2]
    assert made["urls"]["get"].startswith(f"https://localhost:{provider.ports['https']}/replicate/v1/")


def test_a_stream_has_an_address_only_when_asked_for(provider):
    assert "stream" not in predict(provider)["urls"]


# What was said last -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("prompt, last", [
    ("Hello", "Hello"), ("User: a\n\nAssistant: b\n\nUser: c\nd\n\nAssistant:", "c\nd"),
    ("Be kind.\n\nUser: a\n\nAssistant:", "a"),
    ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user"
     "<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "a")])
def test_the_last_turn_of_a_prompt_is_echoed(provider, prompt, last):
    assert "".join(predict(provider, {"prompt": prompt})["output"]) == f"You said: {last}"


def test_the_last_message_is_echoed(provider):
    messages = [{"role": "system", "content": "Be kind."}, *HELLO, {"role": "assistant", "content": "a"},
                {"role": "user", "content": [{"type": "text", "text": "b"}]}]
    made = predict(provider, {"messages": messages, "prompt": "ignored"}, model=GPT)
    assert "".join(made["output"]) == "You said: b"
    assert made["metrics"]["input_token_count"] == 2 + 2 + 1 + 1 + 3 * 5


@pytest.mark.parametrize("model, member", [
    (LLAMA, "max_tokens"), (GPT, "max_completion_tokens"), (GEMINI, "max_output_tokens")])
def test_the_output_limit_ends_an_answer(provider, model, member):
    made = predict(provider, {**PROMPT, member: 2}, model=model)
    assert ("".join(made["output"]), made["metrics"]["output_token_count"]) == ("You said", 2)


def test_a_stop_sequence_ends_an_answer(provider):
    assert "".join(predict(provider, {**PROMPT, "stop_sequences": "never,said"})["output"]) == "You "


# Ends ---------------------------------------------------------------------------------------------------------------

def test_a_prediction_can_fail(provider):
    provider.script({"prediction_fails": "E005: flagged as sensitive"})
    status, _headers, made = create(provider)
    assert (status, made["status"], made["error"], made["output"]) == (
        201, "failed", "E005: flagged as sensitive", None)


def test_the_official_client_tells_of_a_failure(provider, client):
    provider.script({"prediction_fails": "out of memory"})
    with pytest.raises(ModelError, match="out of memory"):
        client.run(LLAMA, input=PROMPT)


def test_a_pending_prediction_can_be_cancelled(provider, client):
    provider.script({"pending_polls": 5})
    made = client.models.predictions.create(model_owner="meta", model_name="x", input=PROMPT)
    assert client.predictions.cancel(prediction_id=made.id).status == "canceled"
    assert client.predictions.get(prediction_id=made.id).status == "canceled"
    assert provider.requests()[1]["path"].endswith(f"/{made.id}/cancel")


def test_a_prediction_that_is_done_stays_so(provider):
    made = predict(provider)
    assert provider.call("POST", f"/replicate/v1/predictions/{made['id']}/cancel")[2] == made


# Scripts ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("output", ["a text", ["a", "b"], [], None, {"image": "x"}, 5])
def test_the_output_can_be_any_value(provider, output):
    provider.script({"output": output})
    assert predict(provider)["output"] == output


def test_the_content_is_told_in_words(provider):
    provider.script({"content": "a  b\n"})
    assert predict(provider)["output"] == ["a", "  b", "\n"]


@pytest.mark.parametrize("member", ["no_metrics", "no_usage"])
def test_metrics_can_be_left_out(provider, member):
    provider.script({member: True})
    assert predict(provider)["metrics"] == {}


def test_counts_can_be_scripted(provider):
    provider.script({"usage": {"prompt_tokens": 5, "output_token_count": "many"}})
    metrics = predict(provider)["metrics"]
    assert (metrics["input_token_count"], metrics["output_token_count"]) == (5, "many")


def test_addresses_can_be_scripted(provider):
    provider.script({"urls": {"get": "http://elsewhere/x", "cancel": None}})
    made = predict(provider, headers=HEADERS)
    assert (made["urls"]["get"], "cancel" in made["urls"]) == ("http://elsewhere/x", False)
    assert look(provider, made)["urls"] == made["urls"]


def test_members_can_be_replaced_and_removed(provider):
    provider.script({"replace": {"status": "aborted"}, "remove": ["output"]})
    made = predict(provider)
    assert (made["status"], "output" in made) == ("aborted", False)


def test_a_script_that_does_not_fit_is_told(provider):
    provider.script({"remove": ["output.9"]})
    assert create(provider)[2]["detail"].startswith("the script does not fit the answer")


def test_behaviours_are_taken_by_the_models_requests(provider):
    provider.script({"for_model": GPT, "content": "a"}, {"for_model": GPT, "status": 500})
    made = predict(provider, headers=HEADERS)
    assert look(provider, made)["output"] == SAID
    other = predict(provider, model=GPT)
    assert other["output"] == ["a"]
    assert look(provider, other)["status"] == 500


def test_the_text_can_be_damaged(provider):
    provider.script({"payload": "nul"})
    assert predict(provider)["output"][0] == "\0You"


def test_errors_have_replicates_shape(provider, client):
    provider.script({"error": {"status": 429, "message": "Request was throttled. Your rate limit resets in ~30s."}})
    with pytest.raises(replicate.RateLimitError) as failure:
        client.account.get()
    assert failure.value.body == {"title": "Too Many Requests", "status": 429,
                                  "detail": "Request was throttled. Your rate limit resets in ~30s."}


# Streams ------------------------------------------------------------------------------------------------------------

def test_a_stream_has_the_output_word_by_word(provider):
    assert streamed(provider) == [("logs", "Simulated."), *(("output", word) for word in SAID), ("done", "{}")]


def test_events_have_ids(provider):
    body = provider.call("GET", f"/replicate-stream/{predict(provider)['id']}", headers=LISTENING)[2]
    assert body.split(b"\n\n")[1] == b"event: output\nid: 1764000000:1\ndata: You"


def test_line_ends_and_spaces_belong_to_the_text(provider):
    assert streamed(provider, content="a\n\n b  c")[1:-1] == [("output", "a"), ("output", "\n\n b"), ("output", "  c")]


def test_after_its_stream_a_prediction_is_done(provider):
    made = predict(provider, headers=HEADERS, stream=True)
    listen(provider, made)
    assert look(provider, made)["metrics"]["output_token_count"] == 4


def test_a_failure_is_streamed(provider):
    assert streamed(provider, prediction_fails="E005")[1:] == [("error", '{"detail": "E005"}'),
                                                               ("done", '{"reason": "error"}')]


def test_the_stream_of_a_cancelled_prediction_ends_at_once(provider):
    made = predict(provider, headers=HEADERS, stream=True)
    provider.call("POST", f"/replicate/v1/predictions/{made['id']}/cancel")
    assert listen(provider, made)[1:] == [("done", '{"reason": "canceled"}')]


def test_a_scripted_text_is_streamed_as_one(provider):
    assert streamed(provider, output="a b")[1:-1] == [("output", "a b")]


def test_a_stream_can_end_in_an_error(provider):
    provider.script({"for_path": "/replicate-stream", "stop_after_events": 2, "stream_error": {"message": "Oh"}})
    assert listen(provider, predict(provider, stream=True))[1:] == [("output", "You"), ("error", '{"detail": "Oh"}')]


def test_a_stream_can_be_cut(provider):
    made = predict(provider, stream=True)
    provider.script({"for_path": "/replicate-stream", "stop_after_events": 2, "close": "mid_body"})
    with pytest.raises(http.client.IncompleteRead):
        listen(provider, made)


@pytest.mark.parametrize("headers, status", [
    ({**LISTENING, "Authorization": f"Bearer {KEY}"}, 400), ({}, 406), ({"Accept": "application/json"}, 406)])
def test_a_stream_takes_no_key_and_must_be_asked_for(provider, headers, status):
    made = predict(provider, stream=True)
    assert provider.call("GET", f"/replicate-stream/{made['id']}", headers=headers)[0] == status


@pytest.mark.parametrize("method, path", [("GET", "/replicate-stream/none"), ("POST", "/replicate-stream/x")])
def test_unknown_streams_are_not_found(provider, method, path):
    assert provider.call(method, path, headers=LISTENING)[0] == 404


# Keys, account, models ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("header", [{}, {"Authorization": KEY}, {"Authorization": "Bearer wrong"}])
def test_bad_keys_are_refused(provider, header):
    status, _headers, answer = provider.call("GET", "/replicate/v1/account", headers=header)
    assert (status, answer) == (401, {"title": "Unauthenticated", "status": 401,
                                      "detail": "You did not pass a valid authentication token"})


def test_the_old_scheme_of_keys_is_taken(provider):
    assert provider.call("GET", "/replicate/v1/account", headers={"Authorization": f"Token {KEY}"})[0] == 200


def test_the_account_is_told(client):
    assert client.account.get().username == "simulated"


@pytest.mark.parametrize("model, members", [
    (LLAMA, {"prompt", "system_prompt", "max_tokens", "stop_sequences", "seed"}),
    (GPT, {"messages", "image_input", "max_completion_tokens", "temperature"}),
    ("openai/gpt-5", {"messages", "reasoning_effort", "verbosity"}),
    (CLAUDE, {"system_prompt", "image", "extended_thinking"}),
    (GEMINI, {"system_instruction", "images", "max_output_tokens", "thinking_budget"})])
def test_models_tell_their_inputs(client, model, members):
    owner, name = model.split("/")
    told = client.models.get(model_owner=owner, model_name=name)
    assert members <= told.latest_version.openapi_schema["components"]["schemas"]["Input"]["properties"].keys()


@pytest.mark.parametrize("method, path", [
    ("GET", "/predictions/none"), ("POST", "/predictions/none/cancel"), ("GET", CREATE.removeprefix("/replicate/v1")),
    ("POST", "/account"), ("GET", "/elsewhere")])
def test_unknown_predictions_paths_and_methods_are_404(provider, method, path):
    assert provider.call(method, f"/replicate/v1{path}", headers=HEADERS)[0] == 404


# Refusals -----------------------------------------------------------------------------------------------------------

def given(**members):
    return {"input": {**PROMPT, **members}}


REFUSED_INPUTS = {
    "no input": (LLAMA, {}, "- input is required\n"),
    "input of another type": (LLAMA, {"input": "Hello"}, "- input: Invalid type. Expected: object, given: string\n"),
    "no prompt": (LLAMA, {"input": {}}, "- input: prompt is required\n"),
    "unknown input": (LLAMA, given(n=1), "- input: Additional property n is not allowed\n"),
    "text for number": (LLAMA, given(temperature="1"),
                        "- input.temperature: Invalid type. Expected: number, given: string\n"),
    "fraction for integer": (LLAMA, given(max_tokens=1.5),
                             "- input.max_tokens: Invalid type. Expected: integer, given: number\n"),
    "boolean for integer": (LLAMA, given(seed=True), "- input.seed: Invalid type. Expected: integer, given: boolean\n"),
    "null": (LLAMA, given(seed=None), "- input.seed: Invalid type. Expected: integer, given: null\n"),
    "list of stops": (LLAMA, given(stop_sequences=["a"]),
                      "- input.stop_sequences: Invalid type. Expected: string, given: array\n"),
    "messages to Llama": (LLAMA, given(messages=HELLO), "- input: Additional property messages is not allowed\n"),
    "temperature above 5": (LLAMA, given(temperature=5.1), "- input.temperature: Must be less than or equal to 5\n"),
    "top_p below 0": (LLAMA, given(top_p=-0.1), "- input.top_p: Must be greater than or equal to 0\n"),
    "two faults": (LLAMA, {"input": {"top_p": 2}},
                   "- input: prompt is required\n- input.top_p: Must be less than or equal to 1\n"),
    "temperature above 2": (GPT, given(temperature=2.1), "- input.temperature: Must be less than or equal to 2\n"),
    "neither messages nor prompt": (GPT, {"input": {"messages": []}}, "- input: prompt is required\n"),
    "message of no role": (GPT, {"input": {"messages": [{"content": "a"}]}}, "- input.messages[0]: Missing"),
    "unknown member of a message": (GPT, {"input": {"messages": [{**HELLO[0], "x": 1}]}}, "- input.messages[0].x: Unk"),
    "image as object": (GPT, given(image_input=[{}]),
                        "- input.image_input.0: Invalid type. Expected: string, given: object\n"),
    "temperature to a reasoning model": ("openai/gpt-5", given(temperature=1),
                                         "- input: Additional property temperature is not allowed\n"),
    "unknown effort": ("openai/o4-mini", given(reasoning_effort="heroic"),
                       '- input.reasoning_effort: reasoning_effort must be one of the following: "low", "medium",'),
    "verbosity to o4": ("openai/o4-mini", given(verbosity="low"), "- input: Additional property verbosity is not"),
    "temperature to Claude": (CLAUDE, given(temperature=1), "- input: Additional property temperature is not allowed"),
    "few tokens for Claude": (CLAUDE, given(max_tokens=1023),
                              "- input.max_tokens: Must be greater than or equal to 1024\n"),
    "many tokens for Haiku": ("anthropic/claude-4.5-haiku", given(max_tokens=8193),
                              "- input.max_tokens: Must be less than or equal to 8192\n"),
    "system_prompt to Gemini": (GEMINI, given(system_prompt="a"), "- input: Additional property system_prompt is not"),
    "unknown member": (LLAMA, {**given(), "model": "x"}, "- Additional property model is not allowed\n"),
    "version for a model": (LLAMA, {**given(), "version": "a" * 64}, "- Additional property version is not allowed\n"),
    "stream as text": (LLAMA, {**given(), "stream": "yes"}, "- stream: Invalid type. Expected: boolean, given: string"),
    "unknown event": (LLAMA, {**given(), "webhook": "https://x", "webhook_events_filter": ["end"]},
                      "- webhook_events_filter.0: 0 must be one of"),
    "webhook without TLS": (LLAMA, {**given(), "webhook": "http://x"}, "- webhook: webhook must be an HTTPS URL\n"),
    "no object": (LLAMA, [], "- Invalid type. Expected: object, given: array\n"),
}


@pytest.mark.parametrize("case", REFUSED_INPUTS)
def test_inputs_are_refused(provider, case):
    model, body, detail = REFUSED_INPUTS[case]
    got, _headers, answer = provider.call("POST", f"/replicate/v1/models/{model}/predictions", body, HEADERS)
    assert (got, answer["title"], answer["detail"][:len(detail)]) == (422, "Input validation failed", detail)
    assert provider.requests()[0]["refused"]["message"] == answer["detail"]


@pytest.mark.parametrize("version, title", [
    ("a" * 63, "Invalid version or not permitted"), (f"a/b:{'A' * 64}", "Invalid version or not permitted"),
    (f"deployments/a/b:{'a' * 64}", "Invalid version or not permitted"), (None, "Input validation failed")])
def test_versions_are_refused(provider, version, title):
    body = given() | ({"version": version} if version else {})
    status, _headers, answer = provider.call("POST", "/replicate/v1/predictions", body, HEADERS)
    assert (status, answer["title"]) == (422, title)


@pytest.mark.parametrize("header", [
    {"Prefer": "wait=0"}, {"Prefer": "wait=61"}, {"Prefer": "wait=x"}, {"Prefer": "respond-async"},
    {"Cancel-After": "soon"}])
def test_headers_are_refused(provider, header):
    assert create(provider, headers={**HEADERS, **header})[0] == 400


def test_a_body_that_is_no_json_is_refused(provider):
    status, _headers, answer = provider.call("POST", CREATE, raw=b'{"input":')
    assert (status, answer["title"]) == (400, "Bad Request")


def test_a_body_of_another_type_is_refused(provider):
    assert provider.call("POST", CREATE, {}, {**HEADERS, "Content-Type": "text/plain"})[0] == 415


@pytest.mark.parametrize("model, inputs", [
    (LLAMA, {"system_prompt": "a", "max_tokens": 5, "min_tokens": 0, "temperature": 5, "top_p": 0, "top_k": 4,
             "presence_penalty": 1.5, "frequency_penalty": 0, "length_penalty": 1, "stop_sequences": "a,b", "seed": 7,
             "prompt_template": "{prompt}"}),
    (GPT, {"system_prompt": "a", "image_input": ["https://x/y.png"], "temperature": 2, "top_p": 1,
           "max_completion_tokens": 5, "frequency_penalty": -2, "presence_penalty": 2}),
    ("openai/o4-mini", {"reasoning_effort": "low"}), ("openai/gpt-5", {"reasoning_effort": "low", "verbosity": "low"}),
    (CLAUDE, {"system_prompt": "a", "max_tokens": 1024, "image": "https://x/y.png", "extended_thinking": True,
              "thinking_budget_tokens": 2048}),
    (GEMINI, {"system_instruction": "a", "images": ["https://x/y.png"], "temperature": 0, "top_p": 0.5,
              "max_output_tokens": 5, "thinking_budget": 0})])
def test_inputs_are_accepted(provider, model, inputs):
    status, _headers, answer = create(provider, {**PROMPT, **inputs}, model)
    assert status == 201, answer


def test_webhooks_and_deadlines_are_accepted(provider):
    status, _headers, answer = create(provider, headers={**HEADERS, "Cancel-After": "5m"}, webhook="https://x/y",
                                      webhook_events_filter=["completed"])
    assert status == 201, answer
