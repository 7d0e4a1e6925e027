"""config/alert_rules.yaml as rules, checked whole: every fault at once, with its line; read again when it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.rollout.alert_rules import AlertRule
from optimizer.host.file_signature import FileSignature, signature_of
from optimizer.host.run_files import write_whole
from optimizer.host.yaml_files import line_of, load_file, plain

PAGE = "docs/how-to/alert-on-rules.md"
log = structlog.get_logger(__name__)
_FIELDS = {field.alias or name for name, field in AlertRule.model_fields.items()} - {"name"}


def read_alert_rules(path: Path) -> tuple[AlertRule, ...]:
    """In the order of the file.

    Raises:
        InvalidInput: unreadable YAML, or rules that cannot be used; carries every fault with its line.
    """
    entries = load_file(path, "Correct the file.", with_lines=True)
    if entries is None:
        return ()
    if not isinstance(entries, Mapping):
        raise InvalidInput(f"{path} must hold rules as `name: {{metric: …}}`. {PAGE} shows it.")
    rules: list[AlertRule] = []
    faults: list[Fault] = []
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            faults.append(_fault(path, entries, [name], "a rule is `name: {metric: …}`"))
            continue
        try:
            rules.append(AlertRule.model_validate({**plain(entry), "name": name}))
        except ValidationError as error:
            for problem in error.errors():
                inside = [part for part in problem["loc"] if part != "name"]
                faults.append(_fault(path, entries, [name, *inside], _detail(problem, name)))
    for rule in rules:
        others = [str(name) for name in entries if name != rule.name]
        faults += [
            _fault(
                path, entries, [rule.name, "explains"], f"there is no other rule {other!r}{did_you_mean(other, others)}"
            )
            for other in rule.explains
            if other not in others
        ]
    if faults:
        listed = "; ".join(f"line {f.line} {f.pointer}: {f.detail}" for f in faults)
        raise InvalidInput(f"{path} cannot be used: {listed}. {PAGE} explains every field.", faults)
    return tuple(rules)


class AlertRuleFile:
    """The rules that are in force: of the home's file, else those that come along. A bad edit leaves the last good
    ones, after a restart too; where there were none yet, those that come along.
    """

    def __init__(self, path: Path, shipped: Path, last_good: Path, *, watches: bool = False) -> None:
        """Args:
        last_good: the text that the one who watches read last and could use.
        watches: this one watches and keeps that text; all others say what it holds.
        """
        self._path, self._shipped, self._last_good, self._watches = path, shipped, last_good, watches
        self._seen: tuple[Path, FileSignature | None] | None = None
        self._is_kept = not watches
        self._rules: tuple[AlertRule, ...] = ()
        self.problem: InvalidInput | None = None

    def rules(self) -> Sequence[AlertRule]:
        """As the file says now; where it cannot be used, the last good ones, and ``problem`` says why."""
        try:
            path = self.path
            seen = path, signature_of(path)
            if self.problem is not None or seen != self._seen:
                self._rules, self.problem = read_alert_rules(path), None
                self._seen, self._is_kept = seen, not self._watches
            if not self._is_kept:
                self._keep(path)
        except InvalidInput as problem:
            self.problem = problem
        except OSError as error:
            self.problem = InvalidInput(f"{self._path} cannot be read: {error}.")
        # Another process may have read an edit that the one who watches never saw.
        if self.problem is not None and (self._seen is None or not self._watches):
            last_good = self._read_last_good()
            if last_good != self._rules:
                self._rules = last_good
        return self._rules

    def _read_last_good(self) -> tuple[AlertRule, ...]:
        try:
            return read_alert_rules(self._last_good) if self._last_good.exists() else self.shipped
        except (InvalidInput, OSError):  # an older release could use what this one cannot
            return self.shipped

    def _keep(self, path: Path) -> None:
        try:
            text = path.read_bytes()
            if self._seen != (path, signature_of(path)):
                return  # it was edited since it was read, and is read again
            if not self._last_good.exists() or self._last_good.read_bytes() != text:
                write_whole(self._last_good, text)
            self._is_kept = True
        except OSError as error:  # a full disk must not keep a good file from being used
            log.warning("the last good alert rules cannot be kept", error=str(error))

    @cached_property
    def shipped(self) -> tuple[AlertRule, ...]:
        """Those that come along; none where a checkout is the home, and what comes along is its own faulty file."""
        try:
            return read_alert_rules(self._shipped)
        except (InvalidInput, OSError):
            return ()

    @property
    def path(self) -> Path:
        return self._path if self._path.exists() else self._shipped


def _detail(problem: Any, name: Any) -> str:
    detail = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        field = str(problem["loc"][-1])
        return f"there is no field {field!r}{did_you_mean(field, _FIELDS)}; known: {', '.join(sorted(_FIELDS))}"
    if problem["loc"] == ("name",):
        return f"{str(name)!r} is no usable name of a rule; lower-case letters, digits and _ are"
    return detail if problem["type"] == "value_error" else f"{detail} (got {problem['input']!r})"


def _fault(path: Path, entries: Any, place: Sequence[Any], detail: str) -> Fault:
    return Fault(pointer=pointer_of(place), detail=detail, line=line_of(entries, *place), file=str(path))
