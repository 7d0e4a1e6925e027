"""Sets of few-shot examples that are worth a trial, and the orders in which they may stand. No model is asked.

Central examples are like all others, typical ones represent them, covering ones leave nothing far away, and hard ones
lie near what went wrong. Which order is best depends on the model: small ones lean towards what they read last (Zhao et
al. 2021, arXiv 2102.09690).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, zip_longest
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import grouped
from optimizer.core.dataset.examples import Example, similarities, vectors
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import few_shot, render_open, value_text
from optimizer.core.family.variant import FewShot, Variant

Chosen = tuple[int, ...]  # positions in a pool, in the order in which they are shown
HARD_SHARE = 0.25  # share of the pool, the hardest or the easiest, from which a set is chosen
ALL_ORDERS = 4  # up to so many examples every order is a neighbour


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The examples of a choice.

    ``similarity[i][j]`` in [0, 1]; ``nearness[i]``: of each to the requests that the search is scored on.

    ``labels``: each one's where outputs are labels, else None. ``hardness``:
    in [0, 1], None where nothing is known of it.
    """

    shots: tuple[FewShot, ...]
    similarity: Sequence[Sequence[float]]
    nearness: Sequence[float]
    labels: Sequence[str] | None
    hardness: Sequence[float] | None

    def __len__(self) -> int:
        return len(self.shots)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """A set with the name of how it was made."""

    name: str
    chosen: Chosen


def usable(train: Sequence[Example], family: Family, start: Variant, *, to_be_answered: bool = False) -> list[Example]:
    """Released training examples that a prompt may show. A {{variable}} in one would be filled in by a client.

    Args:
        to_be_answered: a model answers them first, so an example without an answer is usable, too.
    """
    return [e for e in train if e.released and _is_servable(e, family, start, to_be_answered)]


def _is_servable(example: Example, family: Family, start: Variant, to_be_answered: bool) -> bool:
    shows_none = family.output.shown is not None and not example.expected.get(family.output.shown)
    try:
        render_open(replace(start, examples=(few_shot(family, example, "" if shows_none else None),)))
    except InvalidInput:
        return False
    return to_be_answered or not shows_none


def make_pool(
    shots: Sequence[FewShot], requests: Sequence[str], scores: Sequence[float | None], *, labels: Sequence[str] | None
) -> Pool:
    """A pool of ``shots`` as seen from ``requests``, texts of dev inputs.

    Args:
        scores: of the start, one per request; None: not measured, and no score says that nothing is known of hardness.
            An example is as hard as the requests like it were, by squared similarity: so the hard ones are found
            without a further call.
    """
    embedded = vectors([*(text_of(shot.input) for shot in shots), *requests])
    examples, questions = embedded[: len(shots)], embedded[len(shots) :]
    seen = similarities(examples, questions)
    measured = [(at, score) for at, score in enumerate(scores) if score is not None]
    if not measured or len({score for _, score in measured}) == 1:
        hardness = None
    else:
        mean = sum(score for _, score in measured) / len(measured)
        weights = [sum(row[at] ** 2 for at, _ in measured) for row in seen]
        # What is like no request is as hard as the mean.
        prior_weight = sum(weights) / len(weights) or 1.0 if weights else 1.0
        missed = [sum(row[at] ** 2 * (1 - score) for at, score in measured) for row in seen]
        hardness = [(m + prior_weight * (1 - mean)) / (w + prior_weight) for m, w in zip(missed, weights, strict=True)]
    return Pool(
        shots=tuple(shots),
        similarity=similarities(examples, examples),
        nearness=[sum(row) / len(row) if row else 0.0 for row in seen],
        labels=labels,
        hardness=hardness,
    )


def text_of(input: Mapping[str, Any]) -> str:
    return "\n".join(value_text(value) for value in input.values())


