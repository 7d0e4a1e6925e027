"""Bodies of requests. Unknown members are refused: a misspelt option must not be taken for the default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from optimizer.core.base.values import Aim
from optimizer.core.feedback.judge_sampling import MOST_DAYS
from optimizer.core.serving.access import Role
from optimizer.jobs.request import Moment, Name, Objects, Positive, Reason, StrictModel

# Entries of a list, more than anything ordinary has: what is wrong with each of twenty thousand would be told.
MANY = 1000


class Body(StrictModel, BaseModel):  # named again for the linter, which looks at this file alone
    model_config = ConfigDict(allow_inf_nan=False)


class RenderBody(Body):
    unit: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    variables: dict[str, Any]
    history: Annotated[
        Objects, Field(description="Earlier turns, oldest first, where the prompt has {role: history}")
    ] = []


class ScheduleBody(Body):
    """That studies of a family start by themselves, when, and whether they may look at the sealed holdout."""

    on: Annotated[bool | None, Field(description="Default: whether `cron` names a time; false is as DELETE")] = None
    cron: Annotated[
        str | None, Field(max_length=200, description="Five fields in UTC; left out: the file's; null: at no time")
    ] = None
    holdout: Annotated[bool, Field(description="Whether such a study may look at the sealed holdout")] = False
    strategy: Annotated[Name | None, Field(description="Default: the file's")] = None
    aim: Annotated[Aim | None, Field(description="Default: the file's")] = None
    reason: Reason = ""

    @property
    def switched_on(self) -> bool:
        return self.cron is not None if self.on is None else self.on


class KeyLimitsBody(Body):
    requests_per_minute: Annotated[int, Field(gt=0)] | None = None
    calls_per_day: Annotated[int, Field(gt=0, description="Model calls on the wire")] | None = None
    usd_per_day: Positive | None = None


class KeyBody(Body):
    """At most one role of each ladder (serve < feedback; read < read-texts < operate), or admin alone."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=10)]
    sources: Annotated[
        list[Literal["person", "judge"]], Field(max_length=10, description="Sources that need a right of their own")
    ] = []
    families: Annotated[list[Name] | None, Field(max_length=MANY, description="Default: all of them")] = None
    expires_at: Annotated[Moment | None, Field(description="Default: never")] = None
    limits: KeyLimitsBody | None = None
    close_keyless_from: Annotated[
        Moment | None,
        Field(
            description="Of the first key: from when requests without one are refused; a time that is over means now."
            " Needed where such requests came in the last day, else 409 with these `callers`"
        ),
    ] = None


class RotateBody(Body):
    grace_s: Annotated[float, Field(ge=0, le=90 * 24 * 3600, description="How long the old secret opens")] = 24 * 3600.0
    undo: Annotated[bool, Field(description="Back to the old secret, while it opens")] = False


class DryRunBody(Body):
    dry_run: Annotated[bool, Field(description="Say what would be, and keep nothing")] = False


class JudgeBudgetBody(Body):
    usd: Annotated[float, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None


class JudgeScoreBody(DryRunBody):
    n: Annotated[int, Field(ge=1, le=10_000, description="Answers at most")] = 50
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, description="Of so many days back")] = 30.0
    budget: Annotated[JudgeBudgetBody, Field(description="Default: the calls_at_most of a dry run")] = JudgeBudgetBody()


class JudgeCheckBody(DryRunBody):
    n: Annotated[int, Field(ge=1, description="Dev examples at most; fewer than 20 tell nothing")] = 40
    beside: Annotated[Name | None, Field(description="A model that judges the judge's own answers, too")] = None
    budget: Annotated[JudgeBudgetBody, Field(description="Default: the calls_at_most of a dry run")] = JudgeBudgetBody()


class RatingDrawBody(DryRunBody):
    n: Annotated[int, Field(ge=1, le=1000, description="Answers to draw")] = 50
    days: Annotated[float, Field(gt=0, le=MOST_DAYS, description="How far back judged answers are drawn from")] = 30.0


class ReasonBody(Body):
    reason: Reason = ""


class ReviewAnswerBody(Body):
    answer: Annotated[Name, Field(description="release or keep_back; of a drawn answer 0 to 1, or unrated")]
    expected: Annotated[Any, Field(description="Of an answer in doubt: what the output field should have been")] = None
    as_answered: Annotated[bool, Field(description="Of an answer in doubt: it was right")] = False


class ExposuresBody(Body):
    client: Annotated[str, Field(min_length=1, max_length=512)]
    windows: Annotated[Objects, Field(description="Each: family, variant, rollout, stage, from, to, exposed")]
