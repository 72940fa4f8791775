"""Request schemas made from the vendors' own SDK types.

The SDKs describe a request as TypedDicts for type checkers or as pydantic models that allow anything more; at run
time they let anything pass. `strict` rebuilds such a type so that pydantic refuses unknown members at every depth,
checks sequences at once (pydantic checks an Iterable only when it is read), closes enumerations that the SDK leaves
open, and picks the member of a union by its `role` or `type`, which gives errors that point at one place. Values are
compared in pydantic's strict mode: "1" is no number and 1.0 no integer.
"""

import collections.abc
import functools
import json
import operator
import types
from typing import Annotated, Any, List, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, TypeAdapter, ValidationError
from typing_extensions import (NotRequired, Required, TypeAliasType, TypedDict, get_type_hints, is_typeddict)

from refusals import Refusal

_FORBID = ConfigDict(extra="forbid")


class StrictTypes:
    """Rebuilds types.

    `renamed` maps members whose TypedDict name is not the name on the wire; unions lose the types in `python_only`,
    which the SDK takes from its callers and sends as another member of the union.
    """

    def __init__(self, renamed=None, python_only=()):
        self._renamed = renamed or {}
        self._python_only = python_only
        self._built = {}

    def strict(self, tp):
        """The strict twin of `tp`."""
        if isinstance(tp, TypeAliasType):
            return self.strict(tp.__value__)
        if is_typeddict(tp):
            if tp not in self._built:
                self._built[tp] = self.record(tp.__name__, self.members(tp))
            return self._built[tp]
        if isinstance(tp, type) and issubclass(tp, BaseModel):
            if tp not in self._built:
                self._built[tp] = self.record(tp.__name__, self._fields(tp))
            return self._built[tp]
        origin, args = get_origin(tp), get_args(tp)
        if origin is Annotated:
            return self.strict(args[0])
        if isinstance(origin, TypeAliasType):
            return self.strict(origin.__value__[args])
        if origin in (Required, NotRequired):
            return self.strict(args[0])
        if origin in (Union, types.UnionType):
            return self._union([self.strict(arg) for arg in args if arg is not Any and not self._is_python_only(arg)])
        if origin in (list, collections.abc.Iterable, collections.abc.Sequence):
            return List[self.strict(args[0])]
        if origin is dict:
            return dict[args[0], self.strict(args[1])]
        return Any if tp is object else tp

    def members(self, tp):
        """The members of a TypedDict, each marked Required or NotRequired, strict all the way down.

        The SDKs postpone the evaluation of annotations, so that __required_keys__ does not know of their markers.
        """
        members = {}
        for name, hint in get_type_hints(tp, include_extras=True).items():
            marker = get_origin(hint)
            if marker not in (Required, NotRequired):
                marker = Required if tp.__total__ else NotRequired
            members[self._renamed.get(name, name)] = marker[self.strict(hint)]
        return members

    def _is_python_only(self, tp):
        """Whether a type, or every member of a union, is one that is not on the wire."""
        origin, args = get_origin(tp), get_args(tp)
        if origin is Annotated:
            return self._is_python_only(args[0])
        if origin is Union:
            return all(map(self._is_python_only, args))
        plain = origin or tp
        return isinstance(plain, type) and issubclass(plain, self._python_only)

    def _fields(self, model):
        """The members of a pydantic model, likewise; a literal is required even where the SDK gives it a default."""
        return {name: (Required if field.is_required() or get_origin(field.annotation) is Literal else NotRequired)
                [self.strict(field.annotation)] for name, field in model.model_fields.items()}

    @staticmethod
    def record(name, members):
        """A TypedDict of these members that forbids all others."""
        record = TypedDict(name, members)
        record.__pydantic_config__ = _FORBID
        return record

    @staticmethod
    def _union(members):
        """A union, told apart by `role` or `type` where all of its records have a literal one, one of them unsaid."""
        records = [member for member in members if is_typeddict(member)]
        others = [member for member in members if not is_typeddict(member)]
        for key in ("role", "type"):
            literals = [_literals_of(record, key) for record in records]
            unsaid = [names[0] for record, names in zip(records, literals)
                      if names and key not in record.__required_keys__]
            if len(records) > 1 and all(literals) and len(unsaid) < 2:
                tagged = [Annotated[record, Tag(f"<{literal}>")]
                          for record, names in zip(records, literals) for literal in names]
                choice = Annotated[Union[tuple(tagged)], Discriminator(_tag_reader(key, *unsaid))]
                return Union[tuple([choice] + others)]
        return Union[tuple(members)]


