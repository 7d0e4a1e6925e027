"""What a person changes from a terminal: on the store or by the server it says the same,
refuses the same, and leaves the same.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from optimizer.cli.session import Session
from optimizer.core.base.errors import (
    BudgetTooSmall,
    Conflict,
    DatasetTooSmall,
    DetentError,
    GateNotMet,
    InvalidInput,
    NotFound,
    Refused,
)
from optimizer.core.search.study import Trial
from optimizer.jobs.champions.read_history import read_history
from optimizer.jobs.champions.read_stats import StatsRequest, read_stats
from optimizer.jobs.champions.read_variants import (
    DiffRequest,
    ExportRequest,
    NamedVariantRequest,
    VariantByIdRequest,
    VariantsRequest,
    read_diff,
    read_export,
    read_named_variant,
    read_variant,
    read_variants,
)
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.keep_golden import (
    GoldenRemovalRequest,
    GoldenRequest,
    GoldenRowsRequest,
    add_golden,
    read_all_golden,
    read_golden,
    remove_golden,
)
from optimizer.jobs.families.change_playbook import EntryRequest, read_playbook, restore_entry, retire_entry
from optimizer.jobs.families.create_variant import VariantRequest, create_variant
from optimizer.jobs.families.rename_family import RenameRequest, rename_family
from optimizer.jobs.families.retire_family import RestoreRequest, RetireRequest, restore_family, retire_family
from optimizer.jobs.feedback.answer_review import ReviewAnswerRequest, answer_review
from optimizer.jobs.feedback.calibrate_judge import calibrate_judge
from optimizer.jobs.feedback.decide_repair import approve_repair, reject_repair
from optimizer.jobs.feedback.draw_ratings import RatingDrawRequest, draw_ratings
from optimizer.jobs.feedback.propose_repairs import ProposeRequest, propose_repairs
from optimizer.jobs.feedback.read_graphs import GraphsRequest, read_graph, read_graphs
from optimizer.jobs.request import DryRunRequest, FamilyRequest, ItemActRequest, ItemRequest, PageRequest, Request
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze, unfreeze
from optimizer.jobs.rollouts.operate_rollout import ActRequest, approve, hold, promote, resume, rollback
from optimizer.jobs.rollouts.roll_back_champion import ChampionRollbackRequest, roll_back_champion
from optimizer.jobs.rollouts.set_champion import ChampionSetRequest, set_champion
from optimizer.jobs.rollouts.start_rollout import RolloutRequest, start_rollout
from optimizer.jobs.runs.create_judge_run import (
    JudgeCheckRequest,
    JudgeScoreRequest,
    check_biases,
    score_answers,
    stop_judge_run,
)
from optimizer.jobs.runs.queue_run import RunBudgetBody
from optimizer.jobs.scheduling.read_families import read_families, read_family, read_triggers
from optimizer.jobs.scheduling.set_schedule import (
    ScheduleRequest,
    UnsetScheduleRequest,
    delete_schedule,
    put_schedule,
    read_family_schedule,
)
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest
from optimizer.jobs.studies.nominate import NominateRequest
from optimizer.jobs.studies.start_study import cancel_study, nominate_variant, start_study
from optimizer.jobs.upkeep.manage_keys import (
    KeyLimitsBody,
    KeyRequest,
    RevokeRequest,
    RotateRequest,
    create_key,
    read_keys,
    revoke_key,
    rotate_key,
)
from optimizer.jobs.upkeep.prune_records import PruneRequest, prune
from optimizer.jobs.upkeep.reset_clock import ClockResetRequest, reset_clock
from optimizer.runtime import wiring
from optimizer.runtime.api_client import ApiClient
from optimizer.runtime.client import Client, InProcess, OverHttp, Q, R
from optimizer.runtime.use_cases import as_json_of
from tests.api_world import World, make_home, serving
from tests.clock import Clock
from tests.graph_world import F as VERIFIER
from tests.graph_world import add_family, report
from tests.ingestion import NOW
from tests.playbook_model import add_entry
from tests.rated_world import F as JUDGED
from tests.rated_world import add_inputs, add_judged_family, add_unjudged, rate_all

F = "triage"
MADE_UP = re.compile(
    r"\b[a-z]{2}_[0-9a-z]{26}\b|\bdk_[\w-]+|\b[0-9a-f]{32,}\b"
)  # ids, secrets, salts and what is hashed with them
Answer = Mapping[str, Any]
Change = Callable[["Side", World], Answer]


def masked(answer: Answer) -> Any:
    return json.loads(MADE_UP.sub("*", json.dumps(answer)))


@dataclass
class Side:
    """How one home is asked."""

    client: Client

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> Answer:
        """The report as JSON."""
        answer: Answer = as_json_of(function, self.client.ask(function, request))
        return answer


@dataclass
class Both:
    """The same home twice: one changed on its store, one by its server."""

    local: tuple[Side, World]
    remote: tuple[Side, World]

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> Answer:
        """The answer of both to the same request."""
        return self(lambda side, world: side.ask(function, request))

    def set_up(self, prepare: Callable[[World], Any]) -> None:
        for _, world in (self.local, self.remote):
            prepare(world)

    def __call__(self, change: Change) -> Answer:
        """The answer of both, which must be the same but for what is made up; the server's is returned."""
        here, there = change(*self.local), change(*self.remote)
        assert masked(here) == masked(there)
        return there

    def refused(self, kind: type[DetentError], change: Change) -> str:
        """What both say, which must be the same."""
        said = []
        for side in (self.local, self.remote):
            with pytest.raises(kind) as refusal:
                change(*side)
            assert type(refusal.value) is kind
            said.append(MADE_UP.sub("*", refusal.value.detail))
        assert said[0] == said[1]
        return said[0]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    monkeypatch.setattr(wiring, "open_clock", lambda settings: Clock(NOW))
    with ExitStack() as stack:
        worlds = [stack.enter_context(serving(make_home(tmp_path / name))) for name in ("here", "there")]
        here = Session()
        here.__dict__ |= {"settings": worlds[0].settings, "server": None}
        server = ApiClient("http://localhost", http=worlds[1].client)
        yield Both(
            local=(Side(InProcess(lambda: here.context)), worlds[0]),
            remote=(Side(OverHttp(server)), worlds[1]),
        )
        here.store.close()


