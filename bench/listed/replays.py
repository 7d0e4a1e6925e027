"""Races over a list of instructions replayed in memory, and the rule alone with as many calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from fixed_pool.pools import Array
from fixed_pool.product import through_race

from optimizer.adapters.search.tpe import SettingsSearch
from optimizer.core.base.values import ExampleResult
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.metrics import METRICS
from optimizer.core.search.proposers.race import RacedSearch
from optimizer.core.search.racing import FIRST, ContinuousRejects, Race
from optimizer.core.search.space import instruction_of
from optimizer.core.search.strategy import SearchSetting
from optimizer.core.search.study import Definition

RULE = through_race(lambda calls: ContinuousRejects(calls=calls, share=1.0))
TIE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A list with what is recorded of it: ``scores`` list x rows of the table, the champion first; ``dev``: rows that a
    search may ask about; ``names``: the ids of their examples.
    """

    scores: Array
    dev: Sequence[int]
    names: Sequence[str]

    def lost(self, chosen: int) -> tuple[float, float]:
        """Points below the best of the list on the dev rows, and on all rows of the table."""
        means = self.scores[:, self.dev].mean(axis=1), self.scores.mean(axis=1)
        on_dev, on_all = (float(100 * (mean.max() - mean[chosen])) for mean in means)
        return on_dev, on_all

    def rule(self, calls: int, contenders: Sequence[int] = (), order: Sequence[int] = ()) -> int:
        """What the rule alone chooses with so many calls; ``contenders`` and rows come in the given orders, if any."""
        numbers = list(contenders) or list(range(len(self.scores)))
        return numbers[int(RULE(self.scores[numbers][:, list(order) or self.dev][None], [calls])[0, 0])]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search made of a list of ``n``: ``n_tried`` of it, with the champion's, in ``calls`` calls."""

    n: int
    n_tried: int
    calls: int
    chosen: int
    lost: tuple[float, float]
    rule_lost: tuple[float, float]


def drawn(table: Array, seed: int, n_dev: int) -> Drawn:
    rng = np.random.default_rng([seed, *table.shape])
    scores, rows = table[rng.permutation(len(table))], rng.permutation(table.shape[1])[:n_dev]
    return Drawn(scores=scores, dev=[int(row) for row in rows], names=[f"row-{row}" for row in rows])


def least_calls(n: int) -> int:
    """That a race over a list of ``n`` needs beside the confirmation: ``FIRST`` rows of each instruction."""
    return FIRST * n


def text_of(number: int) -> str:
    """An instruction of 15 to 1,300 bytes."""
    return f"Instruction {number}." + " Be exact." * (number * 10 % 130)


def number_of(text: str | None) -> int:
    return int(str(text).split(".")[0].split()[1])


def declared(n: int, name: str = "listed", model: str = "recorded") -> dict[str, Any]:
    """A family file with a list of ``n``; the first is the champion's."""
    texts = [text_of(number) for number in range(n)]
    content = [{"role": "system", "content": texts[0]}, {"role": "examples"}, {"role": "user", "content": "{{row}}"}]
    return {
        "name": name,
        "inputs": {"row": {"type": "text", "max_chars": 60}},
        "output": {"field": "said", "parser": "label", "labels": ["right", "wrong"]},
        "prompt": {"current": "1", "versions": {"1": {"content": content}}},
        "model": {"default": model, "tiers": [model], "temperature": 0.0, "max_tokens": 8},
        "scorer": {"label_match": 1.0},
        "space": {"instruction": {"choices": texts}},
    }


class _Nothing:
    """In the place of bootstrapping, which has nothing to propose where no examples are asked for."""

    def ask(self) -> None:
        return None

    def tell(self, *words: Any) -> None: ...


def raced(of: Drawn, seed: int, cap: int) -> SearchResult:
    """As a study races whose definition asks for no examples and no run-off, with ``cap`` calls for its search.

    The rule alone has the same cap, and meets rows and contenders in the same orders: with one call less its first look
    may be at a row less, and another order is another draw.
    """
    n, n_dev = len(of.scores), len(of.dev)
    family = parse_family(declared(n))
    champion = family.variant()
    setting = SearchSetting(
        family=family,
        start=champion,
        train=[],
        dev=[],
        seed=seed,
        scorer=Scorer(family.output, family.metrics, list(METRICS.built_in.values())),
        definition=asdict(Definition(n_dev=n_dev, n_settings=n - 1, n_candidates=0, max_examples=0)),
        answer=lambda *words: "",
        propose=lambda *words: "",
        fits=lambda variant: True,
        tier_rows=lambda *words: [],
        remark=lambda text: None,
    )
    race = RacedSearch(
        champion,
        [lambda start: _Nothing(), lambda start: SettingsSearch(replace(setting, start=start))],
        of.names,
        seed=seed,
        calls=cap,
        n_contenders=[0, n - 1],
        n_champion_first=0,
    )
    rows, met = dict(zip(of.names, of.dev, strict=True)), dict[int, list[str]]()
    while heats := race.heats():
        for heat in heats:
            number, examples = number_of(instruction_of(heat.proposal.variant)), heat.turn.examples
            met.setdefault(number, []).extend(examples)
            scores = of.scores[number]
            race.tell(heat, [ExampleResult(example=e, score=float(scores[rows[e]]), output=None) for e in examples])
    pair = [number_of(instruction_of(proposal.variant)) for proposal in race.pair]
    common = [rows[e] for e in met[0] if e in met[pair[-1]]]
    leads = of.scores[pair[-1], common].mean() > of.scores[0, common].mean() + TIE
    chosen, order = pair[-1] if leads else 0, [rows[e] for e in Race(of.names, ContinuousRejects(), seed=seed).order]
    return searched(of, chosen, len(met), sum(map(len, met.values())), of.rule(cap, list(met), order))


def searched(of: Drawn, chosen: int, n_tried: int, calls: int, by_rule: int) -> SearchResult:
    return SearchResult(
        n=len(of.scores),
        n_tried=n_tried,
        calls=calls,
        chosen=chosen,
        lost=of.lost(chosen),
        rule_lost=of.lost(by_rule),
    )
