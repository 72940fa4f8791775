"""Anthropic's Messages API: answers and streams as the official client reads them, and which requests are refused."""

import anthropic
import pytest

import anthropic_rules
from harness import CALL, HELLO, KEY, unknown_members

HEADERS = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "Content-Type": "application/json"}
OLD, NEW = "claude-haiku-4-5", "claude-opus-4-8"
TOOL = {"name": "weather", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
ANSWERED = [*HELLO, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}]
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": anthropic_rules.SIGNATURE}
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
ADAPTIVE = {"model": NEW, "thinking": {"type": "adaptive"}}


@pytest.fixture
def client(provider):
    """The official client."""
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{provider.ports['http']}/anthropic", api_key=KEY,
                             max_retries=0, timeout=5) as client:
        yield client


def create(client, **members):
    return client.messages.create(**{"model": OLD, "max_tokens": 100, "messages": HELLO, **members})


def send(provider, body=None, **members):
    """A request without the client: (status, headers, answer)."""
    body = {"model": OLD, "max_tokens": 100, "messages": HELLO, **(body or {}), **members}
    return provider.call("POST", "/anthropic/v1/messages", body, HEADERS)


def user(*blocks):
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def text(value):
    return {"type": "text", "text": value}


# Answers ------------------------------------------------------------------------------------------------------------

def test_the_official_client_gets_an_answer(client):
    answer = create(client)
    assert (answer.content[0].text, answer.stop_reason, answer.model) == ("You said: Hello", "end_turn", OLD)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (8, 4)
    assert (answer.usage.cache_creation_input_tokens, answer.usage.cache_read_input_tokens) == (0, 0)


def test_answers_and_events_have_only_members_that_the_sdk_knows(client):
    wants = {**ADAPTIVE, "tools": [TOOL], "messages": [{"role": "user", "content": "call weather"}]}
    assert unknown_members(create(client, **wants)) == []
    with create(client, stream=True, **wants) as events:
        assert unknown_members(list(events)) == []


def test_equal_requests_get_equal_answers(provider):
    first, second = send(provider)[2], send(provider)[2]
    assert first.pop("id") != second.pop("id")
    assert first == second


def test_tools_are_called_when_required(client):
    answer = create(client, tools=[TOOL], tool_choice={"type": "any"})
    assert [(block.type, block.name, block.input) for block in answer.content] == [
        ("tool_use", "weather", {"city": "text", "days": 1})]
    assert answer.stop_reason == "tool_use"


def test_tools_are_called_when_the_text_says_so(client):
    answer = create(client, tools=[TOOL], messages=[{"role": "user", "content": "Please call weather now"}])
    assert answer.stop_reason == "tool_use"


def test_the_result_of_a_tool_is_echoed(client):
    assert create(client, tools=[TOOL], messages=ANSWERED).content[0].text == "The tool said: rain"


def test_the_system_prompt_counts(client):
    assert create(client, system="Be kind.").usage.input_tokens == 8 + 2 + 3


def test_an_equal_question_counts_as_many_tokens_as_at_openai(provider, client):
    function = {"type": "function", "function": {"name": "weather", "parameters": TOOL["input_schema"]}}
    asked = [*HELLO, {"role": "assistant", "tool_calls": [CALL]},
             {"role": "tool", "tool_call_id": "a", "content": "rain"}]
    usage = provider.chat(messages=asked, tools=[function])[2]["usage"]
    answer = create(client, tools=[TOOL], messages=ANSWERED)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (
        usage["prompt_tokens"], usage["completion_tokens"])


def test_json_answers_fit_their_schema(client):
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "additionalProperties": False}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    assert create(client, output_config=wanted).content[0].text == '{"a": "x"}'


def test_the_output_limit_ends_an_answer(client):
    answer = create(client, max_tokens=2)
    assert (answer.content[0].text, answer.stop_reason) == ("You said", "max_tokens")


def test_a_stop_sequence_is_named(client):
    answer = create(client, stop_sequences=["never", "said"])
    assert (answer.content[0].text, answer.stop_reason, answer.stop_sequence) == ("You ", "stop_sequence", "said")