def _literals_of(record, key):
    """The literals of a member's type, which may also be null."""
    hint = get_type_hints(record).get(key)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if get_origin(hint) is Union else [hint]
    return get_args(kinds[0]) if len(kinds) == 1 and get_origin(kinds[0]) is Literal else ()


def _tag_reader(key, unsaid=None):
    """Angle brackets keep a tag from being mistaken for a member's name in an error's location."""
    def read(value):
        name = value.get(key, unsaid) if isinstance(value, dict) else None
        return None if name is None else f"<{name}>"
    return read


class Schema:
    """A request schema. With `ignores_unknown`, unknown members are taken out and reported instead of refused."""

    def __init__(self, record, ignores_unknown=False):
        self._adapter = TypeAdapter(record)
        self._ignores_unknown = ignores_unknown

    def check(self, raw):
        """The request in `raw` bytes as (body, paths of ignored members); raises Refusal."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise Refusal("We could not parse the JSON body of your request. (HINT: This likely means you aren't "
                          f"using your HTTP library correctly.) {error}") from None
        ignored = []
        while errors := self._errors(body):
            unknown = {tuple(_steps(body, error["loc"])) for error in errors if error["type"] == "extra_forbidden"}
            if not (unknown and self._ignores_unknown):
                raise _refusal(body, _most_telling(errors))
            for *parents, name in sorted(unknown, key=str):
                ignored.append(_path([*parents, name]))
                del functools.reduce(operator.getitem, parents, body)[name]
        return body, ignored

    def _errors(self, body):
        try:
            self._adapter.validate_python(body, strict=True)
        except ValidationError as failure:
            return failure.errors(include_url=False)
        return []


def _most_telling(errors):
    """Of all errors the one that got deepest into a union's branches; a wrong type explains the members beside it."""
    return max(errors, key=lambda error: (len(error["loc"]), error["type"] == "literal_error"))


def _steps(body, location):
    """pydantic's location as members and indexes of `body`; names of union branches are left out."""
    steps, current = [], body
    for place, step in enumerate(location):
        if isinstance(step, int):
            steps.append(step)
            current = current[step]
        elif isinstance(current, dict) and step in current:
            steps.append(step)
            current = current[step]
        elif place == len(location) - 1 and isinstance(current, dict) and step.isidentifier():
            steps.append(step)
    return steps


def _path(steps):
    """Steps as text such as messages[0].content."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def _refusal(body, error):
    """One pydantic error in OpenAI's words."""
    steps, kind = _steps(body, error["loc"]), error["type"]
    param = _path(steps) or None
    detail = [{"type": kind, "loc": ["body", *steps], "msg": error["msg"]}]
    if kind == "extra_forbidden":
        message, code = f"Unknown parameter: '{param}'.", "unknown_parameter"
    elif kind == "missing":
        message, code = f"Missing required parameter: '{param}'.", "missing_required_parameter"
    elif kind in ("literal_error", "union_tag_invalid"):
        expected = error["ctx"].get("expected") or error["ctx"]["expected_tags"].replace("<", "").replace(">", "")
        message, code = f"Invalid value for '{param}'. Supported values are: {expected}.", "invalid_value"
    elif kind == "union_tag_not_found":
        message, code = f"Missing required parameter: the role or type of '{param}'.", "missing_required_parameter"
    else:
        message, code = f"Invalid type for '{param}': {error['msg']}.", "invalid_type"
    return Refusal(message, code=code, param=param, detail=detail)
