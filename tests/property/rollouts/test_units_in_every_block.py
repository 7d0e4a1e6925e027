"""Blocks tell units apart by numbers alone: as many units as there are, and nothing of whom they stand for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from hypothesis import given, strategies as st

from optimizer.core.rollout.blocks import (
    LAST,
    GuardrailLimits,
    ReportedRequest,
    chain_blocks,
    guardrail_content,
    last_units,
)
from optimizer.core.rollout.evidence_state import StoredEvidence, after, as_text, begin, from_text

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SETTINGS = {"margin": 0.02, "metric": {"field": "success", "source": "user"}}
REQUESTS = st.lists(
    st.tuples(st.integers(0, 13), st.sampled_from(["candidate", "candidate", "champion"]), st.booleans()), max_size=25
)


def hmac(unit: int) -> str:
    return sha256(str(unit).encode()).hexdigest()


@given(st.lists(REQUESTS, min_size=1, max_size=8))
def test_the_last_requests_show_as_many_units_as_there_were(windows: list[list[tuple[int, str, bool]]]) -> None:
    known, real = StoredEvidence(state=begin(SETTINGS)), []
    for n, window in enumerate(windows):
        begun = T0 + timedelta(seconds=10 * n)
        requests = [
            ReportedRequest(unit_hmac=hmac(unit), arm=arm, at=at, counted_at=at, stage=0, failed=failed)  # type: ignore[arg-type]
            for i, (unit, arm, failed) in enumerate(window)
            for at in [begun + timedelta(milliseconds=i)]
        ]
        content = guardrail_content(
            begun=begun,
            stage=0,
            requests=requests,
            counted=set(),
            fetches={},
            limits=GuardrailLimits(),
            numbers=known.numbers,
        )
        assert not any(hmac(unit)[:4] in json.dumps(content["last"]) for unit in range(14))
        (block,) = chain_blocks("ro_1", [("guardrails", content)], n_before=n, head=known.state.head, closed_at=begun)
        known = replace(
            known, state=after(known.state, block, SETTINGS, (0.1,)), last_units=last_units(known.last_units, requests)
        )
        known = from_text(as_text(known))  # as from tick to tick
        real = [*real, *(unit for unit, arm, _ in window if arm == "candidate")][-LAST:]
        told = [request.unit for request in known.state.failures.candidate]
        assert len(told) == len(real)
        assert [[a == b for a in told] for b in told] == [[a == b for a in real] for b in real]
        assert all(int(number) < 2 * LAST for number in told)