def test_thoughts_come_first_when_asked_for(client):
    answer = create(client, **BUDGET)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking and answer.content[0].signature
    assert answer.usage.output_tokens_details.thinking_tokens == 3
    assert answer.usage.output_tokens == 4 + 3


def test_newer_models_leave_out_the_text_of_thoughts(client):
    assert create(client, **ADAPTIVE).content[0].thinking == ""
    shown = {"model": NEW, "thinking": {"type": "adaptive", "display": "summarized"}}
    assert create(client, **shown).content[0].thinking == "Thinking."


def test_models_are_listed_by_the_page(client):
    page = client.models.list(limit=1)
    assert ([model.id for model in page.data], page.has_more, page.last_id) == ([OLD], True, OLD)
    assert client.models.retrieve(NEW).max_tokens == 128000


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("no-such-model")


# Streams ------------------------------------------------------------------------------------------------------------

def events_of(client, **members):
    with create(client, stream=True, **members) as events:
        return list(events)


def test_the_official_client_assembles_a_stream(client):
    with client.messages.stream(model=OLD, max_tokens=100, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "You said: Hello"
        answer = stream.get_final_message()
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 8, 4)


def test_a_text_comes_in_several_deltas(client):
    deltas = [event.delta.text for event in events_of(client) if event.type == "content_block_delta"]
    assert deltas == ["You", " said:", " Hello"]


def test_events_come_in_order_with_a_ping(provider):
    body = send(provider, stream=True)[2].decode()
    names = [line.removeprefix("event: ") for line in body.split("\n") if line.startswith("event: ")]
    assert names == ["message_start", "content_block_start", "ping", *["content_block_delta"] * 3,
                     "content_block_stop", "message_delta", "message_stop"]


def test_thoughts_are_streamed_before_their_signature(client):
    deltas = [event.delta.type for event in events_of(client, **BUDGET) if event.type == "content_block_delta"]
    assert deltas[:2] == ["thinking_delta", "signature_delta"]


def test_the_input_of_a_tool_is_streamed_in_fragments(client):
    events = events_of(client, tools=[TOOL], tool_choice={"type": "any"})
    fragments = [event.delta.partial_json for event in events if event.type == "content_block_delta"]
    assert len(fragments) == 3 and fragments[0] == ""
    assert "".join(fragments) == '{"city": "text", "days": 1}'
    assert events[1].content_block.input == {}


def test_a_tool_without_arguments_streams_none(client):
    tool = {"name": "now", "input_schema": {"type": "object"}}
    events = events_of(client, tools=[tool], tool_choice={"type": "any"})
    assert [event.delta.partial_json for event in events if event.type == "content_block_delta"] == [""]


def test_usage_is_told_as_it_is_known(client):
    events = events_of(client)
    assert (events[0].message.usage.input_tokens, events[0].message.usage.output_tokens) == (8, 1)
    assert (events[-2].usage.input_tokens, events[-2].usage.output_tokens) == (8, 4)


# Scripts ------------------------------------------------------------------------------------------------------------

def test_scripted_content_and_stop_reason(provider):
    provider.script({"content": "exactly this", "finish_reason": "new_reason"})
    answer = send(provider)[2]
    assert (answer["content"], answer["stop_reason"]) == ([text("exactly this")], "new_reason")


def test_a_scripted_stop_reason_is_streamed(provider):
    provider.script({"finish_reason": "new_reason"})
    assert b'{"stop_reason": "new_reason"' in send(provider, stream=True)[2]


def test_a_scripted_refusal_has_no_content(provider, client):
    provider.script({"refusal": "I will not."})
    answer = create(client)
    assert (answer.content, answer.stop_reason, answer.stop_details.explanation) == ([], "refusal", "I will not.")


def test_scripted_calls_are_in_openais_terms(provider, client):
    provider.script({"tool_calls": [CALL]})
    assert create(client).content[0].model_dump(include={"id", "name", "input"}) == {
        "id": "a", "name": "weather", "input": {}}


