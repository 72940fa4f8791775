"""Streams that wait in their middle until POST /control/release."""

import asyncio
import contextlib


class Holds:
    """The streams that have begun and are not released yet.

    A stream is entered before its first byte is sent, so that whoever releases after seeing one of its events is sure
    to release it.
    """

    def __init__(self):
        self._unreleased = set()

    @contextlib.contextmanager
    def entered(self):
        """An event that is set when the stream may go on; forgotten at the end of the context."""
        released = asyncio.Event()
        self._unreleased.add(released)
        try:
            yield released
        finally:
            self._unreleased.discard(released)

    def release(self):
        """Lets all go on and says how many they were."""
        released, self._unreleased = self._unreleased, set()
        for each in released:
            each.set()
        return len(released)
