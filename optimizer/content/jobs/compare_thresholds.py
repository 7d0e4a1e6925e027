"""Compares two configurations of a content pipeline on the family's recorded items, by replay. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.search.compare import AbDifference, Preference, compare_replayed
from optimizer.content.core.search.replay import ReplayedShares, records_of
from optimizer.core.base.answers import Json, members_of
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.family.family import Family, kind_of
from optimizer.jobs.champions.read_variants import find_variant
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest, StrictModel


class NamedConfiguration(StrictModel):
    """``policy``: what the caller's own file of this name says, by knob."""

    name: str
    policy: Mapping[str, Json] | None = None


class CompareThresholdsRequest(FamilyRequest):
    conservative: Annotated[NamedConfiguration, Field(description="Default: of this name")] = NamedConfiguration(
        name="conservative"
    )
    aggressive: Annotated[NamedConfiguration, Field(description="Default: of this name")] = NamedConfiguration(
        name="aggressive"
    )
    confidence: Annotated[
        float, Field(gt=0, le=0.999999, description="With which both intervals hold together; default .95")
    ] = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedConfiguration:
    """``configuration``: what its name turned out to be. ``score``: of a study; None: not measured."""

    configuration: str
    outcome: ReplayedShares
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdsComparison(Preference):
    """``n_differing``: items of ``n`` with which the two deal differently."""

    family: str
    n: int
    n_differing: int
    conservative: ComparedConfiguration
    aggressive: ComparedConfiguration


def require_pipeline(family: Family) -> None:
    """Raises InvalidInput for a family whose thresholds are not those of a content pipeline."""
    if not kind_of(family).runs_pipeline:
        raise InvalidInput(
            f"Family {family.name!r} is of kind {family.kind}, and this is for content pipelines (kind policy)."
            f" Thresholds of a cascade are found by a study: detent study run {family.name} --strategy replay --aim"
            " cost --dry-run."
        )


def compare_thresholds(context: Context, request: CompareThresholdsRequest) -> ThresholdsComparison:
    """Which of two configurations to choose, replayed on the train and dev examples; the holdout stays sealed: as
    `detent thresholds compare`. It changes nothing.

    A `name` is that of a variant (id, `champion`, `candidate`), of a version of the family's file, or of a preset;
    `policy` is what a file of the caller's says instead. It is read by a process of its own, one at a time.

    Raises:
        InvalidInput: the family is no policy, or a configuration cannot be read.
        NotFound: the family has no such variant.
        DatasetTooSmall: fewer than 30 items with a measured quality are processed in full by one of the two.
    """
    family, store = context.family(request.family), context.store
    require_pipeline(family)
    names, policies = zip(
        *(_configuration(context, family, side) for side in (request.conservative, request.aggressive)), strict=True
    )
    with store.read() as tx:
        examples = [e for split in ("train", "dev") for e in store.examples.of_split(tx, family.name, split=split)]
    if not examples:
        raise DatasetTooSmall(
            f"Cannot compare configurations: family {family.name!r} has no recorded items. Import some with what they"
            f" turned out to be worth: detent import FILE --family {family.name}.",
            n=0,
        )
    comparison = compare_replayed(records_of(examples), *policies, confidence=request.confidence)
    conservative, aggressive = (
        ComparedConfiguration(configuration=name, outcome=outcome, score=outcome.score)
        for name, outcome in zip(names, (comparison.conservative, comparison.aggressive), strict=True)
    )
    verdict = comparison.verdict
    rounded = {"quality_lost": _rounded(verdict.quality_lost), "time_saved_more": _rounded(verdict.time_saved_more)}
    return ThresholdsComparison(
        **members_of(verdict) | rounded,
        family=family.name,
        n=comparison.n,
        n_differing=comparison.n_differing,
        conservative=conservative,
        aggressive=aggressive,
    )


def _configuration(
    context: Context, family: Family, configuration: NamedConfiguration
) -> tuple[str, Mapping[str, Json]]:
    """What it turned out to be, and its flat policy; the first that fits of: file, variant, version, preset."""
    name, versions = configuration.name, family.prompt.versions
    if configuration.policy is not None:
        return f"file {name}", configuration.policy
    if name in ("champion", "candidate") or name.startswith("v_"):
        variant = find_variant(context, family.name, name).variant
        return variant.id if name.startswith("v_") else f"{name} {variant.id}", variant.policy
    if name in versions:
        return f"version {name}", family.variant(name).policy
    if name in PRESETS:
        return f"preset {name}", PRESETS[name].policy
    known = ", ".join(dict.fromkeys([*versions, *PRESETS]))
    raise InvalidInput(
        f"There is no configuration {name!r}. Name one of {known}, a variant (id, champion, candidate), or a file of"
        " the pipeline's."
    )


def _rounded(difference: AbDifference) -> AbDifference:
    return replace(
        difference, estimate=round(difference.estimate, 6), low=round(difference.low, 6), high=round(difference.high, 6)
    )
