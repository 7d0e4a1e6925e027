"""The whole policy of the content pipeline, read from flat knobs with every fault at once; and its decision on a
record.

In the order of the pipeline: exits after download and transcription, the filter's scores, the exit after them, the
route (and the filter where the route asks for it), and for items that are processed in full the exit after their first
analysis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from optimizer.content.core.policy import early_exit, filter, route
from optimizer.content.core.policy.early_exit import Exit
from optimizer.content.core.policy.filter import TIMES
from optimizer.content.core.policy.learned_knob import SCORE, ContentScore, read_score
from optimizer.content.core.policy.route import MODES
from optimizer.content.core.records.fields import CHECKPOINTS, OTHER_NAMES, values_of
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.knob import Knob
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.feedback.pipeline_record import ProcessingType

SCORE_KNOB = Knob(
    name=SCORE,
    kind="data",
    meaning=(
        "A learned score, `{kind: learned, types: …}`, which decides in the place of the filter's checks about items of"
        " the types it was trained on; raising `full_from` processes fewer of them in full: faster, and these are"
        " better. [How](#a-learned-score)."
    ),
)
KNOBS: tuple[Knob, ...] = (*filter.KNOBS, SCORE_KNOB, *route.KNOBS, *early_exit.KNOBS)
BY_NAME: Mapping[str, Knob] = {knob.name: knob for knob in KNOBS}
PER_TYPE = tuple(  # these may be followed by .<content type>: for items of that type alone
    knob.name
    for knob in KNOBS
    if not knob.name.startswith("route.") and knob.name not in ("filter.enabled", "exit.enabled", SCORE)
)
PRIORITY = Knob(
    name="route.<type>.priority",
    kind="text",
    meaning="A word for the one who orders the work; it decides nothing here.",
)
_CONDITIONS = {f"exit.{checkpoint}.conditions": checkpoint for checkpoint in CHECKPOINTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDecision:
    """What is done with one item, and why.

    ``checkpoint`` and ``confidence`` are an early exit's. ``checks``: passed, failed or None (not measured), by name.
    ``time_share``: of the time that full processing takes. ``score``: the learned one where it was asked and knows the
    content type.
    """

    processing_type: ProcessingType
    checkpoint: str | None
    reason: str
    confidence: float | None
    checks: Mapping[str, bool | None]
    time_share: float
    overall_quality: float | None
    score: float | None = None

    def as_data(self) -> dict[str, Any]:
        """Its fields by name; the score only where one was given."""
        return {name: value for name, value in asdict(self).items() if name != "score" or value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A policy that has been read. ``policy`` is the flat mapping; what it leaves out has the knob's default."""

    policy: Mapping[str, Any]
    conditions: Mapping[str, tuple[Exit, ...]] = field(default_factory=dict)  # by knob name
    score: ContentScore | None = None

    def get(self, knob: str, content_type: str = "") -> Any:
        """The value for a content type: its own, else the one for all, else the default."""
        own = self.policy.get(f"{knob}.{content_type}") if content_type else None
        if own is not None and route.is_type_name(content_type):
            return own
        return self.policy[knob] if knob in self.policy else BY_NAME[knob].default

    def thresholds(self, content_type: str) -> dict[str, float]:
        """The filter's numbers for a content type; a minimum that is not set is one below which nothing lies."""
        thresholds = {name: self.get(f"filter.{name}", content_type) for name in (*filter.FIELD_OF, "checks_needed")}
        return {name: filter.NEVER if value is None else value for name, value in thresholds.items()}

    def mode(self, content_type: str) -> str:
        """full, lightweight or quality_check."""
        knob = f"route.{content_type}"
        if not (self.get("route.enabled") and route.is_type_name(content_type)):
            return str(self.get("route.default"))
        default = BY_NAME[knob].default if knob in BY_NAME else self.get("route.default")
        return str(self.policy.get(knob, default))

    def exits(self, checkpoint: str, content_type: str) -> tuple[Exit, ...]:
        """The conditions that count at a checkpoint for items of a content type, in their order."""
        knob = f"exit.{checkpoint}"
        if not (self.get("exit.enabled") and self.get(f"{knob}.enabled", content_type)):
            return ()
        own = self.conditions.get(f"{knob}.conditions.{content_type}")
        exits = own if own is not None else self.conditions.get(f"{knob}.conditions", ())
        return early_exit.counting(exits, self.min_confidence(checkpoint, content_type))

    def min_confidence(self, checkpoint: str, content_type: str) -> float:
        """The nearest number wins: of type and checkpoint, of the type, of the checkpoint, of all."""
        places = (
            f"exit.{checkpoint}.min_confidence.{content_type}",
            f"exit.min_confidence.{content_type}",
            f"exit.{checkpoint}.min_confidence",
        )
        return float(
            next((self.policy[place] for place in places if place in self.policy), self.get("exit.min_confidence"))
        )

    def decide(self, record: Mapping[str, Any], at: str = "") -> ItemDecision:
        """What is done with one record.

        Values that are missing or None were not measured: no condition on them holds, no check fails.

        Raises:
            InvalidInput: a value of the record is of the wrong kind; every one at once, with pointers below ``at``.
        """
        values = values_of(record, at)
        overall = filter.overall_of(values)
        if overall == overall:  # NaN where a part is missing; then the record's own figure stays
            values["overall_quality"] = overall
        content_type = values["content_type"] or ""
        thresholds = self.thresholds(content_type)
        checks = filter.outcomes_of_checks(values, thresholds)
        known = values["overall_quality"]
        decided = partial(ItemDecision, checks=checks, overall_quality=known if known == known else None)

        def left_at(checkpoint: str, exit_rule: Exit, score: float | None = None) -> ItemDecision:
            needed = self.min_confidence(checkpoint, content_type)
            return decided(
                processing_type="early_exit",
                checkpoint=checkpoint,
                reason=f"{exit_rule.why} (confidence {exit_rule.confidence:g}, {needed:g} is needed)",
                confidence=exit_rule.confidence,
                time_share=TIMES[checkpoint],
                score=score,
            )

        for checkpoint in CHECKPOINTS[:3]:
            if exit_rule := early_exit.first_exit(values, self.exits(checkpoint, content_type)):
                return left_at(checkpoint, exit_rule)
        scored = self._scored(values)
        why = self._light_because(values, thresholds, checks, scored)
        if why is not None:
            return decided(
                processing_type="lightweight",
                checkpoint=None,
                reason=why,
                confidence=None,
                time_share=TIMES["lightweight"],
                score=scored,
            )
        if exit_rule := early_exit.first_exit(values, self.exits("post_analysis", content_type)):
            return left_at("post_analysis", exit_rule, scored)
        return decided(
            processing_type="full",
            checkpoint=None,
            reason=self._full_because(content_type, thresholds, checks, scored),
            confidence=None,
            time_share=TIMES["full"],
            score=scored,
        )

    def _scored(self, values: Mapping[str, Any]) -> float | None:
        """The learned score of an item about which the filter would decide; None for an unknown type, and without a
        text.
        """
        content_type, text = values["content_type"] or "", values["text"]
        if (
            self.score is None
            or not text
            or self.mode(content_type) != "quality_check"
            or not self.get("filter.enabled")
        ):
            return None
        return self.score.score(content_type, text, values["title"] or "")

    def _unscored_because(self, content_type: str) -> str:
        """Why the filter decides although there is a score, to stand before its reason; empty where there is none."""
        if self.score is None:
            return ""
        if content_type not in self.score.types:
            return (
                f"the score was not trained on {content_type or 'items without a content type'}, so the filter"
                " decides: "
            )
        return "there is no text to score, so the filter decides: "

    def _light_because(
        self,
        values: Mapping[str, Any],
        thresholds: Mapping[str, float],
        checks: Mapping[str, bool | None],
        scored: float | None,
    ) -> str | None:
        """Why the item is processed lightly; None where it is not."""
        content_type = values["content_type"] or ""
        if scored is not None:
            full_from = self._full_from(content_type)
            return f"score {scored:.4f} < {full_from:.4f} of {content_type}" if scored < full_from else None
        mode = self.mode(content_type)
        if mode == "lightweight":
            return f"{values['content_type'] or 'an item without a content type'} is routed lightweight"
        if mode == "full" or not self.get("filter.enabled") or not filter.is_bypassed(values, thresholds):
            return None
        wrong = ", ".join(
            f"{name} {values[fld]:g} < {thresholds[t]:g}"
            for name, (t, fld) in _KINDS.items()
            if checks.get(name) is False
        )
        return self._unscored_because(content_type) + (
            f"{_passed(checks)} of {len(filter.CHECKS)} checks passed and {thresholds['checks_needed']:g} are needed"
            f" ({wrong})"
        )

    def _full_from(self, content_type: str) -> float:
        assert self.score is not None
        return self.score.types[content_type].full_from

    def _full_because(
        self,
        content_type: str,
        thresholds: Mapping[str, float],
        checks: Mapping[str, bool | None],
        scored: float | None,
    ) -> str:
        if scored is not None:
            return f"score {scored:.4f} >= {self._full_from(content_type):.4f} of {content_type}"
        if self.mode(content_type) == "full":
            return f"{content_type or 'an item without a content type'} is routed full"
        if not self.get("filter.enabled"):
            return "the filter is off"
        n, unscored = _passed(checks), self._unscored_because(content_type)
        if n >= thresholds["checks_needed"]:
            return f"{unscored}{n} of {len(filter.CHECKS)} checks passed and {thresholds['checks_needed']:g} are needed"
        unknown = ", ".join(name for name in filter.CHECKS if checks[name] is None)
        return f"{unscored}not measured: {unknown}; too little is known to process it lightly"


