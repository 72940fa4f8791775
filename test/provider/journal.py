"""The record of all requests received.

Every request is one entry, kept in memory for the control API. The file gets two JSON lines an entry, one when the
request has been read and one when its answer has ended, so that a request which hangs can be seen to have arrived.
Bodies and the Authorization header are kept as they came: the keys are a test's.
"""

import json
import time


class Journal:
    """Entries are numbered from 1. `file` is a text file open for appending, or None."""

    def __init__(self, file=None):
        self._file = file
        self._entries = []

    def open_entry(self, connection, request):
        """Records a request as received; the entry is completed by close_entry."""
        entry = {"number": len(self._entries) + 1, "connection": connection.number, "tls": connection.tls,
                 "received_at": time.time(), "method": request.method, "path": request.path, "query": request.query,
                 "headers": [list(header) for header in request.headers], "body": _readable(request.body)}
        self._entries.append(entry)
        self._write({"event": "request", **entry})
        return entry

    def close_entry(self, entry, ended):
        """`ended`: "answered", "broken off" (by the behaviour) or "client gone" (before the end of the answer)."""
        entry.update(ended=ended, ended_at=time.time())
        self._write({"event": "end", **{key: entry.get(key) for key in
                     ("number", "ended", "ended_at", "status", "refused", "ignored", "behaviour")}})

    def since(self, number):
        """The entries after the one of this number."""
        return self._entries[number:]

    def reset(self):
        """Forgets the entries in memory; the file keeps them."""
        self._entries = []

    def _write(self, line):
        if self._file:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


def _readable(body):
    """A body as its JSON value, else as text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
