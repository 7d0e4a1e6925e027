"""How a search names its winner: the leaders meet the remaining rows, or proposals are tested one after another.

In the run-off, the leaders on dev and the champion share the remaining dev rows by sequential halving: each stage costs
about as many answers as the others, and after it the better half of the leaders goes on. All that stand have met the
same rows, and of equal scores the smaller change wins. What follows depends on the results alone, so a study that is
run again takes the same way. Source: Karnin, Koren and Somekh (2013), Almost optimal exploration in multi-armed
bandits, ICML, algorithm 1.

Several proposals at one look are tested in an order that was fixed before it, from the safest to the boldest, until the
first that fails. Each is tested at the whole level. A wrong acceptance needs the first truly bad proposal of the order
to pass its own test, however the proposals correlate, so the level needs no correction. Sources: Maurer, Hothorn and
Lehmacher (1995); Westfall and Krishen (2001), Journal of Statistical Planning and Inference 99, 25-40.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.phrasing import count
from optimizer.core.evaluation.comparison import TIE
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import SequenceStep, Study
from optimizer.core.statistics.noninferiority import NotLower

RUN_OFF: Final = "run_off"  # names a finding of a study, the rows in its dataset, and the purpose of their results
N_LEADERS = 4
STEP = 8  # rows that all meet before the next ones, so that a cap which ends the run-off loses at most these
_EQUAL = 9  # decimals of a gain that do not depend on the order in which numbers are added


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PromptChange:
    """How much a Variant changes the champion: the smaller, the better.

    ``n_settings``: generation settings and knobs of the policy, and one each for the messages, the few-shot examples,
    the tools and the response format. ``n_bytes``: of all it sends beside the input, in place of tokens.
    """

    n_settings: int
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """A Variant that leads.

    ``gain``: over the champion on the rows that all leaders have met, under the study's aim. ``usd``: mean of an
    example. ``number``: of the trial.
    """

    variant: str
    gain: float
    change: PromptChange
    usd: float
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """``n_leaders`` stand until the first ``upto`` of the rows are met."""

    upto: int
    n_leaders: int


def change_of(champion: Variant, other: Variant) -> PromptChange:
    before, after = champion.content(), other.content()
    parts = ("messages", "examples", "tools", "response_format")
    n_settings = sum(before[part] != after[part] for part in parts)
    for part in ("model", "policy"):
        n_settings += sum(
            before[part].get(name) != after[part].get(name) for name in before[part].keys() | after[part].keys()
        )
    return PromptChange(n_settings=n_settings, n_bytes=sum(len(canonical_json(after[part])) for part in parts))


def ranked_leaders(candidates: Sequence[Leader], *, above: float = TIE) -> list[Leader]:
    """Those that gain more than ``above``, the best first; of equal gains the smaller change, then the cheaper, then
    the first.
    """
    leaders = (one for one in candidates if one.gain > above)
    return sorted(leaders, key=lambda one: (-round(one.gain, _EQUAL), one.change, one.usd, one.number))


def stages(n_rows: int, n_leaders: int) -> list[Stage]:
    """How many stand until which row: n_leaders, half of them (rounded up), ... 1; empty without rows or leaders.

    Each stage takes as many answers as the others, up to rounding: 84 rows among four leaders are 16 rows for all four,
    27 for two and 41 for the last, each beside the champion.
    """
    if not n_rows or not n_leaders:
        return []
    standing = [n_leaders]
    while standing[-1] > 1:
        standing.append(ceil(standing[-1] / 2))
    shares = [1 / (n + 1) for n in standing]
    return [
        Stage(upto=round(n_rows * sum(shares[: place + 1]) / sum(shares)), n_leaders=n)
        for place, n in enumerate(standing)
    ]


def n_answers(n_rows: int, n_leaders: int) -> int:
    """The answers of all leaders and the champion."""
    answers, met = 0, 0
    for stage in stages(n_rows, n_leaders):
        answers, met = answers + (stage.upto - met) * (stage.n_leaders + 1), stage.upto
    return answers


def rows_in_words(findings: Mapping[str, Any] | None) -> str | None:
    """How many dev rows the choice rests on, and why not on all; None where the study stored nothing of it."""
    record = (findings or {}).get(RUN_OFF)
    if record is None:
        return None
    if record["why_not_all"] is None:
        return f"The choice rests on all {record['n_dev']} dev rows."
    return f"The choice rests on {record['n_used']} of {record['n_dev']} dev rows. {record['why_not_all']}"


def leaders_in_words(findings: Mapping[str, Any] | None) -> list[str]:
    """What each leader of the run-off did, on the rows of the trials and those behind them; [] without a run-off."""
    return [
        f"{one['variant']} {one['score']:.3f} on {count(one['n'], 'row')}, the champion {one['champion_score']:.3f} on"
        " the same"
        for one in ((findings or {}).get(RUN_OFF) or {"leaders": []})["leaders"]
        if one["score"] is not None and one["champion_score"] is not None
    ]


SEQUENCE = "sequence"  # name of the finding
SAVED, LOSS = "saved_predicted", "loss_predicted"  # parameters of a proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedLoss:
    """What a proposal is expected to do on rows to which it was not fitted.

    saved: share of the champion's dollars, below 1. loss: of the mean score against the champion, in [-1, 1].
    """

    variant: str
    saved: float
    loss: float


def safest_first(proposals: Sequence[PredictedLoss], *, worth: float) -> list[PredictedLoss]:
    """The proposals that are predicted to save ``worth`` or more, the safest first: by predicted loss,
    then by saving.
    """
    return sorted((one for one in proposals if one.saved >= worth), key=lambda one: (one.loss, one.saved, one.variant))


def sequence_record(sequence: Sequence[PredictedLoss]) -> dict[str, Any]:
    """The sequence as a study stores it, with its SHA-256.

    What was written down before the look can be checked after it.
    """
    proposals = [asdict(one) for one in sequence]
    return {"proposals": proposals, "hash": digest(canonical_json(proposals))}


def read_frozen(findings: Mapping[str, Any] | None) -> list[str] | None:
    """Variants of a study's fixed sequence in its order; None where it has none."""
    sequence = (findings or {}).get(SEQUENCE)
    return None if sequence is None else [str(one["variant"]) for one in sequence["proposals"]]


def chosen_on(study: Study) -> str:
    """The rows on which a candidate has to beat the champion before any look at the holdout."""
    return "dev" if read_frozen(study.findings) is None else "cross-fitted rows"


def with_sequence(test: NotLower, steps: Sequence[SequenceStep]) -> NotLower:
    """The test of the one that passed, with the largest p of all tests up to it, so that the report pays for every
    test.
    """
    return {**test, "p": max([test["p"], *(step["p"] for step in steps if step["passed"])])}


def in_words(steps: Sequence[SequenceStep]) -> str:
    """How the sequence went."""
    n_passed = sum(step["passed"] for step in steps)
    last = steps[-1]["variant"]
    if not n_passed:
        return f"Of the proposals the safest, {last}, was tested first and did not pass, which ends the sequence."
    text = f"{count(n_passed, 'proposal')} passed in the order frozen before the look, safest first"
    return f"{text}, and {last} ended it." if not steps[-1]["passed"] else f"{text}: all that were tested."
