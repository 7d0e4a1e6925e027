"""The ports that a use case needs of the world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from optimizer.core.base.errors import InvalidFamily, InvalidInput
from optimizer.core.serving.access import EVERYTHING, Access, require_family

if TYPE_CHECKING:
    from optimizer.core.evaluation.judging.calibration import FitJudge
    from optimizer.core.evaluation.scoring import Scorer
    from optimizer.core.family.family import Family
    from optimizer.core.feedback.pipeline_record import Target
    from optimizer.core.predictor.student import LearnStudent
    from optimizer.core.rollout.alert_rules import AlertRule
    from optimizer.core.search.study import Study
    from optimizer.core.serving.assignment import Assignment
    from optimizer.core.views.dialogs import GroupTexts
    from optimizer.core.views.family import EnvironmentView
    from optimizer.host.config import Settings
    from optimizer.ports import Clock, FamilySource, InstallationKeys, ModelCatalogue, ModelSource, ServedModels, Store


@dataclass(frozen=True, kw_only=True)
class ServingHealth:
    """What a process that serves knows of itself; in a process that does not, what it finds out.

    Args:
        read_at: when it last read the store.
        ticked_at: the worker's last tick.
        fault: why a process of this home cannot read or write the store, in words for anyone.
        detail: the same as it was raised, with addresses.
        lock_held: who holds the store locked.
        not_ready: why the running server cannot serve or store what is sent.
        exposures_waiting: exposures that were counted and are not written yet.
        workers: processes that answer the same requests.
    """

    read_at: datetime | None
    ticked_at: datetime | None
    fault: str | None
    lock_held: str | None
    detail: str | None = None
    not_ready: str | None = None
    exposures_waiting: int = 0
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class Context:
    """The context of one request: who asks, what they may see, and where it is done.

    What is expensive to open is a function; the use case that needs it calls it, and it is opened once. The writing
    transaction of an act gives the act's report: an answer that is stored under an Idempotency-Key is stored in that
    transaction.
    """

    settings: Settings
    store: Store
    clock: Clock
    actor: str
    families: Callable[[], FamilySource]
    family: Callable[[str], Family]  # raises NotFound, or InvalidFamily where its file was never readable here
    models: Callable[[], ModelCatalogue]  # those in config/models.yaml; raises what is wrong with the file
    served_models: Callable[[], ServedModels]
    scorer_for: Callable[[Family], Scorer]
    loaded_models: Callable[[Collection[str]], Collection[str] | None]  # of the running gateway; waits for these
    hmac_unit: Callable[[str], str]  # under which a unit stands in the store
    older_hmacs: Callable[[str], Sequence[str]]  # the same under unit keys that were in use before
    installation_keys: InstallationKeys
    learn_student: LearnStudent
    fit_judge: FitJudge  # of a judge's scores to people's ratings
    group_texts: GroupTexts  # those that are alike
    verify: Callable[[str], Assignment]  # reads a token; raises what is wrong with it
    environment: Callable[[str], EnvironmentView | None]  # what it changes of a pipeline's champion
    pipeline_targets: Callable[[], Mapping[str, Target]]  # of a content pipeline's figures
    alert_rules: Callable[[], Sequence[AlertRule]]  # in force: the last good ones where the file cannot be used
    shipped_alert_rules: Callable[[], Sequence[AlertRule]]  # that come along
    alert_rules_problem: Callable[[], InvalidInput | None]  # of the file, as ``alert_rules`` read it last
    is_worker_running: Callable[[], bool]  # this home's worker, or a command that works in its place
    mlflow_link: Callable[[Study], str | None]  # the address of the study's run; None where no MLflow answers
    serving_health: Callable[[], ServingHealth]
    access: Access = EVERYTHING
    progress: Callable[[int, int], None] | None = None  # hears how far a long read is: so many, of so many
    within: timedelta | None = None  # how long a read may take; None: as long as it takes

    def require_family(self, family: str | None) -> None:
        """Raises NotAuthorised for a family that is not one of the caller's own, and for what concerns all of them."""
        require_family(self.access, family, actor=self.actor)

    def family_asked(self, family: str | None) -> str | None:
        """The family of a list's filter: a key for one family means it where it names none.

        Raises NotAuthorised for all others.
        """
        own = self.access.families
        if family is None and own is not None and len(own) == 1:
            return own[0]
        self.require_family(family)
        return family

    def sound_family(self, name: str, cannot: str) -> Family:
        """The family of its file as that stands now, not of its last good text.

        Raises InvalidFamily with what is wrong with the file; ``cannot``: what cannot be done with it, such as "be
        served".
        """
        problems, family = self.families().problems, self.family(name)
        if (problem := problems.get(name) or problems.get(family.name)) is not None:
            raise InvalidFamily(f"The file as it stands cannot {cannot}. {problem.detail}", problem.faults)
        return family


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What a queued job runs with. ``users_wait``: whether a user's call is under way, which goes before its own."""

    store: Store
    clock: Clock
    families: FamilySource
    models: ModelSource
    scorer_for: Callable[[Family], Scorer]
    users_wait: Callable[[], bool] = lambda: False
    learn_student: LearnStudent | None = None  # None: no study of this process teaches one
