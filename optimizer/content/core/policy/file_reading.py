"""Where each knob stands in the pipeline's configuration files, and how these are read: each fault with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizer.content.core.policy import filter, route
from optimizer.content.core.policy.learned_knob import SCORE
from optimizer.content.core.policy.pipeline import read_policy
from optimizer.content.core.records.fields import CHECKPOINTS, OTHER_NAMES
from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.knob import is_number, is_share
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.feedback.pipeline_record import LEVELS, TARGETS, Target

FILTER, ROUTING, EXITS = "quality_filtering.yaml", "content_routing.yaml", "early_exit.yaml"
MONITORING, OPTIMAL = "monitoring.yaml", "optimal_config.yaml"
FILES = (FILTER, ROUTING, EXITS, MONITORING, OPTIMAL)
OVERALL = "overall_metrics"  # monitoring.yaml may hold its figures below this key
_ALIKE = 0.8  # similarity from which on a key counts as another one, mistyped

Path = tuple[Any, ...]
Layout = Mapping[str, Any]  # key -> the knob that it says, or the layout of what is inside it

TYPE = "<type>"  # in the place of the name of any content type
_STRICT = ("thresholds", "checks")  # in which every unknown key is a fault
_OF_FILTER: Layout = {
    "thresholds": {
        name: f"filter.{name}"
        for name in ("min_overall", "min_coherence", *(knob for knob, _ in filter.MINIMA.values()))
    },
    "checks": {
        "min_words": "filter.min_words",
        "min_sentences": "filter.min_sentences",
        "needed": "filter.checks_needed",
    },
}
_OF_ROUTE: Layout = {TYPE: {"processing_mode": f"route.{TYPE}", "priority": f"route.{TYPE}.priority"}}
_OF_EXITS: Layout = {
    "global": {"min_exit_confidence": "exit.min_confidence"},
    "checkpoints": {
        checkpoint: {
            "enabled": f"exit.{checkpoint}.enabled",
            "min_confidence": f"exit.{checkpoint}.min_confidence",
            "conditions": f"exit.{checkpoint}.conditions",
            "exit_conditions": f"exit.{checkpoint}.conditions",
        }
        for checkpoint in CHECKPOINTS
    },
}
LAYOUTS: Mapping[str, Layout] = {
    FILTER: {"enabled": "filter.enabled", SCORE: SCORE, **_OF_FILTER, "content_types": {TYPE: _OF_FILTER}},
    ROUTING: {
        "enabled": "route.enabled",
        "default_routing": {"default_mode": "route.default"},
        "content_types": _OF_ROUTE,
        "custom_types": _OF_ROUTE,
    },
    EXITS: {
        "enabled": "exit.enabled",
        **_OF_EXITS,
        "content_type_overrides": {TYPE: {"min_exit_confidence": "exit.min_confidence", **_OF_EXITS}},
    },
}


def place_of(knob: str, value: Any) -> tuple[str, Path]:
    """The file and the path in it where a knob's value is written."""
    types = [part for part in knob.split(".") if route.is_type_name(part)]
    places = [
        (name, tuple(of_type if key == TYPE else key for key in path))
        for name, layout in LAYOUTS.items()
        for path, template in _knobs_in(layout)
        for of_type in (types if TYPE in path else [""])
        if _of_type(template, of_type) == knob
        and (template not in _OF_ROUTE[TYPE].values() or path[0] == _part_of(of_type))
    ]
    name, path = places[-1]
    is_plain = path[-1] == "exit_conditions" and not any(isinstance(entry, Mapping) for entry in value)
    return name, (*path[:-1], "conditions") if is_plain else path


def _knobs_in(layout: Layout) -> Iterator[tuple[Path, str]]:
    for key, inside in layout.items():
        if isinstance(inside, str):
            yield (key,), inside
        else:
            yield from (((key, *path), knob) for path, knob in _knobs_in(inside))


def _of_type(knob: str, content_type: str) -> str:
    """A layout's knob as it is called for one content type; "": for all."""
    if TYPE in knob:
        return knob.replace(TYPE, content_type)
    return f"{knob}.{content_type}" if content_type else knob


def _part_of(content_type: str) -> str:
    """The part of content_routing.yaml that lists the type."""
    return "content_types" if content_type in route.CONTENT_TYPES else "custom_types"