def start(operations: Side, world: World, variant: str | None = None, **given: Any) -> Answer:
    asked = RolloutRequest(family=F, variant=variant or world.candidate(), **given)
    return operations.ask(start_rollout, asked)


def go_back(family: str = F, **given: Any) -> Change:
    return lambda side, world: side.ask(roll_back_champion, ChampionRollbackRequest(family=family, **given))


def serve_now(reason: str = "outage", confirm: str | None = F) -> Change:
    return lambda side, world: side.ask(
        set_champion, ChampionSetRequest(family=F, variant=world.candidate(), reason=reason, confirm=confirm)
    )


def active(world: World) -> str:
    return str(world.get(f"/v1/families/{F}/rollout").json()["id"])


class TestRollouts:
    def test_a_dry_run_says_what_would_happen_and_makes_nothing(self, both: Both) -> None:
        both.set_up(lambda world: world.report())
        answer = both(
            lambda operations, world: start(operations, world, ladder=[0.2, 0.6], margin=0.1, aim="cost", dry_run=True)
        )
        assert (answer["dry_run"], answer["changed"], answer["ladder"]) == (True, False, [0.2, 0.6])
        assert answer["forecast"]["verdict"]
        both.refused(NotFound, lambda side, world: side.ask(hold, ActRequest(id="ro_none")))

    def test_a_start_past_a_gate_needs_the_familys_name(self, both: Both) -> None:
        both.set_up(lambda world: world.report())
        assert "--confirm triage" in both.refused(GateNotMet, start)
        answer = both(lambda operations, world: start(operations, world, confirm=F, reason="a try"))
        assert (answer["status"], answer["forced"], answer["changed"]) == ("validating", True, True)
        both.refused(Conflict, lambda operations, world: start(operations, world, confirm=F))

    def test_a_study_that_is_named_has_to_be_there(self, both: Both) -> None:
        both.set_up(lambda world: world.report())
        both.refused(NotFound, lambda operations, world: start(operations, world, study="st_none"))

    def test_a_rollout_is_approved_held_resumed_and_rolled_back(self, both: Both) -> None:
        both.set_up(lambda world: world.start(world.candidate()))

        def act(name: Any, **given: Any) -> Change:
            asked = {"reason": "said so", **given}
            return lambda side, world: side.ask(name, ActRequest(id=active(world), **asked))

        assert both(act(approve))["status"] == "approved"
        assert both(act(hold))["held"] is True
        assert both(act(hold))["changed"] is False
        assert both(act(resume, reason=""))["held"] is False
        both.refused(Conflict, act(promote))
        assert both(act(rollback))["outcome"] == "cancelled"

    def test_a_champion_goes_back_only_to_one_before(self, both: Both) -> None:
        assert "no champion before" in both.refused(Conflict, go_back())
        both.refused(NotFound, go_back("nothing"))

    def test_a_variant_is_served_now_and_taken_back_once(self, both: Both) -> None:
        back = go_back(reason="worse")
        assert "--confirm triage" in both.refused(Refused, serve_now(confirm=None))
        assert "without a reason" in both.refused(InvalidInput, serve_now(""))
        first = both.remote[1].champion()
        now = both(serve_now())
        assert (now["changed"], now["forced"], now["instead_of"], now["models"]) == (True, True, first, ["embedded"])
        assert now["champion"]["variant"] == both.remote[1].champion() != first
        foreseen = both(go_back(dry_run=True))
        assert (foreseen["dry_run"], foreseen["changed"]) == (True, False)
        assert [both(back)["changed"], both(back)["changed"]] == [True, False]
        named = both(go_back(to=now["champion"]["variant"]))
        assert (named["changed"], both.remote[1].champion()) == (True, now["champion"]["variant"])

    def test_a_variant_whose_model_is_unknown_is_not_served_now_but_gone_back_to(self, both: Both) -> None:
        def models(text: str) -> Callable[[World], None]:
            def write(world: World) -> None:
                world.settings.models_file.parent.mkdir(exist_ok=True)
                world.settings.models_file.write_text(text)

            return write

        both(serve_now())
        both.set_up(models("large: {litellm: openai/large}"))
        assert "There is no model 'embedded'" in both(go_back())["warning"]
        assert "There is no model 'embedded'" in both.refused(NotFound, serve_now())
        both.set_up(models("large: ["))
        assert both(go_back())["warning"] is not None, "by the last good file"

    def test_a_freeze_is_told_once_and_taken_back(self, both: Both) -> None:
        launch = FreezeRequest(family=F, reason="launch day")
        assert [both.ask(freeze, launch)["changed"], both.ask(freeze, launch)["changed"]] == [True, False]
        assert [one["family"] for one in both.ask(freeze, FreezeRequest())["freezes"]] == [None, F]
        assert both.ask(unfreeze, FreezeRequest(family=F))["changed"] is True
        both.refused(NotFound, lambda side, world: side.ask(freeze, FreezeRequest(family="nothing")))


