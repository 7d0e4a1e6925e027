"""Reading the pipeline's configuration files: their keys as knobs, each fault with its place."""

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
THRESHOLDS = ("min_overall", "min_coherence", *(knob for knob, _ in filter.MINIMA.values()))
# Key -> knob.
CHECKS: Mapping[str, str] = {"min_words": "min_words", "min_sentences": "min_sentences", "needed": "checks_needed"}
OVERALL = "overall_metrics"  # monitoring.yaml may hold its figures below this key
_ALIKE = 0.8  # similarity from which on a key counts as another one, mistyped

Path = tuple[Any, ...]


class KnobReader:
    """Collects knobs, each with its place in its file for the faults."""

    def __init__(self) -> None:
        self.policy: dict[str, Any] = {}
        self.monitoring: dict[str, Target] = {}
        self.without_knob: dict[str, dict[str, None]] = {}
        self.faults: list[Fault] = []
        self.places: dict[str, tuple[str, Path]] = {}
        self._shown = ""  # the file that is being read, as faults name it

    def file(self, shown: str, at: Path, name: str, data: Any) -> None:
        """One file; ``at`` is where its content stands, which is not the top inside optimal_config.yaml."""
        self._shown = shown
        content = self.mapping(at, data)
        match name:
            case "quality_filtering.yaml":
                self._filter(at, content)
            case "content_routing.yaml":
                self._routing(at, content)
            case "early_exit.yaml":
                self._exits(at, content)
            case "monitoring.yaml":
                self._monitoring(at, content)
            case _:
                sections = {
                    key: part for part in (FILTER, ROUTING, EXITS) for key in (part, part.removesuffix(".yaml"))
                }
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

    def _filter(self, at: Path, content: Mapping[str, Any]) -> None:
        self.knob("filter.enabled", content, "enabled", at)
        self.knob(SCORE, content, SCORE, at)
        self._thresholds(at, content, "")
        types = self.mapping((*at, "content_types"), content.get("content_types"))
        for name in self.type_names((*at, "content_types"), types):
            inner_at = (*at, "content_types", name)
            inner = self.mapping(inner_at, types[name])
            self._thresholds(inner_at, inner, f".{name}")
            self.rest(FILTER, inner_at, inner, ("thresholds", "checks"), ("content_types", name))
        self.rest(FILTER, at, content, ("enabled", SCORE, "thresholds", "checks", "content_types"), ())

    def _thresholds(self, at: Path, content: Mapping[str, Any], suffix: str) -> None:
        for part, names in (("thresholds", {name: name for name in THRESHOLDS}), ("checks", CHECKS)):
            inner = self.mapping((*at, part), content.get(part))
            for key, knob in names.items():
                self.knob(f"filter.{knob}{suffix}", inner, key, (*at, part))
            self.rest(FILTER, (*at, part), inner, tuple(names), (), strict=True)

    def _routing(self, at: Path, content: Mapping[str, Any]) -> None:
        self.knob("route.enabled", content, "enabled", at)
        default = self.mapping((*at, "default_routing"), content.get("default_routing"))
        self.knob("route.default", default, "default_mode", (*at, "default_routing"))
        self.rest(ROUTING, (*at, "default_routing"), default, ("default_mode",), ("default_routing",))
        for part in ("content_types", "custom_types"):
            listed = content.get(part)
            types = self.mapping((*at, part), None if listed == [] else listed)
            for name in self.type_names((*at, part), types):
                inner_at = (*at, part, name)
                inner = self.mapping(inner_at, types[name])
                known = {"processing_mode": f"route.{name}"}
                if not is_number(inner.get("priority")):  # which decides nothing here, and is a word
                    known["priority"] = f"route.{name}.priority"
                for key, knob in known.items():
                    self.knob(knob, inner, key, inner_at)
                self.rest(ROUTING, inner_at, inner, tuple(known), (part_of(name), name))
        self.rest(ROUTING, at, content, ("enabled", "content_types", "custom_types", "default_routing"), ())

    def _exits(self, at: Path, content: Mapping[str, Any]) -> None:
        self.knob("exit.enabled", content, "enabled", at)
        self._exit_rules(at, content, "", ())
        overrides = self.mapping((*at, "content_type_overrides"), content.get("content_type_overrides"))
        for name in self.type_names((*at, "content_type_overrides"), overrides):
            inner_at = (*at, "content_type_overrides", name)
            inner = self.mapping(inner_at, overrides[name])
            self.knob(f"exit.min_confidence.{name}", inner, "min_exit_confidence", inner_at)
            self._exit_rules(inner_at, inner, f".{name}", ("content_type_overrides", name))
            self.rest(
                EXITS,
                inner_at,
                inner,
                ("min_exit_confidence", "global", "checkpoints"),
                ("content_type_overrides", name),
            )
        self.rest(EXITS, at, content, ("enabled", "global", "checkpoints", "content_type_overrides"), ())

    def _exit_rules(self, at: Path, content: Mapping[str, Any], suffix: str, to: Path) -> None:
        for_all = self.mapping((*at, "global"), content.get("global"))
        self.knob(f"exit.min_confidence{suffix}", for_all, "min_exit_confidence", (*at, "global"))
        self.rest(EXITS, (*at, "global"), for_all, ("min_exit_confidence",), (*to, "global"))
        for name, rules in self.mapping((*at, "checkpoints"), content.get("checkpoints")).items():
            inner_at = (*at, "checkpoints", name)
            checkpoint = OTHER_NAMES.get(name, name)
            if checkpoint not in CHECKPOINTS:
                hint = did_you_mean(name, [*CHECKPOINTS, *OTHER_NAMES]) or f"; they are {', '.join(CHECKPOINTS)}"
                self.fault(self._shown, inner_at, f"there is no checkpoint {name!r}{hint}")
                continue
            inner = self.mapping(inner_at, rules)
            for key in ("enabled", "min_confidence"):
                self.knob(f"exit.{checkpoint}.{key}{suffix}", inner, key, inner_at)
            for key in ("conditions", "exit_conditions"):
                self.knob(f"exit.{checkpoint}.conditions{suffix}", inner, key, inner_at)
            known = ("enabled", "min_confidence", "conditions", "exit_conditions")
            self.rest(EXITS, inner_at, inner, known, (*to, "checkpoints", checkpoint))

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


def part_of(content_type: str) -> str:
    """The part of content_routing.yaml that lists the type."""
    return "content_types" if content_type in route.CONTENT_TYPES else "custom_types"


def _dotted(data: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"