class KnobReader:
    """Collects knobs, each with its place in its file for the faults."""

    def __init__(self) -> None:
        self.policy: dict[str, Any] = {}
        self.monitoring: dict[str, Target] = {}
        self.without_knob: dict[str, dict[str, None]] = {}
        self.faults: list[Fault] = []
        self.places: dict[str, tuple[str, Path]] = {}
        self._name = self._shown = ""  # of the file that is being read; as faults name it

    def file(self, shown: str, at: Path, name: str, data: Any) -> None:
        """One file; ``at`` is where its content stands, which is not the top inside optimal_config.yaml."""
        self._shown = shown
        content = self.mapping(at, data)
        if name in LAYOUTS:
            self._name = name
            self._part(at, content, LAYOUTS[name], ())
        elif name == MONITORING:
            self._monitoring(at, content)
        else:
            sections = {key: part for part in LAYOUTS for key in (part, part.removesuffix(".yaml"))}
            for key, value in content.items():
                if key in sections:
                    self.file(OPTIMAL, (key,), sections[key], value)
            self.mapping(("evidence",), content.get("evidence"))
            self.rest(OPTIMAL, (), content, (*sections, "evidence"), (), strict=True)

    def fault(self, shown: str, path: Path, detail: str) -> None:
        self.faults.append(Fault(pointer=pointer_of(path), detail=detail, file=shown))

    def mapping(self, path: Path, value: Any) -> Mapping[str, Any]:
        """The value as a mapping; nothing, for a key with nothing behind it; a fault for anything else."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.fault(self._shown, path, f"here stands {value!r}, where a mapping of keys should stand")
            return {}
        return {str(key): inner for key, inner in value.items()}

    def knob(self, name: str, content: Mapping[str, Any], key: str, at: Path) -> None:
        """Takes ``content[key]`` as the knob's value, where it is there."""
        if content.get(key) is None:
            return
        if name in self.policy:
            self.fault(
                self._shown,
                (*at, key),
                f"this says again what {pointer_of(self.places[name][1])} says; keep one of the two",
            )
            return
        self.policy[name] = content[key]
        self.places[name] = (self._shown, (*at, key))

    def rest(
        self, name: str, at: Path, content: Mapping[str, Any], known: Sequence[str], to: Path, *, strict: bool = False
    ) -> None:
        """Notes the unknown keys as standing under ``to``; one that looks like a known key is a fault (``strict``:
        every one is). monitoring.yaml decides nothing, so its keys are not noted.
        """
        for key, value in content.items():
            if key in known:
                continue
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.0 if strict else _ALIKE)
            if close:
                hint = (
                    f"did you mean {close[0]!r}?"
                    if difflib.get_close_matches(key, close, cutoff=0.6)
                    else f"known here: {', '.join(known)}"
                )
                self.fault(self._shown, (*at, key), f"unknown key {key!r}; {hint}")
            elif name != MONITORING:
                above = "".join(f"{part}." for part in to)
                self.without_knob.setdefault(name, {}).update(dict.fromkeys(_dotted({key: value}, above)))

    def type_names(self, at: Path, content: Mapping[str, Any]) -> list[str]:
        for name in content:
            if not route.is_type_name(name):
                why = (
                    f"{name!r} cannot be a content type: use letters, digits, _ and -, a letter first, and none of"
                    f" {', '.join(route.RESERVED)}"
                )
                self.fault(self._shown, (*at, name), why)
        return [name for name in content if route.is_type_name(name)]

    def _part(
        self, at: Path, content: Mapping[str, Any], layout: Layout, to: Path, of_type: str = "", *, strict: bool = False
    ) -> None:
        """The knobs of a mapping and of those inside it; ``to``: where its keys stand, as they are properly called."""
        for key, inside in layout.items():
            if isinstance(inside, str):
                self.knob(_of_type(inside, of_type), content, key, at)
                continue
            value, place = content.get(key), (*at, key)
            is_empty_list = self._name == ROUTING and TYPE in inside and value == []
            parts = self.mapping(place, None if is_empty_list else value)
            if TYPE in inside:
                for name in self.type_names(place, parts):
                    of_name = self.mapping((*place, name), parts[name])
                    # A priority decides nothing here, and is a word.
                    known = {k: v for k, v in inside[TYPE].items() if k != "priority" or not is_number(of_name.get(k))}
                    part = _part_of(name) if self._name == ROUTING else key
                    self._part((*place, name), of_name, known, (*to, part, name), name)
            elif key == "checkpoints":
                for name, rules in parts.items():
                    checkpoint = OTHER_NAMES.get(name, name)
                    if checkpoint in inside:
                        of_name = self.mapping((*place, name), rules)
                        self._part((*place, name), of_name, inside[checkpoint], (*to, key, checkpoint), of_type)
                    else:
                        hint = did_you_mean(name, [*CHECKPOINTS, *OTHER_NAMES]) or f"; they are {', '.join(inside)}"
                        self.fault(self._shown, (*place, name), f"there is no checkpoint {name!r}{hint}")
            else:
                self._part(place, parts, inside, (*to, key), of_type, strict=key in _STRICT)
        self.rest(self._name, at, content, tuple(layout), to, strict=strict)

    def _monitoring(self, at: Path, content: Mapping[str, Any]) -> None:
        nested = self.mapping((*at, OVERALL), content.get(OVERALL))
        own = {
            key: value
            for key, value in content.items()
            if key != OVERALL
            and (key in TARGETS or (isinstance(value, Mapping) and any(level in value for level in LEVELS)))
        }
        for figures, figures_at in ((nested, (*at, OVERALL)), (own, at)):
            for name, levels in figures.items():
                self._target((*figures_at, name), name, self.mapping((*figures_at, name), levels))
        self.rest(MONITORING, at, {k: v for k, v in content.items() if k not in own}, (OVERALL, *TARGETS), ())

    def _target(self, at: Path, name: str, levels: Mapping[str, Any]) -> None:
        self.rest(MONITORING, at, levels, LEVELS, (), strict=True)
        limits: dict[str, float] = {}
        for level in LEVELS:
            value = levels.get(level)
            if value is None:
                continue
            if not is_share(value):
                self.fault(self._shown, (*at, level), f"a level is a number from 0 to 1, not {value!r}")
            else:
                limits[level] = float(value)
        target = Target(**limits)
        if problem := target.fault():
            self.fault(self._shown, at, problem)
        if name in self.monitoring:
            self.fault(self._shown, at, f"{name} stands at the top and below {OVERALL}; keep one of the two")
        self.monitoring[name] = target

    def check_policy(self) -> None:
        """Faults of values out of range and of unreadable conditions, each with its place."""
        for fault in read_policy(self.policy)[1]:
            knob, _, inner = fault.pointer.removeprefix("/").partition("/")
            shown, path = self.places[knob]
            self.fault(shown, path, fault.detail)
            if inner:
                self.faults[-1] = Fault(pointer=f"{pointer_of(path)}/{inner}", detail=fault.detail, file=shown)


def _dotted(data: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"
