"""The page that shows the API."""

from dataclasses import dataclass

from app.ui.views.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDoc:
    """A parameter, a field of a body or an answer. `place` is path, query, header or body; `kind` its type as JSON knows it."""

    name: str
    place: str
    kind: str
    is_required: bool
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDoc:
    """One method of one path. `answers` are status and words."""

    method: str
    path: str
    summary: str
    text: str
    fields: tuple[FieldDoc, ...]
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDoc:
    """Operations that belong together."""

    name: str
    operations: tuple[OperationDoc, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiView:
    """Page `pages/docs/api.html`."""

    shell: Shell
    version: str
    groups: tuple[GroupDoc, ...]
