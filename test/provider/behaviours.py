"""Scripted behaviours: what they may say, and which request gets which.

A script is a list of behaviours. Each request takes the first one that matches its model and path and has times
left; requests that match none are answered normally. Behaviours of the connection (hang or reset at "connect") are
taken by the next connection that the provider accepts, before any byte is read.
"""

from typing import Any, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Drip(BaseModel):
    """The body in small pieces: `bytes` at a time, `every_ms` apart."""

    model_config = ConfigDict(extra="forbid")
    bytes: int = Field(gt=0)
    every_ms: int = Field(ge=0)


class ScriptedError(BaseModel):
    """An error in the dialect's own shape."""

    model_config = ConfigDict(extra="forbid")
    status: int = 400
    message: str = "A scripted error."
    type: str = "invalid_request_error"
    param: Optional[str] = None
    code: Optional[Union[str, int]] = None
    details: Optional[list[dict]] = None


class Behaviour(BaseModel):
    """One entry of a script; README.md describes every member."""

    model_config = ConfigDict(extra="forbid")

    # Which requests, how often
    for_model: Optional[str] = None
    for_path: Optional[str] = None
    times: Optional[int] = Field(default=1, gt=0)

    # When and how the bytes go out
    delay_ms: int = Field(default=0, ge=0)
    hang: Optional[Literal["connect", "before_headers", "after_headers", "mid_body"]] = None
    reset: Optional[Literal["connect", "after_request", "mid_body"]] = None
    close: Optional[Literal["after_request", "mid_body", "after_answer"]] = None
    body_bytes: Optional[int] = Field(default=None, ge=0)
    drip: Optional[Drip] = None
    chunked: bool = False
    content_length: Optional[int] = None
    not_http: bool = False
    huge_headers_kb: int = Field(default=0, ge=0)
    endless: bool = False

    # When and how an event stream goes out
    event_delay_ms: int = Field(default=0, ge=0)
    hold_after_events: Optional[int] = Field(default=None, ge=0)
    stop_after_events: Optional[int] = Field(default=None, ge=0)
    stream_error: Optional[ScriptedError] = None
    insert_events: list[str] = []
    comments: bool = False
    crlf: bool = False
    no_final_blank_line: bool = False
    cut_bytes: Optional[int] = Field(default=None, gt=0)

    # Another answer altogether
    status: Optional[int] = Field(default=None, ge=100, le=999)
    headers: dict[str, str] = {}
    body: Any = None
    raw_body: Optional[str] = None
    error: Optional[ScriptedError] = None
    redirect: Optional[str] = None
    payload: Optional[Literal["empty", "html", "garbage_json", "invalid_utf8", "nul", "lone_surrogate"]] = None
    gzip: bool = False

    # Another completion
    content: Optional[str] = None
    refusal: Optional[str] = None
    tool_calls: Optional[list[dict]] = None
    finish_reason: Optional[str] = None
    reasoning: Optional[str] = None
    usage: dict[str, Any] = {}
    no_usage: bool = False
    huge_mb: int = Field(default=0, ge=0)
    pending_polls: Optional[int] = Field(default=None, ge=0)
    prediction_fails: Optional[str] = None
    output: Any = None
    no_metrics: bool = False
    urls: dict[Literal["get", "cancel", "stream", "web"], Optional[str]] = {}
    nesting: int = Field(default=0, ge=0)
    replace: dict[str, Any] = {}
    remove: list[str] = []

    @model_validator(mode="after")
    def _makes_sense(self):
        if self.at_connect and (self.for_model or self.for_path):
            raise ValueError("a connection has neither model nor path yet")
        if sum(map(bool, (self.hang, self.reset, self.close))) > 1:
            raise ValueError("only one of hang, reset and close")
        if (self.cut_bytes or self.drip) and (self.event_delay_ms or self.hold_after_events is not None):
            raise ValueError("a stream that is cut anywhere has no events to wait between")
        return self

    @property
    def at_connect(self):
        return "connect" in (self.hang, self.reset)

    @property
    def stops_mid_body(self):
        return "mid_body" in (self.hang, self.reset, self.close)

    @property
    def ends_stream_early(self):
        return self.stop_after_events is not None or self.stream_error is not None \
            or (self.stops_mid_body and self.body_bytes is None)

    @property
    def answers_itself(self):
        """Whether the request's own merits do not matter."""
        return bool(self.status or self.error or self.redirect or self.payload or self.endless
                    or self.body is not None or self.raw_body is not None)

    def as_dict(self):
        return self.model_dump(exclude_defaults=True)


NORMAL = Behaviour()


class Script:
    """The behaviours still to be taken."""

    def __init__(self):
        self._entries = []

    def extend(self, items):
        """Adds a list of behaviours as JSON values; all or none (raises pydantic's ValidationError)."""
        self._entries += [Behaviour.model_validate(item) for item in items]

    def reset(self):
        self._entries = []

    def as_list(self):
        return [entry.as_dict() for entry in self._entries]

    def take_for_connection(self):
        return self._take(lambda entry: entry.at_connect)

    def take_for_request(self, model, path):
        return self._take(lambda entry: not entry.at_connect and entry.for_model in (None, model)
                          and path.startswith(entry.for_path or ""))

    def _take(self, matches):
        for place, entry in enumerate(self._entries):
            if matches(entry):
                if entry.times == 1:
                    del self._entries[place]
                elif entry.times is not None:
                    self._entries[place] = entry.model_copy(update={"times": entry.times - 1})
                return entry
        return NORMAL
