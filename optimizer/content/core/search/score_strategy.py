"""The part of strategy ``replay`` that learns a score of content and finds thresholds that keep a saving or a quality.

Everything is chosen on training items, by scores from predictors that saw neither the item nor its group. 25 plain
statistics always stand beside the learned score, and serve wherever it is not surely better. Dev items are read once
the choice is made, and change nothing. A point of a learned score says what is saved and which quality is kept at a
threshold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import floor
from typing import Any

import numpy as np

from optimizer.content.core.policy.learned_knob import LEARNED, SCORE, read_text
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.search.learned_score import (
    CHARACTERS,
    LEAST_GROUPS,
    LEAST_OF_LENGTH,
    LEAST_ROWS,
    LENGTH,
    PLAIN,
    JudgedItem,
    LearnedScore,
    LearnScore,
    Method,
    destinations_of,
    group_of,
    items_by_type,
    quality_draws,
    results_by_type,
    ways_of,
)
from optimizer.content.core.search.recommend import search
from optimizer.content.core.search.replay import ReplayedShares, outcome, records_of, subset, summary
from optimizer.core.base.phrasing import count, signed, signed_interval
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import SCORE_SLOT, is_to_be_learned
from optimizer.core.predictor.predictor import Predictor
from optimizer.core.search.strategy import REPLAY, Proposal, SearchSetting
from optimizer.core.search.study import CONTENT_SCORE, KEEP

MOST_ROWS = 2000  # of a type: more hardly help, and take longer
SAME_SAVING = 0.005  # savings so near are compared by their quality


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringMethod:
    """One way to score: by type the method and what was learned. ``passes`` of ``at`` is by scores out of fold."""

    name: Method
    methods: Mapping[str, Method]
    learned: Mapping[str, LearnedScore]
    scores: Any  # per training record, out of fold; NaN without one


@dataclass(frozen=True, kw_only=True, eq=False)
class ScorePoint:
    """A way at one share of full processing, cross-fitted on training items."""

    way: ScoringMethod
    full_from: Mapping[str, float]  # by type, from which score on that share of it is processed in full
    outcome: ReplayedShares
    full: Any  # per training record, whether it is processed in full
    quality: Any
    groups: Sequence[str]

    @cached_property
    def draws(self) -> Any:
        """Bootstrap of its mean quality."""
        return quality_draws(self.quality, self.full, self.groups)

    @property
    def surely(self) -> float:
        """Mean quality less one standard error, so that a few lucky items do not win;
        -1 where nothing is processed in full.
        """
        return -1.0 if self.outcome.quality is None else self.outcome.quality - float(np.nanstd(self.draws))


def whole_groups(items: Sequence[JudgedItem], *, of: Sequence[JudgedItem], most: int) -> list[JudgedItem]:
    """Those ``of`` the items whose whole group is among them, at most so many.

    The other items then have groups of their own, and a predictor may score them, since it saw none of their groups.
    """
    in_all = Counter(item.group for item in items)
    in_these = Counter(item.group for item in of)
    groups, n_taken = set(), 0
    for group, n in in_these.items():
        if n == in_all[group] and n_taken + n <= most:
            groups.add(group)
            n_taken += n
    return [item for item in of if item.group in groups]


def methods_of(items: Sequence[JudgedItem]) -> tuple[list[tuple[Method, Sequence[JudgedItem]]], str | None]:
    """What may score a type with these items, the richest last, each with its items to learn from; or
    nothing, and why.
    """
    if len(items) < LEAST_OF_LENGTH:
        return [], f"{count(len(items), 'item')} with text and quality, and {LEAST_OF_LENGTH} are needed"
    if len(items) < LEAST_ROWS:
        return [(LENGTH, items)], None
    released = whole_groups(items, of=[item for item in items if item.released], most=MOST_ROWS)
    if len(released) >= LEAST_ROWS and n_groups(released) >= LEAST_GROUPS:
        return [(PLAIN, released), (CHARACTERS, released)], None
    whole = whole_groups(items, of=items, most=MOST_ROWS)
    if n_groups(whole) >= LEAST_GROUPS:
        return [(PLAIN, whole)], None
    return [], (
        f"{count(len(items), 'item')} with text and quality stand in {count(n_groups(items), 'group')}, and"
        f" {LEAST_GROUPS} of at most {MOST_ROWS:,} items together are needed"
    )


def n_groups(items: Sequence[JudgedItem]) -> int:
    return len({item.group for item in items})


def unlearnable_in_words(train: Sequence[Example], policy: Mapping[str, Any]) -> list[str]:
    """What a score cannot be learned from: the content types of the training items that none can serve, with what that
    costs, and those of which nobody released enough words. Empty where each has all.
    """
    measured, remarks = [e for e in train if e.expected.get("quality") is not None], list[str]()
    by_type = items_by_type(measured)
    learned = {name: methods_of(items) for name, items in sorted(by_type.items())}
    untrained = {name: why for name, (_, why) in learned.items() if why is not None}
    if untrained:
        records = records_of(measured)
        chosen = np.isin(records.codes, [records.types.index(name) for name in untrained])
        all_destinations = destinations_of(records, policy, [name for name in by_type if name not in untrained])
        as_served = summary(subset(records, chosen), ways_of(all_destinations.unscored, chosen))
        most = summary(records, all_destinations.of(np.where(chosen, np.nan, 0.0))).time_saved_share
        quality = "" if as_served.quality is None else f" at a mean quality of {as_served.quality:.2f}"
        remarks.append(
            f"No score can be learned for {'; '.join(f'{name}: {why}' for name, why in untrained.items())}. The"
            f" champion's routes and filter go on deciding about these types, {chosen.mean():.0%} of the items, and"
            f" process {as_served.full_share:.0%} of them in full{quality}; so at most {most:.1%} of the time can be"
            f" saved. Import more of them, of other groups, or set"
            f" {' and '.join(f'route.{name}' for name in untrained)}."
        )
    if wordless := [name for name, (methods, _) in learned.items() if [method for method, _ in methods] == [PLAIN]]:
        remarks.append(
            f"Of {' and '.join(wordless)} no words are learned, statistics alone: {LEAST_ROWS} items of a type are"
            f" needed, in {LEAST_GROUPS} groups or more of which each item is released. Where a person vouches for the"
            " texts, import the file again with --curated."
        )
    return remarks


def simpler(points: Sequence[ScorePoint]) -> ScorePoint:
    """The plain statistics, unless the learned score is surely better: the 95 % interval of its lead lies above 0."""
    plain = next((point for point in points if point.way.name == PLAIN), None)
    rich = next((point for point in points if point.way.name != PLAIN), None)
    if plain is None or rich is None:
        return next(point for point in points)
    return rich if _better_by(rich, plain)[1] > 0 else plain


def _better_by(rich: ScorePoint, plain: ScorePoint) -> tuple[float, float, float]:
    low, high = (float(each) for each in np.nanquantile(rich.draws - plain.draws, [0.025, 0.975]))
    return (rich.outcome.quality or 0.0) - (plain.outcome.quality or 0.0), low, high


def why_chosen(point: ScorePoint, beside: Sequence[ScorePoint]) -> str:
    quality = "not known" if point.outcome.quality is None else f"{point.outcome.quality:.3f}"
    summary = (
        f"{point.way.name} serves: on training items it has not seen it saves {point.outcome.time_saved_share:.1%} of"
        f" the time at a mean quality of {quality}"
    )
    rich, plain = (next((p for p in beside if (p.way.name == PLAIN) is is_plain), None) for is_plain in (False, True))
    if rich is None or plain is None:
        return (
            f"{summary}; {CHARACTERS} were not tried: words are learned from released items alone, {LEAST_ROWS} of a"
            " type (detent import --curated releases what you vouch for)."
        )
    better, low, high = _better_by(rich, plain)
    verdict = "not better for sure, so the simpler one serves"
    if low > 0:
        verdict = "better for sure"
    elif point.way.name != PLAIN:
        verdict = "not better for sure, but the simpler one saves less at the quality asked for"
    return (
        f"{summary}. There {CHARACTERS} are {signed(better)} ({signed_interval(low, high)}) beside {PLAIN}: {verdict}."
    )


MOST_SAVED = 0.80  # beyond it a handful of items is processed in full, which may be good by luck
POINTS = (0.65, 0.70, 0.75, 0.80)  # shares of time saved, where a space asks for a score and names no point
KNOBS = "filter and routes"
NO_TEXT = "no training item has a text (input.text), a content type and a known quality"
SHARES = tuple(k / 500 for k in range(501))  # of a type's items processed in full
NO_TRANSFER = (
    "No transfer to other forums: the score was trained and measured on these items' own sources. It says nothing about"
    " other forums, sources or content types; a type that was not trained goes by the filter."
)


def asks_for_score(definition: Mapping[str, Any], space: Mapping[str, Any]) -> bool:
    """Whether a saving or a quality is to be kept, or the space names a score without data."""
    choices = (space.get(SCORE_SLOT) or {}).get("choices") or ()
    is_set = any(definition.get(name) is not None for name in KEEP)
    return is_set or any(is_to_be_learned(SCORE_SLOT, choice) for choice in choices)


class ScoreSearch:
    """Proposes policies with a learned score: one for the share to keep, or one for each of four savings without it."""

    def __init__(self, setting: SearchSetting, learn: LearnScore) -> None:
        self._setting = setting
        self._learn = learn
        self._train, self._dev = (
            [e for e in part if e.expected.get("quality") is not None] for part in (setting.train, setting.dev)
        )
        self._not_trained: dict[str, str] = {}
        self._curves: dict[str, list[ScorePoint]] = {}

    def proposals(self) -> list[Proposal]:
        """Empty where nothing can be learned or the wish cannot be met; a remark then says why."""
        if off := [
            knob for knob in ("filter.enabled", "route.enabled") if self._setting.start.policy.get(knob) is False
        ]:
            return self._refused(
                f"{' and '.join(off)} of the champion is off, so that a score would decide nothing. Switch it on first"
            )
        self._items = items = items_by_type(self._train)
        if not items:
            return (
                self._by_knobs()
                if any(self._setting.definition.get(name) is not None for name in KEEP)
                else self._refused(NO_TEXT)
            )
        # The plain way, and the one by characters where any type has enough items with released words.
        learned: dict[tuple[str, Method], tuple[Sequence[JudgedItem], LearnedScore]] = {}
        for name, its in sorted(items.items()):
            methods_of_type, why = methods_of(its)
            if why is not None:
                self._not_trained[name] = why
            for method, used in methods_of_type:
                trained_on = {"study": self._setting.study, "type": name}
                learned[name, method] = used, self._learn(used, method, trained_on=trained_on, seed=self._setting.seed)
        methods = {method for _, method in learned}
        ways = [
            self._way(name, learned) for name in (PLAIN, CHARACTERS) if name in methods or (name == PLAIN and methods)
        ]
        if not ways:
            return self._refused("; ".join(f"{name}: {why}" for name, why in self._not_trained.items()))
        self._records, self._groups = records_of(self._train), [group_of(e) for e in self._train]
        # Every way knows the same types.
        self._destinations = destinations_of(self._records, self._setting.start.policy, tuple(ways[0].methods))
        chosen = [chosen_point for wish in self._wishes() if (chosen_point := self._chosen(ways, *wish)) is not None]
        if chosen:
            points = [self._as_data(point, ways) for point in chosen]
            untrained = [{"type": name, "why": why} for name, why in sorted(self._not_trained.items())]
            self._setting.keep_finding(CONTENT_SCORE, {"points": points, "not_trained": untrained, "note": NO_TRANSFER})
            self._setting.remark(" ".join(point["why"] for point in points))
        return [
            Proposal(
                variant=replace(self._setting.start, policy=self._policy(point)),
                proposer=REPLAY,
                params={
                    "score": point.way.name,
                    "saved_on_train": point.outcome.time_saved_share,
                    "quality_on_train": point.outcome.quality,
                },
            )
            for point in chosen
        ]

    def _by_knobs(self) -> list[Proposal]:
        """For items without texts: filter and routes, searched on training items inside a band of time saved.

        It is the search of ``thresholds recommend``.
        """
        ((saved, quality),) = self._wishes()
        records, policy = records_of(self._train), self._setting.start.policy
        for low in [saved] if saved is not None else [percent / 100 for percent in range(75, -1, -5)]:
            knobs, _ = search(records, policy, (low, min(1.0, low + 0.05)), checkpoints=())
            did = outcome(records, parse_pipeline(knobs))
            surely = -1.0 if did.quality is None else did.quality - (did.quality_error or 1.0)
            if did.time_saved_share >= low - 1e-9 and surely >= (quality or 0.0):
                variant = replace(self._setting.start, policy=dict(knobs))
                why = (
                    f"{KNOBS} serve, since {NO_TEXT}: on the training items they were fitted to they save"
                    f" {did.time_saved_share:.1%} of the time at a mean quality of {did.quality:.3f}."
                )
                on_dev = [asdict(result) for result in results_by_type(self._dev, knobs, {})] if self._dev else []
                point = {
                    "variant": variant.id,
                    "score": KNOBS,
                    "why": why,
                    "n_train": len(self._train),
                    "on_dev": {KNOBS: on_dev},
                }
                self._setting.keep_finding(CONTENT_SCORE, {"points": [point], "not_trained": [], "note": NO_TRANSFER})
                self._setting.remark(why)
                return [
                    Proposal(
                        variant=variant,
                        proposer=REPLAY,
                        params={"score": KNOBS, "saved_on_train": did.time_saved_share},
                    )
                ]
        wish = f"{saved:.0%} of the time saved" if saved is not None else f"a quality of {quality:g}"
        return self._refused(f"{NO_TEXT}; and no setting of filter and routes keeps {wish} on the training items")

    def _refused(self, why: str) -> list[Proposal]:
        self._setting.remark(f"No score was learned: {why}.")
        return []

    def _wishes(self) -> list[tuple[float | None, float | None]]:
        saved, quality = (self._setting.definition.get(name) for name in KEEP)
        return [(saved, quality)] if saved is not None or quality is not None else [(point, None) for point in POINTS]

    def _way(
        self, name: Method, learned: Mapping[tuple[str, Method], tuple[Sequence[JudgedItem], LearnedScore]]
    ) -> ScoringMethod:
        scores = np.full(len(self._train), np.nan)
        methods: dict[str, Method] = {}
        for of_type, method in learned:  # a type's last method is the richest
            if method != CHARACTERS or name == CHARACTERS:
                methods[of_type] = method
        for of_type, method in methods.items():
            used, one = learned[of_type, method]
            scores[[item.row for item in used]] = one.out_of_fold
            others = {item.row: item for item in self._items[of_type]}
            for item in used:
                del others[item.row]
            predictor = Predictor.from_data(one.predictor)
            for row, item in others.items():  # it was trained on none of their groups
                scores[row] = predictor.predict(*read_text(item.text, item.title))
        return ScoringMethod(
            name=name, methods=methods, learned={t: learned[t, m][1] for t, m in methods.items()}, scores=scores
        )

    def _curve(self, way: ScoringMethod) -> list[ScorePoint]:
        """Every share, the largest first, which saves least.

        Thresholds let the same share of each type pass: quality is marked within a type, so types do not compare.
        """
        if way.name not in self._curves:
            shares, thresholds, of_type = np.array(SHARES[::-1]), dict[str, list[float]](), dict[str, Any]()
            for name in way.methods:
                is_of_type = self._records.codes == self._records.types.index(name)
                of_type[name] = its = is_of_type & ~np.isnan(way.scores)
                known = way.scores[its]
                thresholds[name] = np.where(shares > 0, np.quantile(known, 1 - shares), known.max() + 1.0).tolist()
            points: list[ScorePoint] = []
            for at in range(len(shares)):
                # The point without its bootstrap, which only compared points need.
                passes = np.full(len(self._train), np.nan)
                full_from = {name: of_shares[at] for name, of_shares in thresholds.items()}
                for name, its in of_type.items():
                    passes[its] = way.scores[its] >= full_from[name]
                went = self._destinations.of(passes)
                points.append(
                    ScorePoint(
                        way=way,
                        full_from=full_from,
                        outcome=summary(self._records, went),
                        full=went.full,
                        quality=self._records.quality,
                        groups=self._groups,
                    )
                )
            self._curves[way.name] = points
        return self._curves[way.name]

    def _saving(self, way: ScoringMethod, saved: float) -> ScorePoint | None:
        """The largest share that saves at least this much; None where not even none at all does."""
        return next((point for point in self._curve(way) if point.outcome.time_saved_share >= saved - 1e-9), None)

    def _chosen(self, ways: Sequence[ScoringMethod], saved: float | None, quality: float | None) -> ScorePoint | None:
        if saved is not None:
            # The best quality at this saving.
            points = [point for way in ways if (point := self._saving(way, saved)) is not None]
            if points:
                return simpler(points)
            most = max(self._curve(way)[-1].outcome.time_saved_share for way in ways)
            self._refused(
                f"{saved:.0%} of the time cannot be saved: with no scored item in full it is {most:.1%}. Ask for less"
            )
            return None
        assert quality is not None
        # The most that is saved, up to 80 %, with this quality kept less one standard error.
        points = [point for way in ways if (point := self._with_quality(way, quality)) is not None]
        if points:
            most = max(point.outcome.time_saved_share for point in points)
            return simpler([point for point in points if point.outcome.time_saved_share >= most - SAME_SAVING])
        reached_savings = ", ".join(
            (
                f"{point.way.name} nothing in full"
                if point.outcome.quality is None
                else f"{point.way.name} {point.outcome.quality:.3f}, less a standard error of"
                f" {point.outcome.quality - point.surely:.3f}"
            )
            for way in ways
            if (point := self._saving(way, MOST_SAVED)) is not None
        )
        at_most = (
            f"at {MOST_SAVED:.0%} saved: {reached_savings}" if reached_savings else f"{MOST_SAVED:.0%} cannot be saved"
        )
        self._refused(
            f"a quality of {quality:g} cannot be kept for sure at any saving up to {MOST_SAVED:.0%} ({at_most}). Ask"
            " for less, or import more items"
        )
        return None

    def _with_quality(self, way: ScoringMethod, quality: float) -> ScorePoint | None:
        most = self._saving(way, MOST_SAVED)
        up_to = self._curve(way).index(most) + 1 if most is not None else len(SHARES)
        within = reversed(self._curve(way)[:up_to])
        return next(
            (point for point in within if (point.outcome.quality or 0.0) >= quality and point.surely >= quality), None
        )

    def _policy(self, point: ScorePoint) -> dict[str, Any]:
        types = {
            name: {"predictor": dict(learned_type.predictor), "full_from": floor(1e6 * point.full_from[name]) / 1e6}
            for name, learned_type in sorted(point.way.learned.items())
        }
        return {
            **self._setting.start.policy,
            **{f"route.{name}": "quality_check" for name in tuple(types)},
            SCORE: {"kind": LEARNED, "types": types},
        }

    def _as_data(self, point: ScorePoint, ways: Sequence[ScoringMethod]) -> dict[str, Any]:
        """What was chosen and why, and how each way to score does on dev, with thresholds of train for
        the same saving.
        """
        beside = [
            p
            for way in ways
            if (p := point if way is point.way else self._saving(way, point.outcome.time_saved_share)) is not None
        ]
        return {
            "variant": replace(self._setting.start, policy=self._policy(point)).id,
            "score": point.way.name,
            "why": why_chosen(point, beside),
            "n_train": len(self._train),
            "on_train": {
                p.way.name: {
                    "saved": p.outcome.time_saved_share,
                    "quality": p.outcome.quality,
                    "n_full": p.outcome.n_full,
                }
                for p in beside
            },
            "on_dev": {
                p.way.name: (
                    [asdict(result) for result in results_by_type(self._dev, self._policy(p), p.way.methods)]
                    if self._dev
                    else []
                )
                for p in beside
            },
        }