class TestVariantsAndStudies:
    def test_a_variant_is_made_once(self, both: Both) -> None:
        def make(side: Side, world: World) -> Answer:
            model = {"temperature": 0.5}
            return side.ask(
                create_variant, VariantRequest(family=F, from_=world.champion(), model=model, note="warmer")
            )

        first, again = both(make), both(make)
        assert (first["new"], again["new"], first["variant"]) == (True, False, again["variant"])
        draft = VariantRequest(family=F, from_="v_none")
        both.refused(NotFound, lambda side, world: side.ask(create_variant, draft))
        wrong = VariantRequest(family=F, messages=[{"role": "user", "content": "{{unheard_of}}"}])
        both.refused(InvalidInput, lambda side, world: side.ask(create_variant, wrong))

    def test_variants_are_named_compared_and_exported(self, both: Both) -> None:
        def named(name: str) -> Answer:
            return both.ask(read_named_variant, NamedVariantRequest(family=F, name=name))

        champion, on_file = named("champion"), named("file")
        assert (champion["variant"], on_file["file_version"]) == (on_file["variant"], "1")
        assert (
            named(champion["variant"][:8])
            == champion
            == both.ask(read_variant, VariantByIdRequest(variant=champion["variant"]))
        )
        uses = {one["variant"]: one["use"] for one in both.ask(read_variants, VariantsRequest(family=F))["items"]}
        assert uses[champion["variant"]] == "champion"
        same = both.ask(read_diff, DiffRequest(variant=champion["variant"], family=F))
        assert (same["same"], same["changes"]) == (True, {})
        text = both.ask(read_export, ExportRequest(family=F, name="champion", format="messages"))["text"]
        assert json.loads(text)["messages"][0] == champion["messages"][0]
        for name in ("candidate", "v_none"):
            both.refused(
                NotFound,
                lambda side, world, name=name: side.ask(  # type: ignore[misc]
                    read_named_variant, NamedVariantRequest(family=F, name=name)
                ),
            )
        both.refused(
            InvalidInput,
            lambda side, world: side.ask(read_export, ExportRequest(family=F, name="champion", format="papyrus")),
        )

    def test_a_study_is_queued_and_cancelled(self, both: Both) -> None:
        both.set_up(lambda world: world.add_examples(120))
        sizes = {"n_train": 20, "n_dev": 10, "n_holdout": 10}

        def run(calls: int) -> Change:
            asked = StudyRequest(
                family=F, strategy="bootstrap", budget=BudgetBody(calls=calls), seed=7, definition=sizes
            )
            return lambda side, world: side.ask(start_study, asked)

        both.refused(BudgetTooSmall, run(5))
        queued = both(run(2000))
        assert (queued["status"], queued["seed"], queued["definition"]["n_train"]) == ("queued", 7, 20)
        both.refused(Conflict, run(2000))

        def cancel(operations: Side, world: World) -> Answer:
            (study,) = world.get("/v1/studies").json()["items"]
            return operations.ask(cancel_study, ItemActRequest(id=study["id"]))

        assert [both(cancel)["status"], both(cancel)["status"]] == ["cancelled", "cancelled"]
        both.refused(NotFound, lambda side, world: side.ask(cancel_study, ItemActRequest(id="st_none")))

    def test_a_preset_sets_what_belongs_together_and_a_knob_comes_on_top(self, both: Both) -> None:
        def draft(preset: str, **policy: Any) -> Change:
            return lambda side, world: side.ask(
                create_variant, VariantRequest(family=F, from_=world.champion(), preset=preset, policy=policy)
            )

        made = both(draft("thorough", **{"gate.retries": 4}))
        assert made["policy"] == {"gate.threshold": 0.95, "gate.retries": 4}
        assert "did you mean 'quick'" in both.refused(InvalidInput, draft("quik"))

    def test_a_variant_is_taken_to_the_holdout_once(self, both: Both) -> None:
        both.set_up(lambda world: world.add_examples(800))

        def confirm(side: Side, world: World, variant: str | None = None) -> Answer:
            asked = StudyRequest(family=F, strategy="confirm", variant=variant or world.candidate(), aim="quality")
            return side.ask(start_study, asked)

        first, again = both(confirm), both(confirm)
        assert (first["id"], first["strategy"], first["status"]) == (again["id"], "confirm", "queued")
        both.refused(NotFound, lambda side, world: confirm(side, world, "v_none"))

    def test_another_point_of_a_search_is_nominated(self, both: Both) -> None:
        searched: dict[Path, str] = {}

        def search(world: World) -> None:
            world.add_examples(800)
            body = {
                "strategy": "bootstrap",
                "budget": {"calls": 2000},
                "definition": {"n_train": 20, "n_dev": 10, "n_holdout": 100},
            }
            study = world.post(f"/v1/families/{F}/studies", body).json()["id"]
            world.post(f"/v1/studies/{study}/cancel", {})
            trial = Trial(
                study=study,
                number=1,
                variant=world.candidate(),
                proposer="x",
                params={},
                status="complete",
                n=10,
                score=0.5,
            )
            world.shared.store.write(lambda tx: world.shared.store.studies.put_trial(tx, trial))
            searched[world.settings.home] = study

        both.set_up(search)

        def name(side: Side, world: World, study: str | None = None) -> Answer:
            asked = NominateRequest(id=study or searched[world.settings.home], variant=world.candidate())
            return side.ask(nominate_variant, asked)

        queued = both(name)
        assert (queued["strategy"], queued["status"]) == ("confirm", "queued")
        both.refused(NotFound, lambda side, world: name(side, world, "st_none"))

    def test_a_schedule_is_switched_on_and_off(self, both: Both) -> None:
        def switch(cron: str | None, *, from_file: bool = False, reason: str | None = None) -> Change:
            times = {} if from_file else {"cron": cron}
            asked = ScheduleRequest(
                family=F, on=True, **times, holdout=True, aim="quality", reason=reason or "", if_match="*"
            )
            return lambda side, world: side.ask(put_schedule, asked)

        on = both(switch("0 3 * * *", reason="nightly"))
        assert (on["schedule"]["on"], on["schedule"]["cron"], on["changed"]) == (True, "0 3 * * *", True)
        assert both(switch("0 3 * * *"))["changed"] is False
        assert both(switch(None))["schedule"]["cron"] is None
        assert both(switch(None, from_file=True))["schedule"]["source"] == "file"
        both.refused(InvalidInput, switch("every night"))
        off = UnsetScheduleRequest(family=F)
        assert [both.ask(delete_schedule, off)["changed"] for _ in range(2)] == [True, False]
        assert both.ask(read_family_schedule, FamilyRequest(family=F))["on"] is False

    @pytest.mark.parametrize("margin", [math.nan, math.inf])
    def test_a_number_that_json_does_not_have_is_refused(self, both: Both, margin: float) -> None:
        self.refused_alike(both, lambda operations, world: start(operations, world, margin=margin, dry_run=True))

    def test_a_reason_that_is_no_unicode_is_refused(self, both: Both) -> None:
        self.refused_alike(both, lambda operations, world: start(operations, world, reason="a\udc80"))

    def refused_alike(self, both: Both, change: Change) -> None:
        """The request never reaches the server; of pydantic's words the command line makes an InvalidInput."""
        for side in (both.local, both.remote):
            with pytest.raises((InvalidInput, ValidationError)):
                change(*side)


