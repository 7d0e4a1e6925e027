"""``rollout verify`` against somebody who can write the database: whatever was changed there is found, and named."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories import rollouts as rollouts_on_database
from optimizer.core.rollout.blocks import FIRST_PREVIOUS_HASH, chain_blocks
from optimizer.core.rollout.decision_log import RecordProblem
from optimizer.core.rollout.evidence_state import after, as_text, begin, from_text
from optimizer.core.rollout.next_action import NextAction, next_action
from optimizer.core.rollout.verification import BlockChain, ReplayedDecisions, fold
from optimizer.core.views.forgetting import ForgetQuery
from optimizer.jobs.rollouts.verify_rollout import VerifyReport, verify_rollout
from optimizer.jobs.upkeep.forget_person import ForgettingHome, carry_out_forgetting, queue_forgetting
from tests.clock import Clock
from tests.stores import new_database
from tests.worlds.rollout_world import Behaviour, World

BLOCKS, DECISIONS = "cohort_blocks", "decisions"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A rollout that climbed one stage, lapsed, was held and was rolled back by its quality:
    every kind of block and many decisions.
    """
    database = new_database(tmp_path_factory.mktemp("verified"))
    world = World(store=database, clock=Clock(scale=60.0), rollout_settings={"ladder": [0.25, 0.5]})
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.95)
    world.start()
    while world.rollout.stage == 0:
        world.labels(120)
    world.clock.pass_seconds(90)
    world.operate("hold")
    world.behaviours[world.candidate] = Behaviour(success=0.2)
    world.climb(20)
    assert world.rollout.outcome == "worse"
    assert world.verified().problems == ()
    yield world
    database.close()


def beside(world: World) -> closing[sqlite3.Connection]:
    """The world's database, open beside the product."""
    return closing(sqlite3.connect(world.store.url.removeprefix("sqlite:///"), isolation_level=None))


@pytest.fixture
def tamper(ended: World) -> Iterator[Callable[..., None]]:
    """Runs SQL beside the product, and puts everything back afterwards."""
    tables = (BLOCKS, DECISIONS, "rollouts", "rollout_watches", "rollout_units", "champions", "audit", "outbox")
    with beside(ended) as db:
        kept = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}

        def run(sql: str, *values: Any) -> None:
            assert db.execute(sql, values).rowcount > 0, "and something is changed by it"

        yield run
        for table, rows in kept.items():
            db.execute(f"DELETE FROM {table}")
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    assert ended.verified().problems == ()


def problems(world: World) -> list[str]:
    return [problem.detail for problem in world.verified().problems]


def spread(text: str, n: int) -> list[int]:
    """``n`` places of the text, the first among them, as far apart as one is from the next."""
    return [len(text) * i // n for i in range(n)]


def n_blocks(world: World) -> int:
    return sum(1 for kind in ("baseline", "quality", "late", "guardrails") for _ in world.blocks(kind))


def first(world: World, kind: str) -> int:
    return world.blocks(kind)[0].seq


@pytest.mark.parametrize("kind", ["baseline", "quality", "late", "guardrails"])
def test_one_changed_byte_of_a_block_is_found_wherever_it_is_and_the_block_is_named(
    ended: World, tamper: Callable[..., None], kind: str
) -> None:
    block = ended.blocks(kind)[-1]
    with beside(ended) as db:
        (text,) = db.execute(f"SELECT content FROM {BLOCKS} WHERE seq = ?", (block.seq,)).fetchone()
    for place in spread(text, 14):
        changed = text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :]
        tamper(f"UPDATE {BLOCKS} SET content = ? WHERE seq = ?", changed, block.seq)
        assert any(f"block {block.seq} ({kind}) was changed" in p for p in problems(ended)), (
            f"byte {place}: {text[place]!r}"
        )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", "baselines"),
        ("previous_hash", "0" * 63 + "1"),
        ("hash", "f" * 64),
        ("closed_at", "2026-11-20 09:00:00.000001"),
        ("closed_at", "no time"),
        ("seq", 1000),
        ("rollout", "ro_other"),
    ],
)
def test_any_other_column_of_a_block_is_watched_as_well(
    ended: World, tamper: Callable[..., None], column: str, value: Any
) -> None:
    seq = first(ended, "quality")
    tamper(f"UPDATE {BLOCKS} SET {column} = ? WHERE seq = ?", value, seq)
    if value == "no time":
        assert "a block cannot be read" in problems(ended)[0]
    else:
        assert f"block {seq}" in problems(ended)[0]


