"""How many calls and trials each strategy may take, and how many calls its proposer.

``strategy.py`` names the counts of each strategy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from optimizer.core.base.values import NONE, Spread
from optimizer.core.search.cost_estimate import REFLECTED_ON, SUMMARISED
from optimizer.core.search.racing import FIRST, SHARE
from optimizer.core.search.study import Definition

SUMMARIES = 10  # the most that DSPy's proposer makes
MET_IN_A_RACE = SHARE  # share of the dev examples that a contender meets on average
# Of a step of simba: training examples, answers to each, and new prompts that answer them.
BATCH, DRAWS, CANDIDATES = (8, 3, 3)
PLAYBOOK_BATCH = 12  # training examples of a step of playbook, answered without the new entries and with them
TEMPLATES = 3  # the most of the family's templates from which playbook starts
NEAREST_COUNTS = (1, 2, 4, 6)
STARTS = TEMPLATES + 1  # and the playbook as it stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes that the counts depend on."""

    definition: Definition
    n_train: int
    n_dev: int
    n_champion_examples: int = 0
    per_answer: int = 1  # the most calls that one example takes
    n_tiers: int = 0  # tiers of the cascade whose thresholds are searched


def n_bootstrapped(definition: Definition) -> int:
    """Bootstrapped candidates, the three fixed ones included; without examples, only the one that shows none."""
    return definition.n_candidates + 3 if _bootstraps(definition) else 1


def nearest_counts(max_examples: int) -> list[int]:
    """How many nearest examples are tried, the most first."""
    return sorted({min(k, max_examples) for k in NEAREST_COUNTS if max_examples}, reverse=True)


def nearest_calls(sizes: Sizes) -> Spread:
    """On dev; and on the holdout its fixed examples, should it win and should they not be the champion's."""
    n = len(nearest_counts(sizes.definition.max_examples)) * sizes.n_dev
    n_fixed = sizes.definition.n_holdout * sizes.per_answer if n else 0
    return Spread(low=0, expected=0.9 * n + n_fixed / 2, high=n + n_fixed)


def settings_calls(sizes: Sizes) -> Spread:
    n = sizes.definition.n_settings * sizes.n_dev
    return Spread(low=0, expected=n * 0.8, high=n)


def bootstrap_calls(sizes: Sizes) -> Spread:
    evaluated = sizes.n_dev * _n_distinct(sizes)
    return asked_for_examples(sizes.definition, sizes.n_train) + Spread(
        low=evaluated * 0.7, expected=evaluated, high=evaluated
    )


def gepa_calls(sizes: Sizes) -> Spread:
    """A child that does no better on its few examples is not evaluated; that is expected of every other one."""
    n, both = sizes.definition.n_instructions, 2 * REFLECTED_ON
    return Spread(low=min(n, 1) * REFLECTED_ON, expected=n * (both + sizes.n_dev / 2), high=n * (both + sizes.n_dev))


def playbook_calls(sizes: Sizes) -> Spread:
    """As for gepa, on a larger batch; before that, the playbook as it stands and the family's templates, where there
    are some.
    """
    n, batch = sizes.definition.n_instructions, min(PLAYBOOK_BATCH, sizes.n_train)
    return Spread(
        low=min(n, 1) * batch,
        expected=n * (2 * batch + sizes.n_dev / 2),
        high=n * (2 * batch + sizes.n_dev) + STARTS * sizes.n_dev,
    )


def playbook_proposals(definition: Definition, n_train: int) -> Spread:
    """Every step asks the Reflector and the Curator once each."""
    n = 2 * definition.n_instructions
    return Spread(low=0, expected=n, high=n)


def simba_calls(sizes: Sizes) -> Spread:
    """Each step draws several answers to a few training examples, lets new prompts answer the same, and proposes the
    best.
    """
    n, batch = sizes.definition.n_instructions, min(BATCH, sizes.n_train)
    return Spread(
        low=min(n, 1) * batch * DRAWS,
        expected=n * (batch * (DRAWS + CANDIDATES / 2) + sizes.n_dev / 2),
        high=n * (batch * (DRAWS + CANDIDATES) + sizes.n_dev),
    )


def joint_calls(sizes: Sizes) -> Spread:
    n = sizes.definition.n_settings * sizes.n_dev
    return asked_for_examples(sizes.definition, sizes.n_train) + Spread(low=sizes.n_dev, expected=n * 0.9, high=n)


def race_calls(sizes: Sizes) -> Spread:
    """Each contender meets a few examples, and some meet all; the scores decide how many."""
    n_contenders, n_dev = _n_distinct(sizes) + sizes.definition.n_settings, sizes.n_dev
    met = Spread(
        low=n_contenders * min(n_dev, FIRST), expected=n_contenders * n_dev * MET_IN_A_RACE, high=n_contenders * n_dev
    )
    return asked_for_examples(sizes.definition, sizes.n_train) + met


def replay_calls(sizes: Sizes) -> Spread:
    """Every tier answers every example outside the holdout once; on dev the journal has what was asked then."""
    n_calls = (sizes.n_train + sizes.n_dev) * sizes.n_tiers
    # Second samples, refinements, and other calls that no tier makes beforehand.
    again = max(0, sizes.per_answer - sizes.n_tiers)
    low = n_calls if sizes.n_tiers > 1 else 0  # one model is asked for a student alone, which may not be taught
    return Spread(low=low, expected=n_calls, high=n_calls + sizes.definition.n_settings * sizes.n_dev * again)


def asked_for_examples(definition: Definition, n_train: int) -> Spread:
    if not _bootstraps(definition):
        return NONE
    rounds = (
        definition.n_candidates + 1
    )  # the model is asked for examples in the unshuffled round and in the shuffled ones
    return Spread(low=rounds, expected=rounds * min(n_train, 2 * definition.max_examples), high=rounds * n_train)


def one_proposal_each(definition: Definition, n_train: int) -> Spread:
    n = definition.n_instructions
    return Spread(low=0, expected=n, high=n)


def simba_proposals(definition: Definition, n_train: int) -> Spread:
    n = definition.n_instructions * CANDIDATES
    return Spread(low=0, expected=n / 2, high=n)


def joint_proposals(definition: Definition, n_train: int) -> Spread:
    """DSPy's proposer also looks at the data in tens, sums up, and asks again where it cannot read an answer."""
    n = definition.n_instructions + min(SUMMARIES, ceil(n_train / SUMMARISED)) + 1
    return Spread(low=0, expected=n, high=2 * n)


def _n_distinct(sizes: Sizes) -> int:
    """The bootstrapped candidates but one: that without examples may be the champion itself."""
    return n_bootstrapped(sizes.definition) - (sizes.n_champion_examples == 0)


def _bootstraps(definition: Definition) -> bool:
    return bool(definition.n_candidates and definition.max_examples and definition.n_train)
