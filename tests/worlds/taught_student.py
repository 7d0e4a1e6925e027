"""A student of four words, and a champion that names it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.predictor.parts import Platt
from optimizer.core.predictor.student import Classifier, Student, TaughtStudent, Vocabulary
from optimizer.core.serving.champion import next_tenure
from optimizer.ports import Store
from tests.worlds.study_world import TOPICS

TAUGHT = TaughtStudent(
    student=Student(
        classifiers=[
            Classifier(method="logistic_regression", labels=TOPICS, calibration=Platt(slope=1.0, intercept=0.0))
        ],
        vocabulary=Vocabulary(words=("notes", *TOPICS), letters=(), n_holding=(9, 3, 3, 3), n_texts=9),
        weights=np.vstack([np.zeros(3), 30_000 * np.eye(3)]).astype(np.int16),
        scale=np.full(3, 1e-4),
        intercept=np.zeros(3),
    ),
    out_of_fold={},
)


def crown(store: Store, family: str, variant: Variant, *, at: datetime, study: str | None = None) -> None:
    """Makes it the champion, whatever its models are. ``study``: the one that made it."""

    def write(tx: Any) -> None:
        record = VariantRecord(family=family, variant=variant, source="person", created_at=at, created_by="ann")
        store.variants.add(tx, record if study is None else replace(record, source="study", study=study))
        before = store.champions.current(tx, family)
        assert before is not None
        changes: dict[str, Any] = {"by": "ann", "why": "test", "forced": False}
        store.champions.put(tx, next_tenure(before, variant=variant.id, at=at, **changes))

    store.write(write)