@pytest.mark.parametrize("which", ["first", "in the middle", "last", "all"])
def test_a_block_that_was_deleted_is_missed(ended: World, tamper: Callable[..., None], which: str) -> None:
    n = n_blocks(ended)
    seq = {"first": 1, "in the middle": n // 2, "last": n, "all": 1}[which]
    tamper(f"DELETE FROM {BLOCKS} WHERE seq >= ?" if which == "all" else f"DELETE FROM {BLOCKS} WHERE seq = ?", seq)
    found = problems(ended)
    assert any(f"block {seq} is missing" in p or f"and only {seq - 1} are stored" in p for p in found)


def test_two_blocks_that_changed_places_are_both_named(ended: World, tamper: Callable[..., None]) -> None:
    one, other = first(ended, "quality"), first(ended, "quality") + 1
    for new, old in ((9999, one), (one, other), (other, 9999)):
        tamper(f"UPDATE {BLOCKS} SET seq = ? WHERE seq = ?", new, old)
    found = problems(ended)
    for seq in (one, other):
        assert any(f"block {seq} " in p for p in found)


def test_a_block_put_in_between_is_found(ended: World, tamper: Callable[..., None]) -> None:
    n = n_blocks(ended)
    columns = "kind, content, previous_hash, hash, closed_at"
    tamper(
        f"INSERT INTO {BLOCKS} (rollout, seq, {columns}) SELECT rollout, {n + 1}, {columns} FROM {BLOCKS} WHERE seq"
        f" = {n}"
    )
    assert any(f"block {n + 1} " in p for p in problems(ended))


def test_one_changed_byte_of_a_decision_is_found_wherever_it_is_and_the_decision_is_named(
    ended: World, tamper: Callable[..., None]
) -> None:
    with beside(ended) as db:
        texts = dict(db.execute(f"SELECT seq, content FROM {DECISIONS}").fetchall())
    for seq in (1, 5, len(texts)):
        for place in spread(texts[seq], 12):
            changed = texts[seq][:place] + ("1" if texts[seq][place] != "1" else "2") + texts[seq][place + 1 :]
            tamper(f"UPDATE {DECISIONS} SET content = ? WHERE seq = ?", changed, seq)
            assert any(f"decision {seq} " in p for p in problems(ended)), f"byte {place} of decision {seq}"
        tamper(f"UPDATE {DECISIONS} SET content = ? WHERE seq = ?", texts[seq], seq)


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        (DECISIONS, "actor = 'system:auto' WHERE kind = 'hold'", "(hold) was changed"),
        (DECISIONS, "forced = NOT forced WHERE kind = 'advance'", "(advance)"),
        (DECISIONS, "reason = 'because of something' WHERE kind = 'advance'", "(advance) was changed"),
        (DECISIONS, "at = 'no time' WHERE kind = 'advance'", "a decision cannot be read"),
        ("rollouts", "salt = 'another'", "salt is not what its decisions lead to"),
        ("rollouts", "stage = 0", "stage is not what its decisions lead to"),
        ("rollouts", "outcome = 'promoted'", "outcome is not what its decisions lead to"),
        ("rollout_watches", "state = replace(state, '\"peak\":', '\"peak\":1')", "what the tick knew"),
        ("rollout_watches", "state = 'nothing'", "what the tick knew of the rollout cannot be read"),
        ("champions", "rollout = (SELECT id FROM rollouts)", "was not promoted, but a champion names it"),
    ],
)
def test_decisions_and_what_follows_from_them_are_compared(
    ended: World, tamper: Callable[..., None], table: str, change: str, says: str
) -> None:
    tamper(f"UPDATE {table} SET {change}")
    assert any(says in p for p in problems(ended)), problems(ended)


@pytest.mark.parametrize(
    ("kind", "says"), [("lapse", "is missing"), ("rollback", "version is not what its decisions lead to")]
)
def test_a_decision_that_was_deleted_is_missed(ended: World, tamper: Callable[..., None], kind: str, says: str) -> None:
    tamper(f"DELETE FROM {DECISIONS} WHERE kind = ?", kind)
    assert any(says in p for p in problems(ended))


def cut_off_the_last_decision(ended: World, tamper: Callable[..., None]) -> int:
    """Deletes it, and sets the rollout back to what the one before it led to; returns its number."""
    *_, before, last = ended.decisions
    state = dict(before.content["after"])
    times = {name: state.pop(name) for name in ("stage_entered_at", "started_at", "ended_at")}
    values = {
        **{name: json.dumps(value) if name == "stage_history" else value for name, value in state.items()},
        **{
            name: None if at is None else datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M:%S.%f")
            for name, at in times.items()
        },
    }
    tamper(f"DELETE FROM {DECISIONS} WHERE seq = ?", last.seq)
    tamper(f"UPDATE rollouts SET {', '.join(f'{name} = ?' for name in values)}", *values.values())
    return last.seq