def test_scripted_reasoning_is_a_block_of_thoughts(provider, client):
    provider.script({"reasoning": "Hm, hm."})
    assert create(client).content[0].thinking == "Hm, hm."


def test_scripted_usage_by_the_names_that_every_format_knows(provider, client):
    provider.script({"usage": {"prompt_tokens": 100, "completion_tokens": 50, "cached_tokens": 80,
                               "cache_write_tokens": 5, "reasoning_tokens": 40}})
    usage = create(client).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (15, 80, 5)
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (50, 40)


def test_scripted_usage_by_anthropics_names(provider):
    provider.script({"usage": {"cache_read_input_tokens": 80, "output_tokens": "many"}})
    usage = send(provider)[2]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (8, 80, "many")


def test_usage_can_be_kept_back(provider):
    provider.script({"no_usage": True})
    assert b"usage" not in send(provider, stream=True)[2]


def test_edits_apply_to_answers_and_events(provider):
    provider.script({"replace": {"content.0.text": 5}}, {"replace": {"delta.text": 5}}, {"remove": ["no.such"]})
    assert send(provider)[2]["content"] == [{"type": "text", "text": 5}]
    assert send(provider, stream=True)[2].count(b'"text": 5') == 3
    assert send(provider)[2]["error"]["type"] == "simulator_error"


