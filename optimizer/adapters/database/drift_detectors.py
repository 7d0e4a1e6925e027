"""Table drift_detectors: per family what is known about how its champion does; and the outcomes that it is learned from."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Connection, func, select

from optimizer.adapters.database.engine import table, upsert
from optimizer.adapters.database.tables import FEEDBACK_EVENTS, DriftDetectorRow
from optimizer.core.champion_watch import as_record, from_record
from optimizer.core.family_settings import Metric
from optimizer.ports import WatchedReign

DETECTORS = table(DriftDetectorRow)


class DriftDetectorTable:
    """ports.DriftDetectors on the database."""

    def get(self, tx: Connection, family: str) -> WatchedReign | None:
        row = tx.execute(select(DETECTORS).where(DETECTORS.c.family == family)).first()
        if row is None:
            return None
        return WatchedReign(family=row.family, reign=row.reign, watch=from_record(json.loads(row.state)), read_until=row.read_until)

    def put(self, tx: Connection, row: WatchedReign) -> None:
        state = json.dumps(as_record(row.watch), separators=(",", ":"), allow_nan=False)
        upsert(tx, DETECTORS, [{"family": row.family, "reign": row.reign, "state": state, "read_until": row.read_until}])

    def outcomes(
        self, tx: Connection, family: str, variant: str, metric: Metric, start: datetime, until: datetime
    ) -> list[tuple[datetime, str, float]]:
        f = FEEDBACK_EVENTS.c
        value = f[metric.field]
        query = (
            select(f.received_at, func.coalesce(f.unit_hmac, f.id).label("unit"), value.label("value"))
            .where(f.family == family, f.received_at >= start, f.received_at < until)
            .where(f.variant == variant, f.source == metric.source, value.is_not(None))
            .order_by(f.received_at, f.id)
        )
        return [(row.received_at, row.unit, float(row.value)) for row in tx.execute(query)]