def test_a_last_decision_that_was_cut_off_is_missed_although_the_rollout_was_set_back_with_it(
    ended: World, tamper: Callable[..., None]
) -> None:
    seq = cut_off_the_last_decision(ended, tamper)
    found = problems(ended)
    assert any(f"decision {seq} is missing: the audit knows rollout.rollback by system:tick" in p for p in found), found


def test_a_last_decision_that_was_cut_off_in_the_audit_as_well_is_missed_by_what_mlflow_had_to_hear(
    ended: World, tamper: Callable[..., None]
) -> None:
    seq = cut_off_the_last_decision(ended, tamper)
    tamper("DELETE FROM audit WHERE action = 'rollout.rollback'")
    assert any(f"the last one kept for MLflow is decision {seq}" in p for p in problems(ended))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE audit SET actor = 'eve' WHERE action = 'rollout.hold'", "(hold) is not the one that the audit knows"),
        (
            "UPDATE audit SET detail = '{}' WHERE action = 'rollout.advance'",
            "(advance) is not the one that the audit knows",
        ),
        ("DELETE FROM audit WHERE action = 'rollout.rollback'", "(rollback) is not in the audit"),
        ("UPDATE outbox SET payload = '{}' WHERE topic = 'rollout'", "the last decision stored is"),
    ],
)
def test_audit_and_outbox_know_every_decision(
    ended: World, tamper: Callable[..., None], change: str, says: str
) -> None:
    tamper(change)
    assert any(says in p for p in problems(ended)), problems(ended)


def test_a_person_who_was_forgotten_leaves_a_record_that_still_fits(ended: World, tmp_path: Path) -> None:
    copy = tmp_path / "detent.db"
    with beside(ended) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    clock, rollout = ended.clock, ended.rollout.id
    with closing(Database(f"sqlite:///{copy}")) as store:
        with store.read() as tx:
            before = store.unit_counts.sums(tx, rollout)
            counts = json.loads(
                tx.exec_driver_sql("SELECT counts FROM rollout_units ORDER BY n_blocks LIMIT 1").scalar_one()
            )
        query = ForgetQuery(unit=next(iter(counts["0"])), own_words=False, dry_run=False)
        queued = store.write(lambda tx: queue_forgetting(tx, store, query, actor="ann", at=clock.now()))  # type: ignore[arg-type]
        home = ForgettingHome(store=store, clock=clock, places=(), own_texts=tuple, notes=tmp_path)  # type: ignore[arg-type]
        run = carry_out_forgetting(queued.id, home)
        assert run.status == "finished", run.error
    with closing(Database(f"sqlite:///{copy}")) as another, another.read() as tx:  # a process that starts now
        kept = another.unit_counts.sums(tx, rollout)
        report = verify_rollout(rollout, another)  # type: ignore[arg-type]
    assert (kept[0], kept[1] < before[1]) == (before[0] - 1, True)
    assert report.problems == ()
    assert query["unit"].encode() not in copy.read_bytes()


def test_a_block_hashed_anew_around_what_no_tick_closes_is_named(ended: World) -> None:
    with ended.store.read() as tx:
        first = next(ended.store.blocks.each(tx, ended.rollout.id))
    (forged,) = chain_blocks(
        first.rollout, [("quality", {"stage": "none"})], n_before=0, head=FIRST_PREVIOUS_HASH, closed_at=first.closed_at
    )
    chain = BlockChain()
    assert list(fold(ended.rollout, [forged], chain)) == []
    assert "block 1 (quality) holds what no tick closes" in chain.problems[0].detail


def test_blocks_are_handed_on_one_at_a_time_in_order_and_no_more_are_read_than_asked_for(
    ended: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts_on_database, "_NEXT_BLOCKS", rollouts_on_database._NEXT_BLOCKS.limit(7))
    made: list[int] = []
    read = rollouts_on_database._block
    monkeypatch.setattr(rollouts_on_database, "_block", lambda row: made.append(row[1]) or read(row))
    with ended.store.read() as tx:
        each = ended.store.blocks.each(tx, ended.rollout.id)
        next(each)
        assert made == [1]
        rest = list(each)
        assert [b.seq for b in rest] == list(range(2, n_blocks(ended) + 1))
        assert rest == ended.store.blocks.of_rollout(tx, ended.rollout.id)[1:]