def graph_id(world: World) -> str:
    (graph,) = world.get("/v1/graphs").json()["items"]
    return str(graph["id"])


class TestGraphs:
    def test_repairs_are_proposed_and_decided(self, both: Both) -> None:
        both.set_up(lambda world: add_family(world.settings.home))
        both.set_up(lambda world: world.shared.serving.refresh())
        asked = ProposeRequest(family=VERIFIER, interaction="in_1")
        both.refused(NotFound, lambda side, world: side.ask(propose_repairs, asked))
        wrong = ProposeRequest(family=F, interaction="in_1")
        both.refused(InvalidInput, lambda side, world: side.ask(propose_repairs, wrong))
        both.set_up(report)
        assert [both.ask(propose_repairs, asked)["new"] for _ in range(2)] == [True, False]
        (listed,) = both.ask(read_graphs, GraphsRequest(pending=True))["items"]
        assert listed["n_pending"] == len(listed["repairs"])

        def decide(number: int, verdict: str, reason: str = "") -> Change:
            def change(side: Side, world: World) -> Answer:
                act = approve_repair if verdict == "approved" else reject_repair
                return side.ask(act, ItemActRequest(id=f"{graph_id(world)}.{number}", reason=reason))

            return change

        done = both(decide(2, "approved", "not in the text"))
        assert (done["changed"], done["why"], len(done["no_longer"])) == (True, "not in the text", 1)
        assert both(decide(2, "approved"))["changed"] is False
        assert "no longer applies" in both.refused(Conflict, decide(3, "approved"))
        assert both(decide(3, "rejected"))["repair"]["status"] == "rejected"
        both.refused(Conflict, decide(3, "approved"))
        both.refused(NotFound, decide(9, "approved"))
        both.refused(NotFound, lambda side, world: side.ask(reject_repair, ItemActRequest(id="x")))
        shown = both(lambda side, world: side.ask(read_graph, ItemRequest(id=graph_id(world))))
        assert shown["given"] != shown["repaired"]
        both.refused(NotFound, lambda side, world: side.ask(read_graph, ItemRequest(id="x")))