_KINDS = {**filter.CHECKS, **filter.MINIMA}


def parse_pipeline(policy: Mapping[str, Any]) -> Pipeline:
    """The policy that a flat mapping of knobs declares.

    Raises:
        InvalidInput: every fault at once, each with a JSON pointer; a condition's with its position.
    """
    pipeline, faults = read_policy(policy)
    if faults:
        raise InvalidInput(
            "This is no policy of the content pipeline: " + "; ".join(f.detail for f in faults) + ".", faults
        )
    return pipeline


def read_policy(policy: Mapping[str, Any], at: str = "") -> tuple[Pipeline, list[Fault]]:
    """What could be read of a policy, and everything wrong with it."""
    faults: list[Fault] = []
    conditions: dict[str, tuple[Exit, ...]] = {}
    score: ContentScore | None = None
    for name, value in policy.items():
        knob = knob_of(str(name))
        checkpoint = _CONDITIONS.get(knob.name) if knob is not None else None
        if knob is None:
            faults.append(Fault(pointer=at + pointer_of([name]), detail=unknown_knob(str(name))))
        elif knob is SCORE_KNOB:
            entry_faults = list[Fault]()
            score = read_score(value, entry_faults)
            faults += [Fault(pointer=at + f.pointer, detail=f.detail) for f in entry_faults]
        elif checkpoint is not None:
            conditions[name], entry_faults = early_exit.read_exits(value, checkpoint, [name])
            faults += [Fault(pointer=at + f.pointer, detail=f.detail) for f in entry_faults]
        elif problem := value_fault(knob, str(name), value):
            faults.append(Fault(pointer=at + pointer_of([name]), detail=problem))
    return Pipeline(policy=policy, conditions=conditions, score=score), faults