def test_verify_tells_how_far_it_is_and_reads_every_block_once(ended: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    made: list[int] = []
    read = rollouts_on_database._block
    monkeypatch.setattr(rollouts_on_database, "_block", lambda row: made.append(row[1]) or read(row))
    monkeypatch.setattr("optimizer.jobs.rollouts.verify_rollout.TELL_EVERY", 10)
    report = verify_rollout(ended.rollout.id, ended.store, progress=lambda n, of: told.append((n, of)))
    assert report.n_decisions == len(ended.decisions)
    assert f"Head: {ended.decisions[-1].hash}" in report.text
    assert made == list(range(1, report.n_blocks + 1))
    assert told == [(n, report.n_blocks) for n in range(0, report.n_blocks, 10)]


def test_a_chain_made_anew_around_other_outcomes_is_found_by_the_evidence_in_the_decisions(ended: World) -> None:
    """Whoever also recomputes every hash of the blocks still contradicts what the decisions recorded."""
    with ended.store.read() as tx:
        blocks = ended.store.blocks.of_rollout(tx, ended.rollout.id)
    better = [
        (
            {**b.content, "outcomes": {**b.content["outcomes"], "candidate": [[1.0, 20]]}}
            if b.kind == "quality"
            else b.content
        )
        for b in blocks
    ]
    forged, head = [], FIRST_PREVIOUS_HASH
    for n, (block, content) in enumerate(zip(blocks, better, strict=True)):
        (link,) = chain_blocks(block.rollout, [(block.kind, content)], n_before=n, head=head, closed_at=block.closed_at)
        forged.append(link)
        head = link.hash
    chain, replayed = BlockChain(), ReplayedDecisions(ended.rollout, ended.decisions)
    for folded in fold(ended.rollout, forged, chain):
        replayed.look(folded.after)
    assert chain.problems == []
    assert any("recorded other evidence" in p.detail for p in replayed.end(chain.n))


def test_a_block_of_another_chain_is_named_though_its_own_hash_fits(ended: World) -> None:
    first, second = ended.blocks("guardrails")[:2]
    (foreign,) = chain_blocks(
        first.rollout, [("guardrails", second.content)], n_before=1, head="f" * 64, closed_at=second.closed_at
    )
    (begun,) = chain_blocks(
        first.rollout, [("guardrails", first.content)], n_before=0, head=FIRST_PREVIOUS_HASH, closed_at=first.closed_at
    )
    chain = BlockChain()
    assert list(chain.read([begun, foreign])) == [begun]
    said = "block 2 (guardrails) does not follow the one before it: its previous hash is another"
    assert [problem.detail for problem in chain.problems] == [said]


def test_a_step_of_the_tick_that_its_blocks_did_not_ask_for_is_named(ended: World) -> None:
    with ended.store.read() as tx:
        blocks = ended.store.blocks.of_rollout(tx, ended.rollout.id)
    made = ended.decisions
    chosen = next(d for d in made if d.kind == "advance" and d.actor == "system:tick")
    decisions = [replace(d, kind="promote") if d is chosen else d for d in made]
    replayed = ReplayedDecisions(ended.rollout, decisions)
    for folded in fold(ended.rollout, blocks, BlockChain()):
        replayed.look(folded.after)
    said = f"decision {chosen.seq} (promote) does not follow: its blocks say advance"
    assert [problem.detail for problem in replayed.end(len(blocks))] == [said]


def test_a_replay_of_the_blocks_gives_exactly_what_the_tick_knew(ended: World) -> None:
    rollout = ended.rollout
    with ended.store.read() as tx:
        blocks, stored = ended.store.blocks.of_rollout(tx, rollout.id), ended.store.blocks.state(tx, rollout.id)
    assert stored is not None
    known = from_text(stored.state)
    replayed = begin(rollout.settings)
    for block in blocks:
        replayed = after(replayed, block, rollout.settings, rollout.ladder)
    assert as_text(replace(known, state=replayed)) == stored.state
    assert (replayed.n_blocks, replayed.head) == (len(blocks), blocks[-1].hash)


def test_a_record_stays_whole_when_a_later_version_puts_its_sentences_better(
    ended: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = next_action

    def reworded(*args: Any, **kwargs: Any) -> NextAction:
        made = found(*args, **kwargs)
        return replace(made, reason="put better", evidence={**made.evidence, "reason": "put better"})

    monkeypatch.setattr("optimizer.core.rollout.verification.next_action", reworded)
    assert ended.verified().problems == ()


def test_to_a_key_that_reads_no_texts_a_problem_is_counted_and_hidden() -> None:
    hidden: Any = {"seq": 1, "detail": None}
    report = VerifyReport(rollout="ro_1", n_decisions=1, n_blocks=0, head=None, problems=(RecordProblem(**hidden),))
    assert report.text == "ro_1: 1 problem\n  not shown to this key"