class TestGolden:
    def test_a_released_example_becomes_a_golden_scenario_and_is_taken_out_again(self, both: Both) -> None:
        both.set_up(lambda world: world.add_examples(40))

        def example(world: World, split: Any = "train") -> str:
            with world.shared.store.read() as tx:
                return str(min(e.id for e in world.shared.store.examples.of_split(tx, F, split=split)))

        def add(scenario: str, reason: str = "") -> Change:
            def change(side: Side, world: World) -> Answer:
                request = GoldenRequest(family=F, example=example(world), scenario=scenario, reason=reason)
                return side.ask(add_golden, request)

            return change

        def remove(side: Side, world: World) -> Answer:
            return side.ask(remove_golden, GoldenRemovalRequest(family=F, example=example(world)))

        first = both(add("refund", "went wrong in May"))
        assert (first["changed"], first["why"]) == (True, "went wrong in May")
        assert "golden scenario 'refund'; no search learns from it" in first["what"]
        assert both(add("refund"))["changed"] is False
        assert "already. Take it out first" in both.refused(Conflict, add("another"))
        served = both.remote[1]
        (row,) = both.ask(read_golden, GoldenRowsRequest(family=F))["items"]
        assert (row["scenario"], row["example"]) == ("refund", example(served))
        assert both.ask(read_all_golden, PageRequest())["items"] == [{**row, "family": F}]
        unknown = GoldenRequest(family=F, example="ex_none")
        both.refused(NotFound, lambda side, world: side.ask(add_golden, unknown))

        both.set_up(lambda world: world.report())
        assert re.search(
            r"golden: v_\w+ was not evaluated against the family's 1 golden", both.refused(GateNotMet, start)
        )

        removed = both(remove)
        assert removed["undo"].endswith("--scenario refund")
        both.refused(NotFound, remove)
        assert served.get(f"/v1/families/{F}/golden").json()["items"] == []
        audited = [e["action"] for e in served.get("/v1/audit").json()["items"]]
        assert audited.count("add_golden") == audited.count("remove_golden") == 1