def made_sets(pool: Pool, k: int, *, seed: int) -> list[ExampleSet]:
    """Different sets of at most ``k``, the most promising first.

    In each, those near the requests stand last, unless labels alternate.
    """
    k = min(k, len(pool))
    if k < 1:
        return []
    everyone = range(len(pool))
    sets = [("central", near_last(pool, central(pool, k))), ("typical", near_last(pool, typical(pool, k, everyone)))]
    if pool.labels is not None:
        sets.insert(1, ("per_label", near_last(pool, per_label(pool, k))))
    if pool.hardness is not None:
        hard, easy = (near_last(pool, typical(pool, k, among)) for among in _ends(pool, pool.hardness, k))
        sets += [("hard", hard), ("mixed", alternating(pool, [*hard[: k // 2], *easy[: k - k // 2]])), ("easy", easy)]
    sets.append(("covering", near_last(pool, covering(pool, k))))
    if k > 1:
        sets += [("few", near_last(pool, typical(pool, k // 2, everyone))), ("turned_round", sets[0][1][::-1])]
    sets.append(("drawn", tuple(random.Random(seed).sample(everyone, k))))
    first = {chosen: name for name, chosen in reversed(sets)}  # of equal sets the first name
    return [ExampleSet(name=name, chosen=chosen) for name, chosen in sets if first[chosen] == name]


def central(pool: Pool, k: int) -> Chosen:
    """The ``k`` most like all others."""
    return tuple(sorted(range(len(pool)), key=lambda i: (-sum(pool.similarity[i]), i))[:k])


def typical(pool: Pool, k: int, among: Collection[int]) -> Chosen:
    """``k`` of ``among`` that represent these best: each adds most to the similarity of everyone to the nearest chosen
    one.

    Greedy facility location, at least 1 - 1/e of the best possible (Nemhauser et al. 1978).
    """
    chosen: list[int] = []
    nearest = dict.fromkeys(among, 0.0)
    while len(chosen) < min(k, len(nearest)):
        rest = [i for i in nearest if i not in chosen]
        best = max(rest, key=lambda i: (sum(max(0.0, pool.similarity[i][j] - near) for j, near in nearest.items()), -i))
        chosen.append(best)
        nearest = {j: max(near, pool.similarity[best][j]) for j, near in nearest.items()}
    return tuple(chosen)


def covering(pool: Pool, k: int) -> Chosen:
    """The most typical one, then each time the one least like those chosen (k-center, Gonzalez 1985).

    So the odd ones are among them.
    """
    chosen = list(typical(pool, 1, range(len(pool))))
    while len(chosen) < k:
        rest = [i for i in range(len(pool)) if i not in chosen]
        chosen.append(min(rest, key=lambda i: (max(pool.similarity[i][j] for j in chosen), i)))
    return tuple(chosen)


def per_label(pool: Pool, k: int) -> Chosen:
    """The typical ones of each label in turn, the most frequent label first."""
    labels = pool.labels or [""] * len(pool)
    members = {label: [i for i, own in enumerate(labels) if own == label] for label in labels}
    frequent = sorted(Counter(labels).items(), key=lambda of: (-of[1], of[0]))
    rounds = -(-k // len(members))
    return _in_turn([typical(pool, rounds, members[label]) for label, _ in frequent])[:k]


def _ends(pool: Pool, hardness: Sequence[float], k: int) -> tuple[list[int], list[int]]:
    """The hardest and the easiest: enough of either to choose ``k`` from. They share an example only in a
    small pool.
    """
    order = sorted(range(len(pool)), key=lambda i: (-hardness[i], i))
    n = max(k, round(HARD_SHARE * len(pool)))
    return order[:n], order[-n:]


def near_last(pool: Pool, chosen: Collection[int]) -> Chosen:
    """The examples with those that are most like the requests last, next to the request."""
    return tuple(sorted(chosen, key=lambda i: (pool.nearness[i], i)))


def alternating(pool: Pool, chosen: Sequence[int]) -> Chosen:
    """The examples without repeats and, where possible, with no label twice in a row; without labels as they come."""
    once = tuple(dict.fromkeys(chosen))
    if pool.labels is None:
        return once
    groups = grouped((pool.labels[i], i) for i in once)
    return _in_turn(sorted(groups.values(), key=len, reverse=True))


def _in_turn(groups: Sequence[Sequence[int]]) -> Chosen:
    return tuple(i for together in zip_longest(*groups) for i in together if i is not None)


def neighbours(chosen: Chosen, n_pool: int, k: int) -> Iterator[Chosen]:
    """Sets one step away: one example left out, exchanged or added at either end (at most ``k``), or another order."""
    others = [i for i in range(n_pool) if i not in chosen]
    for at in range(len(chosen)):
        yield (*chosen[:at], *chosen[at + 1 :])
        yield from ((*chosen[:at], other, *chosen[at + 1 :]) for other in others)
    if len(chosen) < k:
        for other in others:
            yield (other, *chosen)
            yield (*chosen, other)
    if len(chosen) <= ALL_ORDERS:
        yield from (order for order in permutations(chosen) if order != chosen)
    else:
        yield chosen[::-1]
        yield from ((*chosen[:at], *chosen[at + 1 :], chosen[at]) for at in range(len(chosen) - 1))


Fits = Callable[[Variant], bool]


def fitting(start: Variant, pool: Pool, chosen: Chosen, fits: Fits) -> Chosen:
    """``chosen`` without as many of its first as make the request too long."""
    while chosen and not fits(showing(start, pool, chosen)):
        chosen = chosen[1:]
    return chosen


def showing(start: Variant, pool: Pool, chosen: Chosen) -> Variant:
    """``start`` with these examples in place of its own."""
    return start.showing(pool.shots[i] for i in chosen)
