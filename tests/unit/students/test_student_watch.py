"""The watch on a student: what it lost is counted over audited requests alone, an alarm needs more than was accepted,
and looking often raises no alarm.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from optimizer.core.family.settings import Output
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.assess import Situation, assess
from optimizer.core.policy.attempts import Call, Reply
from optimizer.core.policy.policy import parse_policy
from optimizer.core.policy.steps import draw_of
from optimizer.core.rollout.student_watch import (
    MOST_LOST,
    NO_BINS,
    STORED_STUDENT_WATCH,
    StudentRequest,
    StudentWatch,
    Teacher,
    accepted_loss,
    counted,
    distance,
    read_request,
    teaching_weight,
)
from tests.stores import interaction

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)  # a Monday
TEACHER = Teacher(prompt="p1", revisions={"small": "r1", "large": "r1"})
LABELS = Output(field="topic", parser="label", labels=("music", "physics"))


def new_watch(accepted: float = 0.02, **facts: Any) -> StudentWatch:
    return StudentWatch.begin(accepted=accepted, student="st_1", tier="student", teacher=TEACHER, **facts)


def audited(agreement: float, *, is_own: bool = True, chance: float = 0.1, **more: Any) -> StudentRequest:
    return StudentRequest(
        at=NOW, is_own=is_own, confidence=0.9, chance=chance, agreement=agreement if is_own else None, **more
    )


def after(watch: StudentWatch, requests: Iterable[StudentRequest]) -> StudentWatch:
    for request in requests:
        watch = watch.after(request)
    return watch


def drawn(rng: random.Random, loss: float, n: int) -> list[StudentRequest]:
    """It answers seven requests in ten, and loses this share of all."""
    return [audited(float(rng.random() >= loss / 0.7), is_own=rng.random() < 0.7) for _ in range(n)]


class TestDecision:
    def test_a_student_at_its_accepted_loss_is_hardly_ever_bypassed_however_often_one_looks(self) -> None:
        rng = random.Random(3)
        n_bypassed = sum(after(new_watch(), drawn(rng, 0.02, 800)).decision == "bypass" for _ in range(15))
        assert n_bypassed / 15 < 800 / 10_000 + 0.08, "in expectation 10,000 requests pass until a false alarm"

    @pytest.mark.parametrize(("loss", "most"), [(0.3, 40), (0.15, 90), (0.08, 250)])
    def test_one_that_loses_more_is_bypassed_after_so_many_audited_requests(self, loss: float, most: int) -> None:
        rng, delays = random.Random(5), []
        for _ in range(7):
            watch, n = after(new_watch(), drawn(rng, 0.01, 300)), 0
            while watch.decision != "bypass":
                watch, n = after(watch, drawn(rng, loss, 1)), n + 1
            delays.append(n)
        assert sorted(delays)[3] <= most

    def test_what_it_passes_on_loses_nothing(self) -> None:
        watch = after(new_watch(), [audited(0.0, is_own=False)] * 400)
        assert (watch.decision, watch.lost, watch.n_audited) == ("keep", 0.0, 400)

    def test_requests_that_were_not_audited_say_nothing(self) -> None:
        unaudited = replace(audited(0.0), chance=None, agreement=None)
        watch = after(new_watch(), [unaudited] * 400)
        assert (watch.decision, watch.n_audited, watch.weeks[0].agreement) == ("cannot_tell", 0, None)

    def test_few_audits_and_audits_that_brought_no_answer_cannot_tell(self) -> None:
        assert after(new_watch(0.3), [audited(1.0)] * 99).decision == "cannot_tell"
        good = after(new_watch(0.3), [audited(1.0)] * 200)
        assert good.decision == "keep"
        lost = after(good, [replace(audited(1.0), agreement=None)] * round(200 * MOST_LOST / (1 - MOST_LOST) + 2))
        assert lost.decision == "cannot_tell"
        assert "brought no answer to compare with" in lost.reason

    def test_its_state_is_stored_with_all_digits(self) -> None:
        watch = after(new_watch(), drawn(random.Random(1), 0.1, 50))
        assert STORED_STUDENT_WATCH.validate_json(STORED_STUDENT_WATCH.dump_json(watch)) == watch


class TestWeeks:
    def test_agreement_is_of_all_its_answers_though_variants_audit_by_different_chances(self) -> None:
        """Of 900 answers at chance .1 two thirds agree, of 900 at chance .5 all do: five sixths of all."""
        often, seldom = [audited(1.0, chance=0.5)] * 450, [audited(float(i % 3 > 0), chance=0.1) for i in range(90)]
        week = after(new_watch(), [*often, *seldom]).weeks[0]
        assert week.agreement == pytest.approx(5 / 6)
        assert week.interval.lower < 5 / 6 < week.interval.upper
        alone = after(new_watch(), [audited(1.0, chance=0.1)] * 540).weeks[0].interval
        assert week.interval.upper - week.interval.lower > alone.upper - alone.lower, "unequal weights are worth less"

    def test_each_week_begins_on_a_monday_and_thirteen_are_kept(self) -> None:
        requests = [replace(audited(1.0), at=NOW + timedelta(days=3 + 7 * week)) for week in range(20)]
        weeks = after(new_watch(), requests).weeks
        assert [week.monday for week in weeks] == [(NOW + timedelta(weeks=week)).date() for week in range(7, 20)]


class TestAcceptedLoss:
    def test_beside_a_tier_that_is_always_right_it_is_the_margin(self) -> None:
        rows = [row(student=float(i % 10 > 0), behind=1.0, agreement=float(i % 10 > 0)) for i in range(100)]
        assert accepted_loss(rows, student="student", behind="small", accept=0.5, margin=0.02) == 0.02

    def test_what_it_disagreed_on_without_a_loss_is_no_loss_later(self) -> None:
        """Of 400 answers 100 were right where the small model was wrong: each such disagreement would hide one loss."""
        better = [row(student=1.0, behind=float(i % 4 > 0), agreement=float(i % 4 > 0)) for i in range(400)]
        accepted = accepted_loss(better, student="student", behind="small", accept=0.5, margin=0.02)
        assert 0.52 < accepted < 0.60
        passed_on = accepted_loss(better, student="student", behind="small", accept=0.95, margin=0.02)
        assert passed_on == 0.02, "it answers none of them"

    def test_a_row_counts_as_often_as_its_chance_says(self) -> None:
        harmless = [{**row(student=1.0, behind=0.0, agreement=0.0), "weight": 0.0} for _ in range(100)]
        others = [{**row(student=1.0, behind=1.0, agreement=1.0), "weight": 4.0} for _ in range(100)]
        assert accepted_loss(
            [*harmless, *others], student="student", behind="small", accept=0.5, margin=0.02
        ) == pytest.approx(0.02)
        assert accepted_loss(harmless, student="student", behind="small", accept=0.5, margin=0.02) == 0.02

    def test_of_rows_that_know_the_next_tier_alone_it_counts_what_that_one_says(self) -> None:
        """Rows stored earlier hold one number; a variant may leave the tier between out."""
        own = {"score": 0.0, "confidence": 0.9, "agreement": 0.0}
        behind = {"score": 0.0, "confidence": None}
        rows = [{"tiers": {"student": own, "small": behind, "large": behind}} for _ in range(100)]
        of = {"student": "student", "accept": 0.5, "margin": 0.02}
        tiers = ("student", "small", "large")
        assert accepted_loss(rows, behind="small", tiers=tiers, **of) == pytest.approx(1.02)
        assert accepted_loss(rows, behind="large", tiers=tiers, **of) == 0.02, "it is not known, so none is harmless"

    def test_without_a_study_it_is_the_margin(self) -> None:
        assert accepted_loss((), student="student", behind="small", accept=0.5, margin=0.03) == 0.03


def row(*, student: float, behind: float, agreement: float) -> dict[str, Any]:
    own = {"score": student, "confidence": 0.9, "agreement_with": {"small": agreement}}
    return {"tiers": {"student": own, "small": {"score": behind, "confidence": None}}}


class TestReadRequest:
    POLICY = parse_policy({"tiers": ["student", "small", "large"], "accept": 0.6, "audit_share": 0.5})
    DRAWN, UNDRAWN = (
        next(f"in_{i}" for i in range(99) if (draw_of(f"in_{i}") < 0.5) is is_drawn) for is_drawn in (True, False)
    )

    def read(self, id: str, audit: list[dict[str, Any]], **own: Any) -> StudentRequest | None:
        parts = [part(0, "student", taken=True, confidence=0.8, unknown=0.25, **own)]
        return read_request(interaction(id, parts=parts, output="music"), audit, self.POLICY, "student", LABELS)

    @pytest.mark.parametrize(("said", "agreement"), [("Music", 1.0), ("physics", 0.0)])
    def test_an_audited_answer_is_compared_with_the_next_tier(self, said: str, agreement: float) -> None:
        audit = [part(1, "small", "audit", output=said), part(2, "large", "audit", output="physics")]
        request = self.read(self.DRAWN, audit)
        assert (request.is_own, request.chance, request.agreement) == (True, 0.5, agreement)
        assert (request.confidence, request.unknown) == (0.8, 0.25)

    def test_an_answer_that_was_not_drawn_is_compared_with_nothing(self) -> None:
        request = self.read(self.UNDRAWN, [part(1, "small", "audit", output="music")])
        assert (request.chance, request.agreement) == (None, None)

    @pytest.mark.parametrize(
        "audit",
        [
            [],
            [{"tier": 1, "model": "small", "purpose": "audit", "error": "timeout"}],
            [{"tier": 1, "model": "another", "purpose": "audit", "output": "music"}],
            [{"tier": 1, "model": "small", "purpose": "audit"}],
        ],
        ids=["lost", "failed", "a fallback answered", "its text was not kept"],
    )
    def test_an_audit_without_the_next_tiers_own_answer_is_lost(self, audit: list[dict[str, Any]]) -> None:
        request = self.read(self.DRAWN, audit)
        assert (request.chance, request.agreement) == (0.5, None)

    @pytest.mark.parametrize(
        "own", [{"confidence": 0.4}, {"confidence": 0.8, "issues": ["empty"]}, {}], ids=["unsure", "blocked", "a guess"]
    )
    def test_what_went_out_as_the_models_behind_it_failed_is_no_answer_of_its_own(self, own: dict[str, Any]) -> None:
        policy = parse_policy(
            {
                **{"tiers": ["student", "small"], "accept": 0.6, "audit_share": 0.5, "students": {"student": "st_1"}},
                **{"validate": ["empty"], "validate.then": "escalate"},
            }
        )
        parts = [part(0, "student", taken=True, **own), part(1, "small", error="http: 503")]
        audit = [part(1, "small", "audit", output="physics")]
        one = interaction(self.DRAWN, parts=parts, output="music")
        request = read_request(one, audit, policy, "student", LABELS)
        assert (request.is_own, request.agreement) == (False, None)
        assert teaching_weight(one, policy) == 0.0

    def test_a_request_that_no_student_read_is_none(self) -> None:
        parts = [part(2, "large", taken=True)]
        assert read_request(interaction(parts=parts), (), self.POLICY, "student", LABELS) is None


def part(tier: int, model: str, purpose: str = "answer", **more: Any) -> dict[str, Any]:
    return {"tier": tier, "model": model, "purpose": purpose, **more}


class TestTeachingWeight:
    POLICY = parse_policy(
        {"tiers": ["student", "large"], "accept": 0.6, "audit_share": 0.5, "students": {"student": "st_1"}}
    )

    @pytest.mark.parametrize(
        ("is_own", "is_drawn", "weight"),
        [(True, True, 2.0), (True, False, 0.0), (False, True, 1.0), (False, False, 1.0)],
        ids=["its answer, audited", "its answer, not audited", "passed on, audited", "passed on"],
    )
    def test_its_own_answers_teach_only_where_chance_chose_them(self, is_own, is_drawn, weight):
        id = TestReadRequest.DRAWN if is_drawn else TestReadRequest.UNDRAWN
        own = part(0, "student", confidence=0.8)
        parts = [{**own, "taken": True}] if is_own else [own, part(1, "large", taken=True)]
        assert teaching_weight(interaction(id, parts=parts), self.POLICY) == weight

    def test_what_no_student_answered_counts_once(self) -> None:
        assert teaching_weight(interaction(), parse_policy({})) == 1.0


def test_a_label_that_the_family_has_no_more_goes_to_the_next_tier() -> None:
    call, policy = Call(model="student", purpose="answer", tier=0), TestTeachingWeight.POLICY
    for label, confidence in (("Music", 0.9), ("biology", None)):
        answer = ModelAnswer(text=label, input_tokens=0, output_tokens=0, cost_usd=0.0, latency_ms=0.0)
        reply = Reply(call=call, answer=answer, sureness=0.9)
        assert [one.confidence for one in assess(policy, Situation(output=LABELS), [reply])] == [confidence]


class TestTeacher:
    @pytest.mark.parametrize(
        ("now", "says"),
        [
            (TEACHER, None),
            (replace(TEACHER, revisions={"small": "r1"}), None),
            (
                replace(TEACHER, revisions={"small": "r1", "large": "r2"}),
                "the model large behind it was r1 and is r2 now",
            ),
            (replace(TEACHER, prompt="p2"), "the prompt of the models behind it is another one"),
        ],
        ids=["same", "one is not known", "model", "prompt"],
    )
    def test_another_model_or_prompt_behind_it_is_said(self, now: Teacher, says: str | None) -> None:
        changed = TEACHER.changed(now)
        assert changed is None if says is None else changed is not None and says in changed


class TestShifts:
    def test_equal_distributions_are_no_shift_and_other_words_are(self) -> None:
        rng = random.Random(2)
        dev = NO_BINS
        for _ in range(300):
            dev = counted(dev, min(1.0, rng.gauss(0.2, 0.1) ** 2))
        watch = new_watch(dev_unknown=dev, dev_confidences=dev)
        same = [audited(1.0, unknown=min(1.0, rng.gauss(0.2, 0.1) ** 2)) for _ in range(500)]
        assert after(watch, [replace(one, confidence=one.unknown) for one in same]).shifts == ()
        other = after(watch, [replace(one, confidence=one.unknown, unknown=0.6) for one in same])
        assert len(other.shifts) == 1
        assert "65% of a request's words are unknown to it on average" in other.shifts[0]

    def test_few_requests_are_no_shift(self) -> None:
        few = counted(counted(NO_BINS, 0.9), 0.95)
        many = (400, *NO_BINS[1:])
        apart = distance(many, few)
        assert apart.distance == 1.0
        assert not apart.is_one
        assert distance(many, NO_BINS) is None

    def test_the_newest_two_weeks_count(self) -> None:
        watch = new_watch(dev_unknown=(500, *NO_BINS[1:]))
        before = [replace(audited(1.0), unknown=0.9) for _ in range(500)]
        later = [
            replace(audited(1.0), unknown=0.0, at=NOW + timedelta(weeks=week)) for week in (1, 2) for _ in range(300)
        ]
        assert after(watch, before).shifts
        assert after(watch, [*before, *later]).shifts == ()