class TestFamilies:
    def test_a_family_is_renamed_retired_and_restored(self, both: Both) -> None:
        def asked(act: Callable[[Context, Q], R], request: Q) -> Answer:
            """The answer of both, which differs in nothing but the home."""

            def change(side: Side, world: World) -> Answer:
                answer: Answer = json.loads(json.dumps(side.ask(act, request)).replace(str(world.settings.home), ""))
                return answer

            return both(change)

        both.refused(Refused, lambda side, world: side.ask(retire_family, RetireRequest(family=F)))
        retired = asked(retire_family, RetireRequest(family=F, confirm=F, reason="of no use"))
        assert (retired["changed"], retired["undo"]) == (True, f"detent family restore {F}~1")
        both.refused(NotFound, lambda side, world: side.ask(retire_family, RetireRequest(family=F, confirm=F)))
        restored = asked(restore_family, RestoreRequest(family=F))
        assert restored["champion"]["variant"] in restored["what"]
        renamed = asked(rename_family, RenameRequest(family=F, name="tickets", confirm=F))
        assert renamed["undo"] == f"detent family rename tickets {F} --confirm tickets"

    def test_families_and_their_triggers_are_read(self, both: Both) -> None:
        (one,) = both.ask(read_families, Request())["items"]
        whole = both.ask(read_family, FamilyRequest(family=F))
        assert whole | one == whole
        assert (whole["definition"]["name"], whole["schedule"]["on"], whole["former_names"]) == (F, False, [])
        assert {look["state"] for look in both.ask(read_triggers, FamilyRequest(family=F))["looks"]} == {"off"}
        for side in (both.local, both.remote):
            with pytest.raises(NotFound, match="There is no family 'none'"):
                side[0].ask(read_family, FamilyRequest(family="none"))

    def test_champions_and_figures_are_read(self, both: Both) -> None:
        (tenure,) = both.ask(read_history, FamilyRequest(family=F))["items"]
        assert (tenure["family"], tenure["until"]) == (F, None)
        assert both.ask(read_stats, StatsRequest(family=F, by="hour"))["items"] == []
        for side in (both.local, both.remote):  # each says where it looked
            with pytest.raises(NotFound, match="There is no family 'none'"):
                side[0].ask(read_stats, StatsRequest(family="none"))


