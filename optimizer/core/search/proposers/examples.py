"""Strategy ``examples``: sets of few-shot examples by similarity, coverage and difficulty, then steps from the best.

It asks no model itself, so it costs only the dev examples of its proposals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance
from typing import Any

from optimizer.core.base.values import ExampleResult
from optimizer.core.family.rendering import clip_inputs, few_shot, parse_output
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search.examples.sets import (
    Chosen,
    ExampleSet,
    Pool,
    fitting,
    made_sets,
    make_pool,
    neighbours,
    showing,
    text_of,
    usable,
)
from optimizer.core.search.strategy import EXAMPLES, Proposal, SearchSetting, strategy

FIXED = 3  # proposals beside ``n_candidates``: as many as bootstrap has
UNKNOWN_NOISE = 0.05  # standard deviation of a score whose results are not told
LEAST_NOISE = 0.01


@strategy(
    name=EXAMPLES,
    does="chooses examples by similarity, coverage and difficulty",
    n_trials=lambda definition: definition.n_candidates + 3,
)
class ExampleSearch:
    """At most ``n_candidates`` + 3 sets. Half are made anew; the others are one step from the best, by what examples
    added.
    """

    def __init__(self, setting: SearchSetting) -> None:
        self._setting = setting
        self._max_examples = int(setting.definition["max_examples"])
        self._n_remaining = int(setting.definition["n_candidates"]) + FIXED
        self._n_made = -(-self._n_remaining // 2)
        self._pool: Pool | None = None
        self._ready: list[ExampleSet] = []
        self._results: dict[str, tuple[Variant, float | None, Sequence[ExampleResult]]] = {}
        self._seen: set[str] = set()

    def ask(self) -> Proposal | None:
        if self._pool is None:
            start = self._results.get(self._setting.start.id)
            self._pool = pool_of(self._setting, start[2] if start else ())
            self._ready = [
                ExampleSet(name="none", chosen=()),
                *made_sets(self._pool, self._max_examples, seed=self._setting.seed),
            ]
        while self._n_remaining > 0 and self._n_made > 0 and self._ready:
            example_set = self._ready.pop(0)
            proposal = self._proposed(
                fitting(self._setting.start, self._pool, example_set.chosen, self._setting.fits), made=example_set.name
            )
            if proposal is not None:
                self._n_made -= 1
                return proposal
        return self._step() if self._n_remaining > 0 else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        self._results[proposal.variant.id] = (proposal.variant, score, results)

    def _proposed(self, chosen: Chosen, **params: object) -> Proposal | None:
        assert self._pool is not None
        variant = showing(self._setting.start, self._pool, chosen)
        if variant.id in self._results or variant.id in self._seen or not self._setting.fits(variant):
            return None
        self._n_remaining -= 1
        self._seen.add(variant.id)
        return Proposal(variant=variant, proposer=EXAMPLES, params={**params, "n_examples": len(chosen)})

    def _step(self) -> Proposal | None:
        """The neighbour of the best set so far that may reach most."""
        assert self._pool is not None
        # The variants that differ from the start only by examples of the pool.
        place = {_name(shot): i for i, shot in enumerate(self._pool.shots)}
        bare = showing(self._setting.start, self._pool, ()).id
        tried = []
        for variant, score, _ in self._results.values():
            places = tuple(place.get(_name(shot), -1) for shot in variant.examples)
            if score is not None and -1 not in places and showing(variant, self._pool, ()).id == bare:
                tried.append(SetScore(chosen=places, score=score))
        if not tried or not len(self._pool) or not self._max_examples:
            return None
        best = max(tried, key=lambda t: t.score)  # the first of equals
        # Noise of a mean score: differences to the first scores, example by example, so hard dev examples add none.
        tables = [
            {r.example: r.score for r in results if r.score is not None}
            for _, _, results in self._results.values()
            if results
        ]
        variances = []
        for table in tables[1:]:
            differences = [score - tables[0][example] for example, score in table.items() if example in tables[0]]
            if len(differences) > 1:
                variances.append(pvariance(differences) / len(differences))
        noise = max(LEAST_NOISE, fmean(variances) ** 0.5) if variances else UNKNOWN_NOISE
        effects = ExampleEffects(self._pool.similarity, tried, noise=noise)
        beside = dict.fromkeys(neighbours(best.chosen, len(self._pool), self._max_examples))
        reach = {chosen: effects.reach(chosen) for chosen in beside}
        for chosen in sorted(beside, key=lambda c: -reach[c]):
            proposal = self._proposed(chosen, made="step", expected=round(reach[chosen], 4))
            if proposal is not None:
                return proposal
        return None


def pool_of(setting: SearchSetting, start: Sequence[ExampleResult]) -> Pool:
    """The training examples that may be shown, and the start's own examples beside them, seen from the dev examples.

    Args:
        start: results of the setting's start, which show how hard examples are; empty: unknown.
    """
    trained = [few_shot(setting.family, e) for e in usable(setting.train, setting.family, setting.start)]
    shots = list({_name(shot): shot for shot in (*trained, *setting.start.examples)}.values())
    scores, output = {r.example: r.score for r in start}, setting.family.output
    # A bootstrapped example may say its label in a sentence.
    labels = [str(parse_output(output, shot.output).value or shot.output) for shot in shots]
    return make_pool(
        shots,
        [text_of(clip_inputs(setting.family, e.input)) for e in setting.dev],
        [scores.get(e.id) for e in setting.dev],
        labels=labels if output.parser == "label" else None,
    )


def made_for(setting: SearchSetting, start: Sequence[ExampleResult]) -> list[tuple[FewShot, ...]]:
    """The made sets as a search over other things may offer them, the most promising first."""
    pool = pool_of(setting, start)
    sets = [
        fitting(setting.start, pool, example_set.chosen, setting.fits)
        for example_set in made_sets(pool, int(setting.definition["max_examples"]), seed=setting.seed)
    ]
    return [showing(setting.start, pool, chosen).examples for chosen in dict.fromkeys(sets) if chosen]


def _name(shot: FewShot) -> tuple[str, str]:
    """An example's id, and its output: a bootstrapped one carries the model's own words."""
    return shot.id, shot.output


LAST = 1.5  # weight of the last example; the others have 1
ALIKE = 0.5  # covariance that any two effects share: examples as such help, or harm
LEAST_SPREAD = 0.05  # of scores between sets, assumed before any score is known


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScore:
    """A set and its score."""

    chosen: Chosen
    score: float


class ExampleEffects:
    """The posterior after ``tried`` (one or more).

    Args:
        noise: standard deviation of a score as measured, above 0: dev examples are few.
    """

    def __init__(self, similarity: Sequence[Sequence[float]], tried: Sequence[SetScore], *, noise: float) -> None:
        import numpy as np  # at its use: processes that search nothing need not load it

        self._shared = ALIKE + np.array(similarity)
        self._covers = np.array([self._cover(t.chosen) for t in tried])
        scores = np.array([t.score for t in tried])
        self._mean = float(scores.mean())
        products = self._covers @ self._shared @ self._covers.T
        self._unit = max(float(scores.std()), LEAST_SPREAD) ** 2 / max(1.0, float(products.diagonal().max()))
        covariance = self._unit * products + LEAST_SPREAD**2  # the bare prompt's score, which all sets share
        self._precision = np.linalg.inv(covariance + noise**2 * np.eye(len(tried)))
        self._weights = self._precision @ (scores - self._mean)

    def reach(self, chosen: Chosen, *, spread: float = 1.0) -> float:
        """The expected score and ``spread`` standard deviations: what is unknown deserves a try."""
        row = self._shared @ self._cover(chosen)
        shared = self._unit * self._covers @ row + LEAST_SPREAD**2
        own = self._unit * row @ self._cover(chosen) + LEAST_SPREAD**2
        variance = max(0.0, float(own - shared @ self._precision @ shared))
        return self._mean + float(shared @ self._weights) + spread * math.sqrt(variance)

    def _cover(self, chosen: Chosen) -> Any:
        """The weight of each example of the pool in a set."""
        import numpy as np

        cover = np.zeros(len(self._shared))
        cover[list(chosen)] = 1.0
        cover[list(chosen[-1:])] = LAST
        return cover
