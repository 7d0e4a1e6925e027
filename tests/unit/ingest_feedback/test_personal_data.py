"""What is masked before it reaches the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optimizer.core.family.masking import Masker
from optimizer.jobs.feedback.ingest_feedback import IntakeRequest
from tests.rows.ingestion import BY_UNIT, Installation, token
from tests.stores import FAMILY

Install = Callable[..., Installation]


class TestPersonalData:
    def test_masked_texts_are_all_that_reaches_the_disk(self, install: Install, tmp_path: Path) -> None:
        here, secret = install(mask=["email"]), "anna@example.org"
        texts = dict.fromkeys(("output", "error", "label", "conversation"), secret)
        nested = {"input": {"document": f"From {secret}"}, "expected": {"summary": secret}, "tags": {secret: [secret]}}
        parts = [{"model": "m", "output": secret, "error": secret}]
        here.send({"id": "a", "assignment": token(), **texts, **nested, "parts": parts})
        kept, (outcome,) = here.interaction("a"), here.feedback()
        assert kept.input == {"document": "From [email]"}
        assert (kept.output, kept.error, kept.conversation, outcome.label) == ("[email]",) * 4
        assert (kept.tags, outcome.expected) == ({"[email]": ["[email]"]}, {"summary": "[email]"})
        assert kept.parts == [{"model": "m", "output": "[email]", "error": "[email]"}]
        here.store.close()
        assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_an_outcome_that_names_only_its_interaction_is_masked_before_the_transaction(
        self, install: Install
    ) -> None:
        here = install(mask=["email"])
        here.send({"id": "in", "assignment": token(), "output": "x"})
        secret = {"interaction": "beside", "label": "berta@example.org"}
        beside = {"id": "beside", "assignment": token(), "output": "y"}
        request = IntakeRequest(here.intake())
        reads = request.read([{"interaction": "in", "label": "anna@example.org"}, secret, beside])
        assert [read.report.get("label") for read in reads] == ["[email]", "[email]", None]
        assert here.store.write(request.job(reads))["accepted"] == 3

    def test_an_outcome_masked_for_another_family_than_its_interaction_has_by_then_is_not_kept(
        self, install: Install
    ) -> None:
        here = install(mask=["email"])
        here.send({"id": "in", "family": "triage", "unit": "u1", "output": "x"})
        request = IntakeRequest(here.intake())
        reads = request.read([{"interaction": "in", "label": "anna@example.org"}])
        others = [read._replace(read_for=FAMILY) for read in reads]
        answer = here.store.write(request.job(others))
        assert [one["type"] for one in answer["rejected"]] == ["unknown_interaction"]
        assert here.feedback() == []

    def test_the_answer_that_an_idempotency_key_keeps_quotes_no_personal_data(
        self, install: Install, tmp_path: Path
    ) -> None:
        here, secret = install(mask=["email"]), "anna@example.org"
        refused = (
            {secret: 1},
            {**BY_UNIT, "family": secret, "score": 1},
            {**BY_UNIT, "variant": secret, "score": 1},
            {**BY_UNIT, secret: 1},
        )
        answer = here.send(*refused, idempotency=("app", "key", "hash"))
        assert len(answer["rejected"]) == len(refused)
        assert not any("errors" in one for one in answer["rejected"]), "of a list no answer shows them"
        alone = here.send(refused[0], idempotency=("app", "another key", "hash"))
        assert "[email]" in alone["rejected"][0]["errors"][0]["pointer"]
        here.store.close()
        assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_metadata_keeps_figures_and_no_text(self, install: Install) -> None:
        here = install(store="metadata")
        texts = {"input": {"document": "d"}, "output": "o", "error": "e", "label": "l", "tags": {"t": 1}}
        parts = [{"model": "m", "output": "o", "cost_usd": 0.5}]
        figures = {"latency_ms": 5, "success": False, "parts": parts}
        here.send({"id": "a", "assignment": token(), **texts, "expected": {"summary": "s"}, **figures})
        kept, (outcome,) = here.interaction("a"), here.feedback()
        assert (kept.input, kept.output, kept.tags, kept.latency_ms) == (None, None, {}, 5)
        assert kept.error not in (None, "e")
        assert kept.parts == [{"model": "m", "cost_usd": 0.5}]
        assert (outcome.label, outcome.expected, outcome.success) == (None, None, False)
        assert here.examples() == []


def test_a_text_that_an_own_mask_does_not_get_through_is_rejected_alone(install, monkeypatch):
    monkeypatch.setitem(Masker.__init__.__kwdefaults__, "own_rule_s", 0.05)
    here = install(mask=[{"pattern": "(x|xx)+$"}])
    answer = here.send({"id": "a", **BY_UNIT, "output": "x" * 60 + "z"}, {"id": "b", **BY_UNIT, "output": "fine"})
    assert (answer["accepted"], [one["type"] for one in answer["rejected"]]) == (1, ["mask_too_slow"])
    assert here.interaction("b").output == "fine"