class TestPlaybooks:
    def test_an_entry_is_retired_and_restored(self, both: Both) -> None:
        entries: list[str] = []
        both.set_up(lambda world: entries.append(add_entry(world.shared.store, F)))
        of_entry = EntryRequest(family=F, entry=entries[0], reason="no")
        done = both.ask(retire_entry, of_entry)
        assert (done["changed"], done["why"], done["entry"]["state"]) == (True, "no", "retired")
        assert both.ask(retire_entry, of_entry)["changed"] is False
        assert both.ask(read_playbook, FamilyRequest(family=F))["entries"] == [done["entry"]]
        assert both.ask(restore_entry, of_entry)["entry"]["state"] == "active"
        assert both.ask(restore_entry, of_entry)["changed"] is False
        unknown = EntryRequest(family=F, entry="pb_none")
        for act in (retire_entry, restore_entry):
            both.refused(NotFound, lambda side, world, act=act: side.ask(act, unknown))  # type: ignore[misc]


class TestJudges:
    def test_answers_are_drawn_and_the_judge_is_calibrated(self, both: Both) -> None:
        def draw(n: int = 30, days: float = 30.0, dry_run: bool = False) -> Change:
            return lambda side, world: side.ask(
                draw_ratings, RatingDrawRequest(family=JUDGED, n=n, days=days, dry_run=dry_run)
            )

        def calibrate(dry_run: bool = False) -> Change:
            return lambda side, world: side.ask(calibrate_judge, DryRunRequest(family=JUDGED, dry_run=dry_run))

        both.set_up(add_judged_family)
        both.refused(InvalidInput, lambda side, world: side.ask(calibrate_judge, DryRunRequest(family=F)))
        would = both(draw(dry_run=True))
        assert (would["dry_run"], would["n"], would["frame"], would["reviews"]) == (True, 30, 200, [])
        made = both(draw())
        assert (made["dry_run"], made["inclusion"], len(made["reviews"])) == (False, 0.15, 30)
        assert "0 answers drawn at random are rated" in both(draw(n=1, dry_run=True))["figure"]["why_not"]
        assert "20 are needed" in both.refused(DatasetTooSmall, calibrate())
        for _, world in (both.local, both.remote):
            rate_all(world)
        done = [calibrate(dry_run=True)(*side) for side in (both.local, both.remote)]
        assert [(one["dry_run"], one["id"], one["n"], one["method"]) for one in done] == [(True, None, 30, "platt")] * 2
        kept = [calibrate()(*side) for side in (both.local, both.remote)]
        assert [one["dry_run"] for one in kept] == [False, False]
        standing = both.remote[1].get(f"/v1/families/{JUDGED}/judge").json()
        assert (standing["calibration"]["id"], standing["uncalibrated"]) == (kept[1]["id"], None)
        figure = standing["figure"]
        assert figure["low"] < figure["mean"] < figure["high"] < figure["judge_mean"]
        both.refused(DatasetTooSmall, draw(days=1e-9))

    def test_a_drawn_answer_is_rated_and_stays_rated(self, both: Both) -> None:
        both.set_up(add_judged_family)
        both.ask(draw_ratings, RatingDrawRequest(family=JUDGED, n=3))

        def rate(answer: str, expected: Any = None, place: int = 0) -> Change:
            def change(side: Side, world: World) -> Answer:
                rows = world.shared.read(lambda tx: world.shared.store.reviews.page(tx, JUDGED, None))
                review = next(row.id for row in rows if row.payload["place"] == place)
                return side.ask(answer_review, ReviewAnswerRequest(id=review, answer=answer, expected=expected))

            return change

        one = [change(*side) for side in (both.local, both.remote) for change in (rate("0.75"),)]
        assert [(row["status"], row["answer"]) for row in one] == [("answered", "0.75")] * 2
        for refused, kind in (
            (rate("2"), InvalidInput),
            (rate("0.25"), Conflict),
            (rate("1", expected="x"), InvalidInput),
        ):
            for side in (both.local, both.remote):
                with pytest.raises(kind):
                    refused(*side)
        assert rate("unrated", place=1)(*both.remote)["answer"] == "unrated"
        both.refused(
            NotFound,
            lambda side, world: side.ask(answer_review, ReviewAnswerRequest(id="rv_none", answer="1")),
        )

    def test_answers_are_queued_for_scoring_and_a_queued_run_is_stopped(self, both: Both) -> None:
        def score(n: int = 3, days: float = 30.0, dry_run: bool = False, **caps: Any) -> Change:
            asked = JudgeScoreRequest(family=JUDGED, n=n, days=days, budget=RunBudgetBody(**caps), dry_run=dry_run)
            return lambda side, world: side.ask(score_answers, asked)

        both.set_up(add_judged_family)
        both.set_up(lambda world: add_unjudged(world, 4))
        would = both(score(dry_run=True))
        assert (would["dry_run"], would["kind"], would["n"], would["calls"]["high"]) == (True, "score", 3, 6)
        assert would["calls_at_most"] == 9
        queued = both(score())
        assert (queued["status"], queued["n"], queued["budget"]["calls"]) == ("queued", 3, 9)
        assert both(score(n=9, usd=1.0, calls=5))["budget"] == {"usd": 1.0, "calls": 5, "minutes": None}
        there = both.remote[1]
        shown = there.get(f"/v1/judge-runs/{queued['id']}").json()
        assert (shown["status"], "interactions" in shown["request"]) == ("queued", False)
        assert [job["kind"] for job in there.get("/v1/jobs").json()["items"]] == ["judge_score", "judge_score"]
        listed = there.get(f"/v1/families/{JUDGED}/judge/runs").json()["items"]
        assert listed[-1] == shown
        ids = {
            one: world.shared.read(world.shared.store.runs.unfinished)[0].id
            for one, world in (("here", both.local[1]), ("there", there))
        }

        def stop(side: Side, world: World, run: str | None = None) -> Answer:
            return side.ask(stop_judge_run, ItemActRequest(id=run or ids[world.settings.home.name]))

        assert [both(stop)["status"], both(stop)["status"]] == ["cancelled", "cancelled"]
        both.refused(NotFound, lambda side, world: stop(side, world, "jr_none"))
        both.refused(
            InvalidInput,
            lambda side, world: side.ask(score_answers, JudgeScoreRequest(family=F, dry_run=True)),
        )

    def test_a_check_is_queued_with_its_price_said_before(self, both: Both) -> None:
        def check(beside: str | None = None, dry_run: bool = False) -> Change:
            asked = JudgeCheckRequest(family=JUDGED, n=5, beside=beside, dry_run=dry_run)
            return lambda side, world: side.ask(check_biases, asked)

        both.set_up(add_judged_family)
        both.refused(DatasetTooSmall, check())
        both.set_up(lambda world: add_inputs(world, 40))
        would = both(check(dry_run=True))
        assert (would["n"], would["members"], would["kind"]) == (5, ["embedded"], "check")
        queued = both(check())
        assert (queued["status"], queued["n"], queued["request"]["n"]) == ("queued", 20, 5)
        both.refused(NotFound, check(beside="no-such-model"))


