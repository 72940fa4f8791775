"""The control API: scripts behaviours, reads the journal and the counters.

POST /control/script            adds a behaviour or a list of them      GET /control/script   what is left of the script
POST /control/reset             forgets script, journal and counters    GET /control/stats    the counters
POST /control/release           lets streams that are held go on
GET  /control/requests?since=N  the journal's entries after number N    GET /control/log      the same, as JSON lines
"""

import json

from responses import json_response
from wire import Response

PREFIX = "/control/"


class Control:
    """Answers control requests about a Script, a Journal, Stats and Holds."""

    def __init__(self, script, journal, stats, holds):
        self._script = script
        self._journal = journal
        self._stats = stats
        self._holds = holds
        self._routes = {
            ("POST", "script"): self._add_script, ("GET", "script"): self._show_script, ("POST", "reset"): self._reset,
            ("POST", "release"): self._release, ("GET", "stats"): self._show_stats,
            ("GET", "requests"): self._requests, ("GET", "log"): self._log}

    def answer(self, request):
        """The Response to a request below PREFIX."""
        route = self._routes.get((request.method, request.path.removeprefix(PREFIX)))
        if route is None:
            return _fault(404, f"there is no {request.method} {request.path}")
        try:
            return route(request)
        except (ValueError, RecursionError) as error:
            return _fault(400, str(error))

    def _add_script(self, request):
        items = json.loads(request.body)
        self._script.extend(items if isinstance(items, list) else [items])
        return self._show_script(request)

    def _show_script(self, _request):
        return json_response(200, {"script": self._script.as_list()})

    def _reset(self, _request):
        self._script.reset()
        self._journal.reset()
        self._stats.reset()
        return json_response(200, {})

    def _release(self, _request):
        return json_response(200, {"released": self._holds.release()})

    def _show_stats(self, _request):
        return json_response(200, self._stats.as_dict())

    def _requests(self, request):
        entries = self._journal.since(_since(request))
        return json_response(200, {"requests": entries})

    def _log(self, request):
        lines = "".join(json.dumps(entry) + "\n" for entry in self._journal.since(_since(request)))
        return Response(200, lines.encode(), [("Content-Type", "application/jsonl")])


def _since(request):
    return int(request.query.get("since", ["0"])[0])


def _fault(status, message):
    return json_response(status, {"error": message})
