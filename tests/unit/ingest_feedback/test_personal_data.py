"""What is masked before it reaches the disk."""

from __future__ import annotations

from pathlib import Path

from optimizer.core.family.masking import Masker
from optimizer.jobs.feedback.ingest_feedback import IntakeRequest
from tests.rows.ingestion import BY_UNIT, Installation, token
from tests.stores import FAMILY, new_database


class TestPersonalData:
    def test_masked_texts_are_all_that_reaches_the_disk(self, tmp_path: Path) -> None:
        store = new_database(tmp_path)
        here = Installation(store, mask=["email"])
        secret = "anna@example.org"
        here.send(
            {
                **{
                    "id": "a",
                    "assignment": token(),
                    "input": {"document": f"From {secret}"},
                    "output": secret,
                    "error": secret,
                    "label": secret,
                },
                **{"expected": {"summary": secret}, "tags": {secret: [secret]}, "conversation": secret},
                "parts": [{"model": "m", "output": secret, "error": secret}],
            }
        )
        kept = here.interaction("a")
        assert kept.input == {"document": "From [email]"}
        assert (kept.output, kept.error, kept.conversation, kept.tags) == (
            "[email]",
            "[email]",
            "[email]",
            {"[email]": ["[email]"]},
        )
        assert (here.feedback()[0].label, here.feedback()[0].expected) == ("[email]", {"summary": "[email]"})
        assert kept.parts == [{"model": "m", "output": "[email]", "error": "[email]"}]
        store.close()
        assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_an_outcome_that_names_only_its_interaction_is_masked_before_the_transaction(self, tmp_path: Path) -> None:
        here = Installation(new_database(tmp_path), mask=["email"])
        here.send({"id": "in", "assignment": token(), "output": "x"})
        secret = {"interaction": "beside", "label": "berta@example.org"}
        beside = {"id": "beside", "assignment": token(), "output": "y"}
        request = IntakeRequest(here.intake())
        reads = request.read([{"interaction": "in", "label": "anna@example.org"}, secret, beside])
        assert [read.report.get("label") for read in reads] == ["[email]", "[email]", None]
        assert here.store.write(request.job(reads))["accepted"] == 3

    def test_an_outcome_masked_for_another_family_than_its_interaction_has_by_then_is_not_kept(
        self, tmp_path: Path
    ) -> None:
        here = Installation(new_database(tmp_path), mask=["email"])
        here.send({"id": "in", "family": "triage", "unit": "u1", "output": "x"})
        request = IntakeRequest(here.intake())
        reads = request.read([{"interaction": "in", "label": "anna@example.org"}])
        others = [read._replace(read_for=FAMILY) for read in reads]
        answer = here.store.write(request.job(others))
        assert [one["type"] for one in answer["rejected"]] == ["unknown_interaction"]
        assert here.feedback() == []

    def test_the_answer_that_an_idempotency_key_keeps_quotes_no_personal_data(self, tmp_path: Path) -> None:
        store = new_database(tmp_path)
        here = Installation(store, mask=["email"])
        secret = "anna@example.org"
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
        store.close()
        assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_metadata_keeps_figures_and_no_text(self, tmp_path: Path) -> None:
        store = new_database(tmp_path)
        here = Installation(store, store="metadata")
        here.send(
            {
                **{
                    "id": "a",
                    "assignment": token(),
                    "input": {"document": "d"},
                    "output": "o",
                    "error": "e",
                    "label": "l",
                    "tags": {"t": 1},
                },
                **{"expected": {"summary": "s"}, "latency_ms": 5, "success": False},
                "parts": [{"model": "m", "output": "o", "cost_usd": 0.5}],
            }
        )
        kept, (outcome,) = here.interaction("a"), here.feedback()
        assert (kept.input, kept.output, kept.tags, kept.latency_ms) == (None, None, {}, 5)
        assert kept.error is not None
        assert kept.error != "e"
        assert kept.parts == [{"model": "m", "cost_usd": 0.5}]
        assert (outcome.label, outcome.expected, outcome.success) == (None, None, False)
        assert here.examples() == []
        store.close()


def test_a_text_that_an_own_mask_does_not_get_through_is_rejected_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(Masker.__init__.__kwdefaults__, "own_rule_s", 0.05)
    here = Installation(new_database(tmp_path), mask=[{"pattern": "(x|xx)+$"}])
    answer = here.send({"id": "a", **BY_UNIT, "output": "x" * 60 + "z"}, {"id": "b", **BY_UNIT, "output": "fine"})
    assert (answer["accepted"], [one["type"] for one in answer["rejected"]]) == (1, ["mask_too_slow"])
    assert here.interaction("b").output == "fine"
    here.store.close()
