"""Scripted changes to an event stream: what is put into it, where it ends, how its lines look.

A stream is a list of events, each in bytes with the blank line that ends it. When they are sent is delivery.py.
"""

import payloads

_COMMENT = b": keep-alive\n\n"


def edited(events, api_format, behaviour):
    """The events as the behaviour wants them."""
    inserted = [text.encode("utf-8", "surrogatepass") for text in behaviour.insert_events]
    events = [*events[:1], *inserted, *events[1:]]
    if behaviour.endless:
        return events
    if behaviour.ends_stream_early:
        half = len(events) // 2
        events = events[:half if behaviour.stop_after_events is None else behaviour.stop_after_events]
    if behaviour.stream_error:
        events = [*events, api_format.stream_error(payloads.refusal(behaviour.stream_error))]
    return _with_lines(events, behaviour)


def _with_lines(events, behaviour):
    """The events with scripted comments and line ends."""
    if behaviour.comments:
        events = [*events[:1], *(_COMMENT + event for event in events[1:])]
    if behaviour.no_final_blank_line:
        events = [*events[:-1], *(event.rstrip(b"\n") for event in events[-1:])]
    if behaviour.crlf:
        events = [event.replace(b"\n", b"\r\n") for event in events]
    return events
