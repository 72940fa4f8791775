"""Replicate's predictions: what one is asked, what comes of it, and the states that it goes through.

A prediction is done when it is made, unless it is to be pending or nobody waits for it: then it is done at a later
look. Its output is the answer that every format gives, in words.
"""

import datetime
import re
from dataclasses import dataclass
from typing import Any, Optional

from pydantic import TypeAdapter
from replicate.types import Prediction as PredictionType
from typing_extensions import NotRequired

import answers
import sse
from behaviours import Behaviour
from shapes import CREATED
from vendor_types import VendorTypes, checked

STREAM_PREFIX = "/replicate-stream"
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_FINAL = ("succeeded", "failed", "canceled")
_LOGS = "Simulated."
_LLAMA_TURN = re.compile(r"<\|start_header_id\|>user<\|end_header_id\|>\n\n(.*?)<\|eot_id\|>", re.DOTALL)
_FLAT_TURN = re.compile(r"(?:^|\n)User: ")
_USAGE_NAMES = {"prompt_tokens": "input_token_count", "completion_tokens": "output_token_count"}

# Times are text on the wire; the SDK leaves open what else the metrics hold, and does not know the source.
_TIME = NotRequired[Optional[str]]
_TYPE = TypeAdapter(VendorTypes(also={
    "Prediction": {"created_at": str, "started_at": _TIME, "completed_at": _TIME, "source": NotRequired[str]},
    "Metrics": {"predict_time": NotRequired[float], "input_token_count": NotRequired[int],
                "output_token_count": NotRequired[int]}}).strict(PredictionType))


def time(seconds=0.0):
    """A time so many seconds after every prediction's creation, as text."""
    return datetime.datetime.fromtimestamp(CREATED + seconds, datetime.timezone.utc).isoformat().replace("+00:00", "Z")


@dataclass
class Prediction:
    """One run of a model.

    `output` is what the model will say and `counts` are its tokens; `origin` is the server's as the client knows it,
    `streamed` whether a stream was asked for, `polls` how often it is still looked at in vain.
    """

    id: str
    model: str
    version: str
    deployment: Optional[str]
    input: dict
    output: Any
    counts: dict
    origin: str
    streamed: bool
    behaviour: Behaviour
    status: str = "starting"
    polls: int = 0

    def __post_init__(self):
        self.polls = self.behaviour.pending_polls or 0

    def wait(self):
        """The client waits for the end, which it sees unless the prediction is to be pending."""
        if self.behaviour.pending_polls is None:
            self._finish()
        else:
            self.status = "processing"

    def look(self):
        """The client looks how far it is."""
        if self.status in _FINAL:
            return
        if self.polls == 0:
            self._finish()
        else:
            self.status, self.polls = "processing", self.polls - 1

    def cancel(self):
        if self.status not in _FINAL:
            self.status = "canceled"

    def _finish(self):
        self.status = "succeeded" if self.behaviour.prediction_fails is None else "failed"

    def told(self):
        """The prediction as the API tells it."""
        begun, ended = self.status != "starting", self.status in _FINAL
        prediction = {
            "id": self.id, "model": self.model, "version": self.version, "input": self.input,
            "logs": _LOGS if begun else "", "output": self.output if self.status == "succeeded" else None,
            "data_removed": False, "error": self.behaviour.prediction_fails if self.status == "failed" else None,
            "source": "api", "status": self.status, "created_at": time(), "started_at": time(0.25) if begun else None,
            "completed_at": time(0.75) if ended else None, "urls": self._fair_urls(), "metrics": self._fair_metrics()}
        if self.deployment:
            prediction["deployment"] = self.deployment
        return self._scripted(checked(_TYPE, prediction))

    def _fair_urls(self):
        this = f"{self.origin}/replicate/v1/predictions/{self.id}"
        stream = {"stream": f"{self.origin}{STREAM_PREFIX}/{self.id}"} if self.streamed else {}
        return {"get": this, "cancel": f"{this}/cancel", "web": f"https://replicate.com/p/{self.id}", **stream}

    def _fair_metrics(self):
        if self.status not in _FINAL:
            return {}
        return {"predict_time": 0.5, "total_time": 0.75, **(self.counts if self.status == "succeeded" else {})}

    def _scripted(self, prediction):
        """The prediction with scripted addresses and counts, of any type."""
        addresses = {**prediction["urls"], **self.behaviour.urls}
        prediction["urls"] = {name: address for name, address in addresses.items() if address is not None}
        if self.behaviour.no_metrics or self.behaviour.no_usage:
            prediction["metrics"] = {}
        elif prediction["metrics"]:
            scripted = {_USAGE_NAMES.get(name, name): value for name, value in self.behaviour.usage.items()}
            prediction["metrics"] = {**prediction["metrics"], **scripted}
        return prediction

    def events(self):
        """The stream of a prediction that has been cancelled, or else runs to its end meanwhile."""
        events = [("logs", _LOGS)]
        if self.status == "canceled":
            events.append(("done", {"reason": "canceled"}))
        elif self.behaviour.prediction_fails is not None:
            events += [("error", {"detail": self.behaviour.prediction_fails}), ("done", {"reason": "error"})]
        else:
            words = self.output if isinstance(self.output, list) else [self.output]
            events += [*(("output", word) for word in words), ("done", {})]
        return [sse.event(data, name, f"{CREATED}:{place}") for place, (name, data) in enumerate(events)]


def answer(model, given, api_format, behaviour, number):
    """What a model gives for an input, and its counts of tokens."""
    last = given["messages"][-1] if given.get("messages") else {"role": "user", "content": _last_turn(given["prompt"])}
    asked = {"model": model, "messages": [last], "stop": list(filter(None, given.get("stop_sequences", "").split(","))),
             "max_tokens": next((given[name] for name in _LIMITS if name in given), None)}
    without_calls = behaviour.model_copy(update={"tool_calls": None})
    completion = answers.complete(asked, api_format, without_calls, number)
    message = completion["choices"][0]["message"]
    text = message["content"] if message["refusal"] is None else message["refusal"]
    return (behaviour.output if "output" in behaviour.model_fields_set else sse.words(text)), {
        "input_token_count": answers.count_prompt({"messages": _messages(given)}),
        "output_token_count": completion["usage"]["completion_tokens"]}


def _messages(given):
    """The input as messages; a conversation in a prompt is one."""
    if given.get("messages"):
        return given["messages"]
    system = given.get("system_prompt") or given.get("system_instruction")
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": given["prompt"]}]


def _last_turn(prompt):
    """What the user said last in a prompt that may hold a whole conversation, in plain words or in Llama's marks."""
    marked = _LLAMA_TURN.findall(prompt)
    if marked:
        return marked[-1]
    first, *turns = _FLAT_TURN.split(prompt)
    return re.sub(r"\s*Assistant:\s*\Z", "", turns[-1]) if turns else first
