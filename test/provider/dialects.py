"""The dialects of OpenAI's chat completions that the simulator speaks, one Dialect each.

A dialect is data: where it is served, the schema and the rules of its requests, the shape of its answers, how its
errors, model lists and tool call ids look. Schemas come from the vendors' SDKs (vendor_types.py), less what an API
refuses although its SDK has it.
"""

import hashlib
import string
from dataclasses import dataclass, field
from typing import Any, Callable, Literal

from typing_extensions import NotRequired

import rules
import shapes
from schemas import Schema, StrictTypes
from shapes import Shape


def _schema(shape, *, only=None, without=(), also=None, ignores_unknown=False):
    """A schema of some of the vendor's members (all, `only` these, or all `without` those) and `also` others."""
    members = shape.vendor.request
    chosen = {name: members[name] for name in only or members if name not in without}
    chosen.update({name: NotRequired[tp] for name, tp in (also or {}).items()})
    return Schema(StrictTypes.record("ChatRequest", chosen), ignores_unknown)


# How errors look -----------------------------------------------------------------------------------------------------

def _openai_error(refusal):
    return {"error": {"message": refusal.message, "type": refusal.type, "param": refusal.param, "code": refusal.code}}


def _together_error(refusal):
    return {"id": "oc-simulated", **_openai_error(refusal)}


def _openrouter_error(refusal):
    error = {"code": refusal.status, "message": refusal.message}
    if refusal.code and refusal.status != 401:
        error["metadata"] = {"error_type": refusal.code}
    return {"error": error}


def _groq_error(refusal):
    return {"error": {"message": refusal.message, "type": refusal.type, "code": refusal.code}}


def _mistral_error(refusal):
    if refusal.status == 401:
        return {"detail": "Unauthorized"}
    if refusal.detail:
        return {"detail": refusal.detail}
    return {"object": "error", "message": refusal.message, "type": refusal.type, "param": refusal.param,
            "code": refusal.code, "raw_status_code": refusal.status}


def _huggingface_error(refusal):
    if refusal.status == 401:
        return {"error": "Invalid credentials in Authorization header"}
    return _openai_error(refusal)


def _azure_error(refusal):
    """What stands before the model says the status only."""
    if refusal.status in (401, 404):
        return {"error": {"code": str(refusal.status), "message": refusal.message}}
    return _openai_error(refusal)


def _xai_error(refusal):
    return {"code": "Client specified an invalid argument", "error": refusal.message}


# How errors inside a stream look -------------------------------------------------------------------------------------

def _broken_chunk(**members):
    return {"id": "chatcmpl-simulated", "object": "chat.completion.chunk", "created": shapes.CREATED,
            "model": "simulated", **members}