def knob_of(name: str) -> Knob | None:
    """The knob of this name, also of one content type (``filter.min_words.news``, ``route.podcast``);
    None for others.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    base, _, last = name.rpartition(".")
    if base in PER_TYPE and route.is_type_name(last):
        return BY_NAME[base]
    part, *rest = name.split(".")
    if part == "route" and rest and route.is_type_name(rest[0]):
        return BY_NAME["route.default"] if len(rest) == 1 else PRIORITY if rest[1:] == ["priority"] else None
    return None


def value_fault(knob: Knob, name: str, value: Any) -> str | None:
    """Why a value does not fit its knob; None where it does. Conditions are judged by ``read_exits``."""
    problem = knob.fault(value)
    if problem is None and knob.name.startswith("route.") and knob.kind == "text" and knob is not PRIORITY:
        return None if value in MODES else f"{name} is one of {', '.join(MODES)}, not {value!r}"
    return problem if problem is None else problem.replace(knob.name, name, 1)


def unknown_knob(name: str) -> str:
    """The fault of a name that is no knob, with the nearest one; for a name that ends in a content type, the type's."""
    for other, right in OTHER_NAMES.items():
        if f".{other}." in name:
            return f"there is no knob {name!r}; did you mean {name.replace(other, right)!r}?"
    base, _, last = name.rpartition(".")
    of_type = [f"{knob}.{last}" for knob in PER_TYPE] if base.count(".") and route.is_type_name(last) else []
    others = "; its knobs are score and those that begin with filter., route. or exit."
    return f"there is no knob {name!r}{did_you_mean(name, [*BY_NAME, *of_type]) or others}"


def _passed(checks: Mapping[str, bool | None]) -> int:
    return sum(checks[name] is True for name in filter.CHECKS)
