"""What jobs need from the world, as protocols. Adapters provide them; ``wiring`` joins the two; ``core`` knows neither.

A ``Transaction`` is opaque here: take it from ``Store.read()`` or ``Store.write(fn)`` and hand it on. Nothing inside a
transaction may call a model or the network. Ids and times are made by jobs; stores keep what they are given. Start at
``store.py``.
"""

from __future__ import annotations

from optimizer.core.evaluation.judging.calibration import CalibrationRecord
from optimizer.ports.alerts import (
    Alert,
    AlertChannel,
    AlertMessage,
    Alerts,
    AlertSilence,
    Audit,
    AuditEntry,
    ChannelFailed,
)
from optimizer.ports.api_keys import (
    ApiKeys,
    CallerKind,
    CallerRecord,
    InstallationKey,
    InstallationKeys,
    KeyKind,
    KeyRecord,
    KeyUsage,
    Limited,
)
from optimizer.ports.events import (
    Events,
    Exposure,
    Exposures,
    InteractionFilter,
    InteractionMatches,
    Traffic,
    TruncatedInput,
)
from optimizer.ports.examples import (
    Bypass,
    Examples,
    ExampleStanding,
    Graphs,
    Review,
    Reviews,
    SealedHoldout,
    WatchedStudent,
)
from optimizer.ports.judging import Calibrations, Runs
from optimizer.ports.models import (
    DeltaSink,
    LanguageModel,
    ModelCatalogue,
    ModelSource,
    ServedModels,
    StreamingModel,
)
from optimizer.ports.outbox import MovedAlias, Outbox, OutboxItem, Pages, StudyEvidence, Tracker
from optimizer.ports.performance import (
    DaySums,
    DriftDetectors,
    MinuteStats,
    Performance,
    PipelineStats,
    SwitchWatches,
    WatchedSwitch,
    WatchedTenure,
)
from optimizer.ports.serving import (
    Blocks,
    Champions,
    EvidenceRow,
    FamilyNames,
    Fetches,
    Freezes,
    Observations,
    Overrides,
    Rollouts,
    ServingVersion,
    UnitCount,
    UnitCounts,
    UnitOutcomes,
)
from optimizer.ports.sources import FamilySource, SourceRow
from optimizer.ports.store import Clock, Store
from optimizer.ports.studies import Journal, JournalEntry, Schedules, Studies, TierAnswers
from optimizer.ports.transaction import Added, Transaction
from optimizer.ports.variants import StepRecord, Variants

__all__ = [
    "Added",
    "Alert",
    "AlertChannel",
    "AlertMessage",
    "AlertSilence",
    "Alerts",
    "ApiKeys",
    "Audit",
    "AuditEntry",
    "Blocks",
    "Bypass",
    "CalibrationRecord",
    "Calibrations",
    "CallerKind",
    "CallerRecord",
    "Champions",
    "ChannelFailed",
    "Clock",
    "DaySums",
    "DeltaSink",
    "DriftDetectors",
    "Events",
    "EvidenceRow",
    "ExampleStanding",
    "Examples",
    "Exposure",
    "Exposures",
    "FamilyNames",
    "FamilySource",
    "Fetches",
    "Freezes",
    "Graphs",
    "InstallationKey",
    "InstallationKeys",
    "InteractionFilter",
    "InteractionMatches",
    "Journal",
    "JournalEntry",
    "KeyKind",
    "KeyRecord",
    "KeyUsage",
    "LanguageModel",
    "Limited",
    "MinuteStats",
    "ModelCatalogue",
    "ModelSource",
    "MovedAlias",
    "Observations",
    "Outbox",
    "OutboxItem",
    "Overrides",
    "Pages",
    "Performance",
    "PipelineStats",
    "Review",
    "Reviews",
    "Rollouts",
    "Runs",
    "Schedules",
    "SealedHoldout",
    "ServedModels",
    "ServingVersion",
    "SourceRow",
    "StepRecord",
    "Store",
    "StreamingModel",
    "Studies",
    "StudyEvidence",
    "SwitchWatches",
    "TierAnswers",
    "Tracker",
    "Traffic",
    "Transaction",
    "TruncatedInput",
    "UnitCount",
    "UnitCounts",
    "UnitOutcomes",
    "Variants",
    "WatchedStudent",
    "WatchedSwitch",
    "WatchedTenure",
]