def _openrouter_stream_error(refusal):
    """A chunk that has the error beside a choice that ends with it."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error",
              "native_finish_reason": "error", "logprobs": None}
    return _broken_chunk(provider="Simulated", choices=[choice], **_openrouter_error(refusal))


def _groq_stream_error(refusal):
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
    return _broken_chunk(choices=[choice], x_groq={"id": "req_simulated", "error": refusal.message})


def _huggingface_stream_error(refusal):
    kinds = ("overloaded", "validation", "incomplete_generation")
    return {"error": refusal.message, "error_type": refusal.type if refusal.type in kinds else "generation"}


# How model lists look ------------------------------------------------------------------------------------------------

def _openai_models(names):
    return {"object": "list", "data": [_openai_model(name) for name in names]}


def _openai_model(name):
    return {"id": name, "object": "model", "created": 1700000000, "owned_by": "simulated"}


def _together_models(names):
    return [{**_openai_model(name), "type": "chat", "context_length": 131072,
             "pricing": {"input": 0.5, "output": 1.5, "hourly": 0, "base": 0, "finetune": 0}} for name in names]


def _openrouter_models(names):
    return {"data": [{"id": name, "name": name, "created": 1700000000, "context_length": 131072,
                      "pricing": {"prompt": "0.0000005", "completion": "0.0000015"}} for name in names]}


def _huggingface_models(names):
    backer = {"provider": "simulated", "status": "live", "context_length": 131072,
              "pricing": {"input": 0.5, "output": 1.5}, "supports_tools": True, "supports_structured_output": True}
    return {"object": "list", "data": [{**_openai_model(name), "providers": [backer]} for name in names]}


# How tool call ids look ----------------------------------------------------------------------------------------------

def _long_call_id(seed):
    return "call_" + hashlib.sha256(seed.encode()).hexdigest()[:24]


def _short_call_id(seed):
    letters = string.ascii_letters + string.digits
    return "".join(letters[byte % len(letters)] for byte in hashlib.sha256(seed.encode()).digest()[:9])


# The dialects --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Dialect:
    """One provider's ways. `prefixes` are base URLs' paths; `check_path` is a further authenticated GET, if any.

    The key stands in `key_header`, after "Bearer" if that is Authorization. With `api_versions` the query parameter
    api-version must be one of them.
    """

    name: str
    prefixes: tuple
    shape: Shape
    schema: Schema
    rules: tuple
    models: tuple
    key_header: str = "authorization"
    api_versions: tuple = ()
    needs_key: bool = True
    models_are_public: bool = False
    schema_status: int = 400
    bad_key_status: int = 401
    bad_key: str = ("Incorrect API key provided: {key}. You can find your API key at "
                    "https://platform.openai.com/account/api-keys.")
    no_key: str = "You didn't provide an API key. You need to provide your API key in an Authorization header."
    error: Callable = _openai_error
    stream_error: Callable = _openai_error
    model_list: Callable = _openai_models
    call_id: Callable = _long_call_id
    check_path: str = ""
    check_answer: dict = field(default_factory=dict)
    tells_tier: bool = False


_COMMON = (rules.has_messages, rules.stream_options_need_stream, rules.calls_are_answered,
           rules.assistant_says_something, rules.tools_are_named, rules.tool_choice_fits_tools,
           rules.images_are_addressed)
_PENALTIES = {"frequency_penalty": (-2.0, 2.0), "presence_penalty": (-2.0, 2.0)}
_LIMITS = {"max_tokens": (1, None), "max_completion_tokens": (1, None), "top_p": (0.0, 1.0), "n": (1, 128)}
_WITHOUT_DEVELOPER = rules.roles("system", "user", "assistant", "tool")
_OPENAI_RULES = (
    *_COMMON, rules.stops_are_few, rules.schemas_are_strict, rules.parallel_calls_need_tools,
    rules.json_mode_is_asked_for, rules.openai_output_limit, rules.openai_sampling, rules.openai_reasoning_parameters,
    rules.openai_logprobs, rules.openai_old_models, rules.openai_metadata, rules.openai_logit_bias,
    rules.within(temperature=(0.0, 2.0), top_logprobs=(0, 20), **_LIMITS, **_PENALTIES))
_MISTRAL_MEMBERS = (
    "model messages temperature top_p max_tokens stream stop random_seed metadata response_format tools tool_choice "
    "presence_penalty frequency_penalty n prediction parallel_tool_calls prompt_mode guardrails prompt_cache_key "
    "safe_prompt").split()
# Groq's SDK has them, its documentation says that no model supports them or that they are for other services.
_GROQ_UNSUPPORTED = (
    "compound_custom", "citation_options", "documents", "exclude_domains", "include_domains", "search_settings",
    "function_call", "functions", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs",
    "metadata", "store")
_OPENAI_MODELS = ("gpt-4o-mini", "gpt-4.1", "gpt-5-mini", "gpt-5.5", "o3")
_AZURE_BAD_KEY = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
    "active subscription and use a correct regional API endpoint for your resource.")

DIALECTS = (
    Dialect(
        name="openai", prefixes=("/openai/v1", "/v1"), shape=shapes.OPENAI, schema=_schema(shapes.OPENAI),
        rules=_OPENAI_RULES, models=_OPENAI_MODELS, tells_tier=True),
    Dialect(
        name="azure", prefixes=("/azure/openai/v1",), shape=shapes.AZURE, schema=_schema(shapes.AZURE),
        rules=_OPENAI_RULES, models=_OPENAI_MODELS, tells_tier=True, error=_azure_error, key_header="api-key",
        bad_key=_AZURE_BAD_KEY, no_key=_AZURE_BAD_KEY,
        api_versions=("2024-10-21", "2025-04-01-preview", "preview", "latest", "v1")),
    Dialect(
        name="together", prefixes=("/together/v1",), error=_together_error, stream_error=_together_error,
        model_list=_together_models, shape=shapes.TOGETHER,
        schema=_schema(shapes.TOGETHER, without=("function_call", "compliance"), ignores_unknown=True),
        schema_status=422, models=("openai/gpt-oss-20b", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        bad_key="Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys.",
        rules=(*_COMMON, _WITHOUT_DEVELOPER,
               rules.within(temperature=(0.0, 2.0), logprobs=(0, 20), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="openrouter", prefixes=("/openrouter/api/v1",), error=_openrouter_error,
        stream_error=_openrouter_stream_error, model_list=_openrouter_models, shape=shapes.OPENROUTER,
        schema=_schema(shapes.OPENROUTER, ignores_unknown=True),
        models_are_public=True, models=("deepseek/deepseek-v3.2", "anthropic/claude-haiku-4.5"),
        bad_key="User not found.", no_key="No auth credentials found", check_path="/key",
        check_answer={"data": {"label": "sk-or-v1-simulated", "limit": None, "limit_remaining": None, "usage": 0,
                               "is_free_tier": False}},
        rules=(*_COMMON, rules.stops_are_few,
               rules.within(temperature=(0.0, 2.0), top_logprobs=(0, 20), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="groq", prefixes=("/groq/openai/v1",), error=_groq_error, stream_error=_groq_stream_error,
        call_id=_short_call_id, shape=shapes.GROQ, schema=_schema(shapes.GROQ, without=_GROQ_UNSUPPORTED),
        bad_key="Invalid API Key", no_key="Invalid API Key", models=("llama-3.1-8b-instant", "openai/gpt-oss-20b"),
        rules=(*_COMMON, rules.stops_are_few, rules.json_mode_is_asked_for, _WITHOUT_DEVELOPER, rules.groq_names,
               rules.groq_reasoning, rules.groq_json_schema,
               rules.within(temperature=(0.0, 2.0), **{**_LIMITS, "n": (1, 1)}))),
    Dialect(
        name="mistral", prefixes=("/mistral/v1",), error=_mistral_error, stream_error=_mistral_error,
        call_id=_short_call_id, schema_status=422, shape=shapes.MISTRAL,
        schema=_schema(shapes.MISTRAL, only=_MISTRAL_MEMBERS, also={"reasoning_effort": Literal["high", "none"]}),
        models=("ministral-8b-2512", "mistral-large-2512"),
        rules=(*_COMMON, rules.mistral_call_ids, rules.mistral_last_role,
               rules.within(temperature=(0.0, 1.5), max_tokens=(1, None), top_p=(0.0, 1.0), n=(1, None),
                            **_PENALTIES))),
    Dialect(
        name="huggingface", prefixes=("/huggingface/v1",), error=_huggingface_error,
        stream_error=_huggingface_stream_error, model_list=_huggingface_models, models_are_public=True,
        shape=shapes.HUGGINGFACE, schema=_schema(shapes.HUGGINGFACE, without=("logit_bias", "n", "tool_prompt")),
        models=("openai/gpt-oss-20b:groq", "deepseek-ai/DeepSeek-V4-Pro:novita"),
        rules=(*_COMMON, rules.stops_are_few, _WITHOUT_DEVELOPER, rules.huggingface_image_detail,
               rules.within(temperature=(0.0, 2.0), top_logprobs=(0, 5), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="deepseek", prefixes=("/deepseek/v1", "/deepseek"), shape=shapes.OPENAI_LIKE,
        schema=_schema(shapes.OPENAI_LIKE, also={"thinking": dict[str, Any]}, ignores_unknown=True),
        models=("deepseek-chat", "deepseek-reasoner"),
        bad_key="Authentication Fails, Your api key: {key} is invalid",
        rules=(*_COMMON, rules.within(temperature=(0.0, 2.0), top_logprobs=(0, 20), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="xai", prefixes=("/xai/v1",), shape=shapes.OPENAI_LIKE, error=_xai_error, stream_error=_xai_error,
        schema=_schema(shapes.OPENAI_LIKE, ignores_unknown=True), models=("grok-4", "grok-3-mini"),
        bad_key="Incorrect API key provided: {key}. You can obtain an API key from https://console.x.ai.",
        bad_key_status=400,
        rules=(*_COMMON, rules.xai_reasoning,
               rules.within(temperature=(0.0, 2.0), top_logprobs=(0, 8), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="local", prefixes=("/local/v1",), needs_key=False, shape=shapes.OPENAI_LIKE,
        schema=_schema(shapes.OPENAI_LIKE, also={"top_k": int, "min_p": float, "repetition_penalty": float,
                                                 "reasoning": dict[str, Any]}, ignores_unknown=True),
        models=("SmolLM2-135M-Instruct",), rules=(*_COMMON, rules.within(temperature=(0.0, None), **_LIMITS))),
)
