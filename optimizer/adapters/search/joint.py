"""Strategies ``mipro`` and ``joint``: instructions and sets of examples, then one TPE over both; ``joint`` adds
settings.

MIPROv2's three steps (Opsahl-Ong et al. 2024): examples are bootstrapped, instructions are written with them in view,
and the two are chosen together, since an instruction that wins alone may lose beside examples. Every point is a
candidate of the study.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.adapters.search.bootstrap import BootstrapSearch
from optimizer.adapters.search.tpe import PointSearch, Space, dimensions_of
from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.proposers.examples import made_for
from optimizer.core.search.space import (
    ChoiceDimension,
    Dimension,
    Point,
    apply_point,
    point_near,
    point_of,
    with_instruction,
)
from optimizer.core.search.strategy import JOINT, MIPRO, Proposal, SearchSetting, strategy

N_MADE = 4  # sets of ``joint`` beside the bootstrapped ones
TEXTS = ("instruction", "examples", "examples.order")  # dimensions in whose place texts and sets stand


class JointSearch:
    """At most ``n_settings`` points. The space is built at the first ``ask``, when the start's score is known."""

    def __init__(self, name: str, setting: SearchSetting) -> None:
        self._name, self._setting = name, setting
        self._bootstrap = BootstrapSearch(setting)
        self._results: list[tuple[Proposal, float | None, Sequence[ExampleResult]]] = []
        self._search: PointSearch | None = None

    def ask(self) -> Proposal | None:
        if self._search is None:
            self._search = self._new_search()
            for result in self._results:
                self._search.tell(*result)
        return self._search.ask()

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        if self._search is not None:
            self._search.tell(proposal, score, results)
            return
        self._bootstrap.tell(proposal, score, results)
        self._results.append((proposal, score, results))

    def _new_search(self) -> PointSearch:
        setting = self._setting
        # The start's own examples first, then DSPy's candidates, for `joint` then those made by similarity,
        # coverage and difficulty.
        sets: list[Sequence[FewShot]] = [self._setting.start.examples]
        while (proposal := self._bootstrap.ask()) is not None:
            sets.append(proposal.variant.examples)
        if self._name == JOINT:
            results = next(
                (results for tried, _, results in self._results if tried.variant.id == self._setting.start.id), ()
            )
            sets += [example_set for example_set in made_for(self._setting, results) if example_set not in sets][
                :N_MADE
            ]
        # The start first, then the same with other instructions: the space's list, where it has one, else written ones.
        texts, declared = [self._setting.start], self._setting.space.get("instruction") or {}
        if declared.get("choices"):
            others = [with_instruction(texts[0], text) for text in declared["choices"]]
            texts += [other for other in others if other.id != texts[0].id]
        elif declared.get("propose"):
            from optimizer.adapters.search.with_dspy.instructions import written_instructions

            n_written = int(self._setting.definition["n_instructions"])
            texts += written_instructions(self._name, self._setting, sets, n_written)
        settings = [d for d in dimensions_of(setting) if d.name not in TEXTS] if self._name == JOINT else []
        chosen: list[Dimension] = [
            ChoiceDimension(name=name, options=tuple(range(len(of))))
            for name, of in (("instruction", texts), ("example_set", sets))
            if len(of) > 1
        ]

        def variant_at(point: Point) -> Variant:
            text, shots = texts[point.get("instruction", 0)], sets[point.get("example_set", 0)]
            return apply_point(text.showing(shots), {d.name: point[d.name] for d in settings})

        beside = point_of(setting.start, settings)
        start = None if beside is None else {**{d.name: 0 for d in chosen}, **beside}
        near = {**{d.name: 0 for d in chosen}, **point_near(setting.start, settings)}
        # Every instruction of a list is tried, then TPE goes on from them.
        listed = [{**near, "instruction": at} for at in range(1, len(texts))] if declared.get("choices") else []
        space = Space(dimensions=[*chosen, *settings], variant_at=variant_at, start=start, listed=listed)
        return PointSearch(setting, space, n=int(setting.definition["n_settings"]), n_beside=0, proposer=self._name)


@strategy(
    name=MIPRO,
    does="has instructions written, and chooses them together with examples",
    writes="always",
    calls=strategy_calls.joint_calls,
    proposals=strategy_calls.joint_proposals,
)
def instructions_and_examples(setting: SearchSetting) -> JointSearch:
    return JointSearch(MIPRO, setting)


@strategy(
    name=JOINT,
    does="chooses instruction, examples and settings in one search",
    writes="if_allowed",
    calls=strategy_calls.joint_calls,
    proposals=strategy_calls.joint_proposals,
)
def everything_at_once(setting: SearchSetting) -> JointSearch:
    return JointSearch(JOINT, setting)