class TestInstallation:
    def test_what_is_over_its_retention_goes_and_is_counted(self, both: Both) -> None:
        answers = [both.ask(prune, PruneRequest(dry_run=dry)) for dry in (True, False)]
        assert [(answer["dry_run"], answer["more"]) for answer in answers] == [(True, False), (False, False)]

    def test_a_clock_that_did_not_run_ahead_is_left_alone(self, both: Both) -> None:
        assert both.ask(reset_clock, ClockResetRequest(reason="to be sure"))["held"] == []

    def test_a_key_is_made_given_a_new_secret_and_ended(self, both: Both) -> None:
        web = KeyRequest(
            name="web",
            roles=["read", "feedback"],
            families=[F],
            limits=KeyLimitsBody(calls_per_day=9),
            expires_at=NOW + timedelta(days=2),
        )
        both.refused(NotFound, lambda side, world: side.ask(revoke_key, RevokeRequest(name="nobody's")))
        both.set_up(lambda world: world.add_key("admin", "admin", secret="s"))
        both.set_up(lambda world: world.client.headers.update({"Authorization": "Bearer s"}))
        made = both.ask(create_key, web)
        assert (made["secret"][:3], made["key"]["roles"], made["key"]["limits"]) == (
            "dk_",
            ["feedback", "read"],
            {"calls_per_day": 9},
        )
        both.refused(Conflict, lambda side, world: side.ask(create_key, web))
        assert both.ask(rotate_key, RotateRequest(name="web", grace_s=1800.0))["changed"] is True
        assert both.ask(rotate_key, RotateRequest(name="web", undo=True))["changed"] is True
        ended = [both.ask(revoke_key, RevokeRequest(name="web"))["changed"] for _ in range(2)]
        assert ended == [True, False]
        assert [key["name"] for key in both.ask(read_keys, Request())["items"]] == ["admin", "web"]
