"""All tables, one module per concept; importing this package fills the metadata.

One module of ``repositories/`` writes each table; the table's docstring names it. retention.py removes old rows.
``row.py`` has the parts that tables are declared with. Start at ``events.py``.
"""

from __future__ import annotations

from optimizer.adapters.store.tables.events import (
    FEEDBACK_EVENTS,
    INTERACTIONS,
    ExposureCountRow,
    ExposureSumRow,
    IdempotencyKeyRow,
    LaterPartsRow,
    TruncatedInputRow,
)
from optimizer.adapters.store.tables.examples import (
    ExampleRow,
    GraphRow,
    HoldoutLookRow,
    JudgeCalibrationRow,
    JudgeRunRow,
    ReviewRow,
    StudentRow,
)
from optimizer.adapters.store.tables.operators import (
    AlertRow,
    AlertSilenceRow,
    ApiKeyRow,
    AuditRow,
    CallerRow,
    KeyUsageRow,
    OutboxRow,
)
from optimizer.adapters.store.tables.performance import (
    ArmStatRow,
    DriftDetectorRow,
    MinuteStatRow,
    PipelineHourRow,
    PipelineRecordRow,
    StatSumRow,
    SwitchWatchRow,
    TrafficSumRow,
    VariantPerformanceRow,
    WatermarkRow,
)
from optimizer.adapters.store.tables.rollouts import (
    ChampionRow,
    CohortBlockRow,
    DecisionRow,
    FreezeRow,
    OverrideRow,
    RolloutRow,
    RolloutUnitsRow,
    RolloutWatchRow,
    ServingVersionRow,
)
from optimizer.adapters.store.tables.row import Row, Utc
from optimizer.adapters.store.tables.studies import (
    LmCallRow,
    ScheduleRow,
    StudyRow,
    TierAnswersRow,
    TrialResultRow,
    TrialRow,
)
from optimizer.adapters.store.tables.variants import (
    EvaluationBatchRow,
    FamilyNameRow,
    PlaybookEntryRow,
    PlaybookStepRow,
    SealedInputRow,
    VariantRow,
)

__all__ = [
    "FEEDBACK_EVENTS",
    "INTERACTIONS",
    "AlertRow",
    "AlertSilenceRow",
    "ApiKeyRow",
    "ArmStatRow",
    "AuditRow",
    "CallerRow",
    "ChampionRow",
    "CohortBlockRow",
    "DecisionRow",
    "DriftDetectorRow",
    "EvaluationBatchRow",
    "ExampleRow",
    "ExposureCountRow",
    "ExposureSumRow",
    "FamilyNameRow",
    "FreezeRow",
    "GraphRow",
    "HoldoutLookRow",
    "IdempotencyKeyRow",
    "JudgeCalibrationRow",
    "JudgeRunRow",
    "KeyUsageRow",
    "LaterPartsRow",
    "LmCallRow",
    "MinuteStatRow",
    "OutboxRow",
    "OverrideRow",
    "PipelineHourRow",
    "PipelineRecordRow",
    "PlaybookEntryRow",
    "PlaybookStepRow",
    "ReviewRow",
    "RolloutRow",
    "RolloutUnitsRow",
    "RolloutWatchRow",
    "Row",
    "ScheduleRow",
    "SealedInputRow",
    "ServingVersionRow",
    "StatSumRow",
    "StudentRow",
    "StudyRow",
    "SwitchWatchRow",
    "TierAnswersRow",
    "TrafficSumRow",
    "TrialResultRow",
    "TrialRow",
    "TruncatedInputRow",
    "Utc",
    "VariantPerformanceRow",
    "VariantRow",
    "WatermarkRow",
]
