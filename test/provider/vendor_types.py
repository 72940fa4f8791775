"""The types of requests and answers that the vendors publish in their SDKs, made strict.

Both directions keep to them: a request is refused where it has a member that its vendor's SDK does not know, and an
answer of the simulator that the SDK would not know is a fault of the simulator. `also` names what an SDK lacks of
that which its API is documented or recorded to take or give.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, List, Literal, Optional

import groq.types.chat
import huggingface_hub.inference._generated.types.chat_completion as huggingface
import mistralai.client.models as mistral
import openai.types.chat
import openrouter.components as openrouter
import together.types.chat
from groq.types.chat.completion_create_params import CompletionCreateParams as GroqParams
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as OpenAIParams
from pydantic import TypeAdapter
from together.types.chat.completion_create_params import CompletionCreateParamsBase as TogetherParams
from typing_extensions import NotRequired, get_type_hints

from schemas import StrictTypes

_STREAM = {"stream": NotRequired[Optional[bool]]}


class VendorTypes(StrictTypes):
    """Also rebuilds dataclasses, and adds to the types named in `also` the members given there."""

    def __init__(self, renamed=None, also=None):
        super().__init__(renamed)
        self._also = also or {}

    def strict(self, tp):
        if not (isinstance(tp, type) and dataclasses.is_dataclass(tp)):
            return super().strict(tp)
        if tp not in self._built:
            self._built[tp] = self.record(tp.__name__, self.members(tp))
        return self._built[tp]

    def members(self, tp):
        """The members of a TypedDict or a dataclass, whose fields with a default may be left out."""
        if not dataclasses.is_dataclass(tp):
            return super().members(tp)
        hints = get_type_hints(tp)
        return {each.name: NotRequired[self.strict(hints[each.name])] if each.default is None
                else self.strict(hints[each.name]) for each in dataclasses.fields(tp)}

    def also(self, tp):
        return self._also.get(tp.__name__, {})

    def record(self, name, members):
        return super().record(name, {**members, **self._also.get(name, {})})


@dataclass(frozen=True)
class Vendor:
    """`request` has the members of a chat request; the others check a whole answer and a chunk of a stream."""

    request: dict
    completion: TypeAdapter
    chunk: TypeAdapter


def _vendor(request, completion, chunk, renamed=None, also=None):
    types = VendorTypes(renamed, also)
    members = types.members(request)
    return Vendor({**members, **types.also(request)}, TypeAdapter(types.strict(completion)),
                  TypeAdapter(types.strict(chunk)))


def checked(adapter, value):
    """The value, which keeps to the type; raises pydantic's ValidationError, a ValueError."""
    adapter.validate_python(value, strict=True)
    return value


_REASONING = {"reasoning_content": NotRequired[Optional[str]]}
_FILTERED = {"prompt_filter_results": NotRequired[List[dict[str, Any]]]}
_NATIVE = {"native_finish_reason": NotRequired[Optional[str]]}
_SERVED_BY = {"provider": NotRequired[str]}

OPENAI = _vendor(OpenAIParams, openai.types.chat.ChatCompletion, openai.types.chat.ChatCompletionChunk,
                 also={"CompletionCreateParamsBase": _STREAM})

# What Azure says of its content filters is in none of its types; the chunk that begins a stream has no object.
AZURE = _vendor(OpenAIParams, openai.types.chat.ChatCompletion, openai.types.chat.ChatCompletionChunk, also={
    "CompletionCreateParamsBase": _STREAM, "ChatCompletion": _FILTERED,
    "ChatCompletionChunk": {**_FILTERED, "object": Literal["", "chat.completion.chunk"]},
    "Choice": {"content_filter_results": NotRequired[dict[str, Any]]}})

# Servers that publish no SDK and are used with OpenAI's; their reasoning models say what they think.
OPENAI_LIKE = _vendor(OpenAIParams, openai.types.chat.ChatCompletion, openai.types.chat.ChatCompletionChunk, also={
    "CompletionCreateParamsBase": _STREAM, "ChatCompletionAssistantMessageParam": _REASONING,
    "ChatCompletionMessage": _REASONING, "ChoiceDelta": _REASONING})

# Together's types want an index in every tool call that comes back, have tool_choice as a whole call, and know neither
# parts in a system message nor an image's detail, all against its documentation: these members are OpenAI's.
TOGETHER = _vendor(TogetherParams, together.types.chat.ChatCompletion, together.types.chat.ChatCompletionChunk, also={
    "CompletionCreateParamsBase": {
        name: OPENAI.request[name] for name in ("messages", "tool_choice", "stream", "stream_options")}})

# OpenRouter's documentation of reasoning tokens has more members than its SDK.
OPENROUTER = _vendor(
    openrouter.ChatRequestTypedDict, openrouter.ChatResultTypedDict, openrouter.ChatStreamChunkTypedDict,
    renamed={"schema_": "schema", "format_": "format"},
    also={"ChatChoiceTypedDict": _NATIVE, "ChatStreamChoiceTypedDict": _NATIVE, "ChatResultTypedDict": _SERVED_BY,
          "ChatStreamChunkTypedDict": _SERVED_BY, "ChatRequestTypedDict": {"verbosity": NotRequired[str]},
          "ChatRequestReasoningTypedDict": {"enabled": NotRequired[bool], "exclude": NotRequired[bool],
                                            "max_tokens": NotRequired[int]}})

GROQ = _vendor(GroqParams, groq.types.chat.ChatCompletion, groq.types.chat.chat_completion_chunk.ChatCompletionChunk,
               also={"CompletionCreateParams": {"stream_options": OPENAI.request["stream_options"]}})

MISTRAL = _vendor(
    mistral.ChatCompletionRequestTypedDict, mistral.ChatCompletionResponseTypedDict, mistral.CompletionChunkTypedDict,
    renamed={"schema_definition": "schema"},
    also={"UsageInfoTypedDict": {"prompt_tokens_details": NotRequired[dict[str, int]]}})

# Hugging Face's types of messages know neither a call's arguments nor the id that a result answers: they are OpenAI's.
HUGGINGFACE = _vendor(
    huggingface.ChatCompletionInput, huggingface.ChatCompletionOutput, huggingface.ChatCompletionStreamOutput,
    also={"ChatCompletionInput": {"messages": OPENAI.request["messages"],
                                  "reasoning_effort": NotRequired[Optional[str]]},
          "ChatCompletionOutput": {"object": Literal["chat.completion"]},
          "ChatCompletionStreamOutput": {"object": Literal["chat.completion.chunk"]}})