@pytest.mark.parametrize("status, kind", [
    (400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"), (403, "permission_error"),
    (404, "not_found_error"), (409, "conflict_error"), (413, "request_too_large"), (429, "rate_limit_error"),
    (500, "api_error"), (504, "timeout_error"), (529, "overloaded_error")])
def test_a_scripted_error_has_the_type_of_its_status(provider, status, kind):
    provider.script({"error": {"status": status, "message": "No."}})
    answered, headers, answer = send(provider)
    assert (answered, answer["type"], answer["error"]) == (status, "error", {"type": kind, "message": "No."})
    assert headers["request-id"] and answer["request_id"]


def test_an_error_inside_a_stream(provider, client):
    provider.script({"stream_error": {"status": 529, "message": "Overloaded"}})
    with pytest.raises(anthropic.APIStatusError) as failure:
        events_of(client)
    assert failure.value.body["error"] == {"type": "overloaded_error", "message": "Overloaded"}


# Keys and headers ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("header", [{}, {"x-api-key": "wrong"}, {"Authorization": f"Bearer {KEY}"}])
def test_bad_keys_are_refused(provider, header):
    status, _headers, answer = provider.call("GET", "/anthropic/v1/models", headers={**HEADERS, "x-api-key": "",
                                                                                     **header})
    assert (status, answer["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("version", ["", "2022-01-01"])
def test_another_api_version_is_refused(provider, version):
    status, _headers, answer = provider.call("GET", "/anthropic/v1/models",
                                             headers={**HEADERS, "anthropic-version": version})
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


def test_a_page_of_no_models_is_refused(provider):
    assert provider.call("GET", "/anthropic/v1/models?limit=0", headers=HEADERS)[0] == 400


def test_unknown_paths_are_not_found(provider):
    status, _headers, answer = provider.call("POST", "/anthropic/v1/complete", {}, HEADERS)
    assert (status, answer["error"]["type"]) == (404, "not_found_error")


def test_a_body_that_is_no_json_is_refused(provider):
    status, _headers, answer = provider.call("POST", "/anthropic/v1/messages", headers=HEADERS, raw=b'{"model":')
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


# Refusals -----------------------------------------------------------------------------------------------------------

def image(source):
    return user({"type": "image", "source": source})


def wanting(schema, model=OLD):
    return {"model": model, "output_config": {"format": {"type": "json_schema", "schema": schema}}}


def closed(**keywords):
    """A schema whose one property has these keywords."""
    return {"type": "object", "properties": {"a": keywords}, "additionalProperties": False}


def conversation(*contents):
    """Messages by user and assistant in turn."""
    return {"tools": [TOOL], "messages": [{"role": ("user", "assistant")[place % 2], "content": content}
                                          for place, content in enumerate(contents)]}


REFUSED = {
    "unknown member": ({"seed": 1}, "seed: Extra inputs are not permitted"),
    "unknown member of a message": (
        {"messages": [{**HELLO[0], "name": "a"}]}, "messages.0.name: Extra inputs are not permitted"),
    "unknown member of a block": (user({**text("a"), "x": 1}), "messages.0.content.0.x: Extra inputs"),
    "unknown member of a tool": ({"tools": [{**TOOL, "parameters": {}}]}, "tools.0.parameters: Extra inputs"),
    "unknown block": (user({"type": "image_url"}), "messages.0.content.0: Input tag"),
    "number as text": ({"temperature": "1"}, "temperature: Input should be a valid number"),
    "null for a number": ({"temperature": None}, "temperature: Input should be a valid number"),
    "no max_tokens": ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
    "max_tokens of nothing": ({"max_tokens": 0}, "max_tokens: Input should be greater"),
    "max_tokens above the model's": ({"max_tokens": 64001}, "max_tokens: 64001 > 64000"),
    "no messages": ({"messages": []}, "at least one message"),
    "first message by the assistant": (
        {"messages": [{"role": "assistant", "content": "a"}, *HELLO]}, 'first message must use the "user" role'),
    "system message to an older model": (
        {"messages": [*HELLO, {"role": "system", "content": "a"}]}, 'Unexpected role "system"'),
    "system message to 4.7": (
        {"model": "claude-opus-4-7", "messages": [*HELLO, {"role": "system", "content": "a"}]},
        'Unexpected role "system"'),
    "empty content": ({"messages": [{"role": "user", "content": ""}]}, "must have non-empty content"),
    "no blocks": (user(), "must have non-empty content"),
    "empty block": (user(text("a"), text("")), "messages.0.content.1: text content blocks must be non-empty"),
    "blank block": (user(text(" \n")), "must contain non-whitespace text"),
    "blank message": ({"messages": [{"role": "user", "content": " "}]}, "must contain non-whitespace text"),
    "blank block of a tool's result": (
        conversation("a", [USE], [{**RESULT, "content": [text("")]}]), "messages.2.content.0.content.0: text content"),
    "blank block of the system prompt": ({"system": [text("")]}, "system.0: text content blocks"),
    "prefill that ends in space": (conversation("a", "Well "), "cannot end with trailing whitespace"),
    "prefill to Opus 4.6": ({**conversation("a", "Well"), "model": "claude-opus-4-6"}, "assistant message prefill"),
    "prefill to Sonnet 5": ({**conversation("a", "Well"), "model": "claude-sonnet-5"}, "assistant message prefill"),
    "image type": (image({"type": "base64", "media_type": "image/tiff", "data": "AAAA"}), "source.media_type"),
    "image data": (image({"type": "base64", "media_type": "image/png", "data": "data:,"}), "invalid base64 data"),
    "image address": (image({"type": "url", "url": "y.png"}), "source.url"),
    "tool name": ({"tools": [{**TOOL, "name": "a b"}]}, "tools.0.custom.name"),
    "tools of one name": ({"tools": [TOOL, TOOL]}, "Tool names must be unique"),
    "tool without schema": ({"tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
    "tool schema of no object": ({"tools": [{"name": "f", "input_schema": {}}]}, "input_schema.type"),
    "tool schema of no form": (
        {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": []}}]}, "JSON schema is invalid"),
    "OpenAI's tool": ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools.0: Input tag"),
    "choice without tools": ({"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
    "choice of no tool": (
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "'other' not found"),
    "OpenAI's choice": ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
    "no parallel calls of no tool": (
        {"tools": [TOOL], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
        "tool_choice.disable_parallel_tool_use: Extra inputs"),
    "forced choice with a budget": (
        {**BUDGET, "tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice forces tool use"),
    "named choice with adaptive thinking": (
        {**ADAPTIVE, "tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather"}},
        "tool_choice forces tool use"),
    "call id": (conversation("a", [{**USE, "id": "a.b"}], [{**RESULT, "tool_use_id": "a.b"}]), "tool_use.id"),
    "calls of one id": (conversation("a", [USE], [RESULT], [USE], [RESULT]), "ids must be unique"),
    "arguments as text": (conversation("a", [{**USE, "input": "{}"}], [RESULT]), "messages.1.content.0.input"),
    "call by the user": (conversation([USE]), "`tool_use` blocks can only be in `assistant` messages"),
    "result by the assistant": (
        conversation("a", [RESULT]), "`tool_result` blocks can only be in `user` messages"),
    "call without tools": ({"messages": ANSWERED}, "must define tools"),
    "call without result": (conversation("a", [USE], "b"), "without `tool_result` blocks immediately after: toolu_1"),
    "call at the end": (conversation("a", [USE]), "without `tool_result` blocks immediately after"),
    "one result for two calls": (
        conversation("a", [USE, {**USE, "id": "toolu_2"}], [RESULT]), "immediately after: toolu_2"),
    "result after text": (conversation("a", [USE], [text("b"), RESULT]), "immediately after: toolu_1"),
    "result in a later turn": (conversation("a", [USE], "b", "c", [RESULT]), "immediately after: toolu_1"),
    "result without call": (conversation([RESULT]), "unexpected `tool_use_id`"),
    "result given twice": (conversation("a", [USE], [RESULT, RESULT]), "must have a single result"),
    "temperature above 1": ({"temperature": 1.1}, "temperature: range: 0..1"),
    "top_p below 0": ({"top_p": -0.1}, "top_p: range: 0..1"),
    "top_k below 0": ({"top_k": -1}, "top_k"),
    "temperature and top_p": ({"temperature": 1, "top_p": 1}, "cannot both be specified"),
    "temperature to Opus 4.7": ({"model": "claude-opus-4-7", "temperature": 1}, "`temperature` is deprecated"),
    "top_p to Opus 4.8": ({"model": NEW, "top_p": 1}, "`top_p` is deprecated for this model"),
    "top_k to Sonnet 5": ({"model": "claude-sonnet-5", "top_k": 5}, "`top_k` is deprecated for this model"),
    "temperature to a model unheard of": ({"model": "claude-next", "temperature": 1}, "`temperature` is deprecated"),
    "temperature with thoughts": ({**BUDGET, "temperature": 0.5}, "may only be set to 1 when thinking"),
    "top_p with thoughts": ({**BUDGET, "top_p": 0.5}, "greater than or equal to 0.95"),
    "top_k with thoughts": ({**BUDGET, "top_k": 5}, "must be unset when thinking"),
    "budget below 1024": ({"thinking": {"type": "enabled", "budget_tokens": 1023}, "max_tokens": 2000},
                          "budget_tokens: Input should be greater than or equal to 1024"),
    "budget of max_tokens": ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 2000},
                             "must be greater than `thinking.budget_tokens`"),
    "thoughts without budget": ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
    "budget to Opus 4.7": ({**BUDGET, "model": "claude-opus-4-7"}, '"thinking.type.enabled" is not supported'),
    "budget to Claude 3": ({**BUDGET, "model": "claude-3-haiku-20240307"}, "does not support thinking"),
    "adaptive thinking to 4.5": ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported"),
    "thoughts not sent back": ({**BUDGET, **conversation("a", [USE], [RESULT])}, "must start with a thinking block"),
    "thoughts with a strange signature": (
        conversation("a", [{**THOUGHT, "signature": "c2ln"}, USE], [RESULT]), "Invalid `signature`"),
    "effort to Haiku 4.5": ({"output_config": {"effort": "low"}}, "does not support the effort parameter"),
    "effort max to Opus 4.5": ({"model": "claude-opus-4-5", "output_config": {"effort": "max"}}, "level 'max'"),
    "effort xhigh to 4.6": ({"model": "claude-sonnet-4-6", "output_config": {"effort": "xhigh"}}, "level 'xhigh'"),
    "effort minimal": ({"model": NEW, "output_config": {"effort": "minimal"}}, "output_config.effort"),
    "effort max without thoughts to Opus 5": (
        {"model": "claude-opus-5", "thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
        "requires thinking"),
    "blank stop sequence": ({"stop_sequences": ["a", "\n"]}, "must contain non-whitespace"),
    "stop sequence as text": ({"stop_sequences": "a"}, "stop_sequences"),
    "schema to Claude 4.0": (wanting(closed(), "claude-sonnet-4-20250514"), "does not support structured outputs"),
    "open object": (wanting({"type": "object"}), "'additionalProperties' must be explicitly set to false"),
    "open object inside": (wanting(closed(type="array", items={"type": "object"})), "schema.properties.a.items"),
    **{f"schema keyword {keyword}": (wanting(closed(**{"type": "string", keyword: 1})), f"'{keyword}' is not")
       for keyword in ("minimum", "maximum", "exclusiveMinimum", "multipleOf", "minLength", "maxLength", "pattern",
                       "minItems", "maxItems", "uniqueItems", "minProperties", "not")},
    "schema keyword oneOf": (wanting(closed(oneOf=[{"type": "string"}])), "'oneOf' is not"),
    "schema of no form": (wanting(closed(anyOf={})), "JSON schema is invalid"),
    "schema format": (wanting(closed(type="string", format="phone")), "format 'phone' is not supported"),
    "named format": ({"output_config": {"format": {"type": "json_schema", "schema": closed(), "name": "a"}}},
                     "output_config.format.name: Extra inputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(provider, case):
    body, told = REFUSED[case]
    status, _headers, answer = send(provider, body)
    assert (status, answer["type"]) == (400, "error"), answer
    assert answer["error"]["type"] == "invalid_request_error" and told in answer["error"]["message"], answer
    assert provider.requests()[0]["refused"]["message"] == answer["error"]["message"]


ACCEPTED = {
    "sampling": {"temperature": 0.5, "top_k": 5, "stop_sequences": ["x"], "metadata": {"user_id": "u"},
                 "service_tier": "standard_only"},
    "top_p alone": {"top_p": 0.9},
    "roles in a row": {"messages": [*HELLO, *HELLO, {"role": "assistant", "content": "a"}, *HELLO]},
    "system message to Opus 4.8": {"model": NEW, "messages": [*HELLO, {"role": "system", "content": "a"}, *HELLO]},
    "prefill": conversation("a", "Well,"),
    "all results, then text": conversation(
        "a", [text("I look."), USE, {**USE, "id": "toolu_2"}],
        [{**RESULT, "tool_use_id": "toolu_2", "is_error": True}, {"type": "tool_result", "tool_use_id": "toolu_1"},
         text("b")]),
    "results in two messages": {"tools": [TOOL], "messages": [
        *HELLO, {"role": "assistant", "content": [USE, {**USE, "id": "toolu_2"}]},
        {"role": "user", "content": [RESULT]}, {"role": "user", "content": [{**RESULT, "tool_use_id": "toolu_2"}]}]},
    "images and documents": user(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
        text("b")),
    "thoughts sent back": {**BUDGET, **conversation("a", [THOUGHT, USE], [RESULT])},
    "budget with sampling left alone": {**BUDGET, "temperature": 1},
    "adaptive thinking": {**ADAPTIVE, "output_config": {"effort": "xhigh"}, "tools": [TOOL],
                          "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    "no thinking": {"model": "claude-opus-5", "thinking": {"type": "disabled"}, "output_config": {"effort": "high"}},
    "strict tool": {"tools": [{**TOOL, "strict": True, "description": "d", "cache_control": {"type": "ephemeral"}}]},
    "cached system prompt": {"system": [{**text("a"), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
    "schema": wanting(closed(type="string", format="uuid")),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(provider, case):
    status, _headers, answer = send(provider, ACCEPTED[case])
    assert status == 200, answer
