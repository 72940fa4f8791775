"""The dialects of OpenAI's chat completions that the simulator speaks, one Dialect each.

A dialect is data: where it is served, the schema and the rules of its requests, how its errors, model lists and
tool call ids look. Schemas derive from OpenAI's by naming what differs, except Mistral's, which comes from its own SDK.
"""

import hashlib
import string
from dataclasses import dataclass, field
from typing import Any, Callable, List, Literal, Optional

from mistralai.client.models.chatcompletionrequest import ChatCompletionRequestTypedDict
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from typing_extensions import NotRequired

import rules
from schemas import Schema, StrictTypes

_OPENAI_TYPES = StrictTypes()
_OPENAI = {**_OPENAI_TYPES.members(CompletionCreateParamsBase), "stream": NotRequired[Optional[bool]]}
_MISTRAL_TYPES = StrictTypes(renamed={"schema_definition": "schema"})
_MISTRAL = _MISTRAL_TYPES.members(ChatCompletionRequestTypedDict)


def _schema(members, *, only=None, without=(), also=None, ignores_unknown=False):
    """A schema of some of `members` (all, `only` these, or all `without` those) and `also` others."""
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
    """One provider's ways. `prefixes` are base URLs' paths; `check_path` is a further authenticated GET, if any."""

    name: str
    prefixes: tuple
    schema: Schema
    rules: tuple
    models: tuple
    needs_key: bool = True
    models_are_public: bool = False
    schema_status: int = 400
    bad_key: str = ("Incorrect API key provided: {key}. You can find your API key at "
                    "https://platform.openai.com/account/api-keys.")
    no_key: str = "You didn't provide an API key. You need to provide your API key in an Authorization header."
    error: Callable = _openai_error
    stream_error: Callable = _openai_error
    model_list: Callable = _openai_models
    call_id: Callable = _long_call_id
    check_path: str = ""
    check_answer: dict = field(default_factory=dict)
    reports_cost: bool = False


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
_HUGGINGFACE_MEMBERS = (
    "model messages max_tokens temperature top_p seed stream stream_options tools tool_choice response_format "
    "frequency_penalty presence_penalty logprobs top_logprobs reasoning_effort").split()
_OPENAI_ONLY = ("audio", "function_call", "functions", "metadata", "modalities", "moderation", "prediction",
                "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "store",
                "verbosity", "web_search_options")

DIALECTS = (
    Dialect(
        name="openai", prefixes=("/openai/v1", "/v1"), schema=_schema(_OPENAI), rules=_OPENAI_RULES,
        models=("gpt-4o-mini", "gpt-4.1", "gpt-5-mini", "gpt-5.5", "o3")),
    Dialect(
        name="together", prefixes=("/together/v1",), error=_together_error, model_list=_together_models,
        schema=_schema(_OPENAI, without=(*_OPENAI_ONLY, "user", "service_tier", "parallel_tool_calls", "top_logprobs",
                                         "max_completion_tokens", "reasoning_effort", "stop", "logprobs"),
                       also={"stop": List[str], "logprobs": int, "top_k": int, "min_p": float,
                             "repetition_penalty": float, "reasoning": dict[str, Any], "safety_model": str,
                             "context_length_exceeded_behavior": Literal["error", "truncate"], "echo": bool,
                             "chat_template_kwargs": dict[str, Any],
                             "reasoning_effort": Literal["low", "medium", "high"]},
                       ignores_unknown=True),
        schema_status=422, models=("openai/gpt-oss-20b", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        bad_key="Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys.",
        rules=(*_COMMON, _WITHOUT_DEVELOPER,
               rules.within(temperature=(0.0, 2.0), logprobs=(0, 20), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="openrouter", prefixes=("/openrouter/api/v1",), error=_openrouter_error, model_list=_openrouter_models,
        schema=_schema(_OPENAI, without=(*_OPENAI_ONLY, "n"),
                       also={"metadata": dict[str, str], "modalities": List[str], "verbosity": str, "top_k": int, "top_a": float, "min_p": float,
                             "repetition_penalty": float, "models": List[str], "provider": dict[str, Any],
                             "plugins": List[dict[str, Any]], "session_id": str, "reasoning": dict[str, Any]},
                       ignores_unknown=True),
        models_are_public=True, models=("deepseek/deepseek-v3.2", "anthropic/claude-haiku-4.5"),
        bad_key="User not found.", no_key="No auth credentials found", reports_cost=True, check_path="/key",
        check_answer={"data": {"label": "sk-or-v1-simulated", "limit": None, "limit_remaining": None, "usage": 0,
                               "is_free_tier": False}},
        rules=(*_COMMON, rules.stops_are_few,
               rules.within(temperature=(0.0, 2.0), top_logprobs=(0, 20), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="groq", prefixes=("/groq/openai/v1",), error=_groq_error, call_id=_short_call_id,
        schema=_schema(_OPENAI, without=(*_OPENAI_ONLY, "logit_bias", "logprobs", "top_logprobs", "frequency_penalty",
                                         "presence_penalty", "service_tier", "reasoning_effort"),
                       also={"service_tier": Literal["auto", "on_demand", "flex", "performance"],
                             "reasoning_effort": Literal["low", "medium", "high", "none", "default"],
                             "reasoning_format": Literal["hidden", "raw", "parsed"], "include_reasoning": bool}),
        bad_key="Invalid API Key", no_key="Invalid API Key", models=("llama-3.1-8b-instant", "openai/gpt-oss-20b"),
        rules=(*_COMMON, rules.stops_are_few, rules.json_mode_is_asked_for, _WITHOUT_DEVELOPER, rules.groq_names,
               rules.groq_reasoning, rules.groq_json_schema,
               rules.within(temperature=(0.0, 2.0), **{**_LIMITS, "n": (1, 1)}))),
    Dialect(
        name="mistral", prefixes=("/mistral/v1",), error=_mistral_error, call_id=_short_call_id, schema_status=422,
        schema=_schema(_MISTRAL, only=_MISTRAL_MEMBERS, also={"reasoning_effort": Literal["high", "none"]}),
        models=("ministral-8b-2512", "mistral-large-2512"),
        rules=(*_COMMON, rules.mistral_call_ids, rules.mistral_last_role,
               rules.within(temperature=(0.0, 1.5), max_tokens=(1, None), top_p=(0.0, 1.0), n=(1, None),
                            **_PENALTIES))),
    Dialect(
        name="huggingface", prefixes=("/huggingface/v1",), error=_huggingface_error, model_list=_huggingface_models,
        schema=_schema(_OPENAI, only=_HUGGINGFACE_MEMBERS, also={"stop": List[str]}), models_are_public=True,
        models=("openai/gpt-oss-20b:groq", "deepseek-ai/DeepSeek-V4-Pro:novita"),
        rules=(*_COMMON, rules.stops_are_few, _WITHOUT_DEVELOPER, rules.huggingface_image_detail,
               rules.within(temperature=(0.0, 2.0), top_logprobs=(0, 5), **_LIMITS, **_PENALTIES))),
    Dialect(
        name="local", prefixes=("/local/v1",), needs_key=False,
        schema=_schema(_OPENAI, also={"top_k": int, "min_p": float, "repetition_penalty": float,
                                      "reasoning": dict[str, Any]}, ignores_unknown=True),
        models=("SmolLM2-135M-Instruct",), rules=(*_COMMON, rules.within(temperature=(0.0, None), **_LIMITS))),
)
