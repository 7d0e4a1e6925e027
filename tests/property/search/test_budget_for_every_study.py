"""Whatever prices, failures, retries, threads and processes: what a study has spent never passes its cap."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import stamina

from optimizer.adapters.clock import SystemClock
from optimizer.adapters.store import Database
from optimizer.core.base.errors import BudgetExhausted, ModelFailed
from optimizer.core.base.values import Budget
from optimizer.core.models.language import ModelPrice
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from tests.examples import n_examples
from tests.stand_ins.scripted_model import AwaitedModel, ScriptedModel, failed, request
from tests.stores import new_database

N_STUDIES = n_examples(100)
KINDS = [
    ("timeout", None, True),
    ("rate_limit", 429, True),
    ("http", 500, True),
    ("http", 400, True),
    ("unreachable", None, False),
]


def simulate(store: Database, seed: int) -> tuple[Budget, str, ScriptedModel]:
    """One study: two processes' worth of JournaledModel over one store,
    several threads or coroutines each, until the cap stops them.
    """
    rng = random.Random(seed)
    price = ModelPrice(
        input_usd_per_mtok=rng.choice([0.0, 0.15, 3.0]), output_usd_per_mtok=rng.choice([0.0, 0.6, 15.0])
    )
    failure_rate = rng.choice([0.0, 0.3, 0.8])
    dice = random.Random(seed + 1)

    def script(r, n):
        if dice.random() < failure_rate:
            kind, status, sent = dice.choice(KINDS)
            raise failed(kind, status=status, sent=sent)
        return f"answer {n}"

    model = (AwaitedModel if seed % 2 else ScriptedModel)(
        script, price=price, retries=rng.randint(0, 4), concurrency=4, cost_share=rng.random()
    )
    budget = Budget(usd=rng.choice([None, 0.0, rng.uniform(0, 0.003)]), calls=rng.choice([None, rng.randint(0, 8)]))
    study = f"st_{seed}"
    halves = [
        JournaledModel(
            model, Account(study=study, family="f", purpose="search", budget=budget), store=store, clock=SystemClock()
        )
        for _ in range(2)
    ]
    texts = [f"{seed}: {i % 9} " + "x" * rng.randint(0, 200) for i in range(10)]
    temperature = rng.choice([0.0, 0.7])

    requests = [request(text, temperature=temperature, max_tokens=rng.randint(1, 40)) for text in texts]

    async def ask(i: int) -> None:
        with contextlib.suppress(ModelFailed, BudgetExhausted):  # the next call may be cheaper
            await halves[i % 2].complete(requests[i])

    async def all_of_them() -> None:
        await asyncio.gather(*map(ask, range(len(texts))))

    if isinstance(model, AwaitedModel):
        wait_for(all_of_them())
        return budget, study, model
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: wait_for(ask(i)), range(len(texts))))
    return budget, study, model


@pytest.mark.timeout(240)
def test_what_a_study_spends_never_passes_its_cap():
    with tempfile.TemporaryDirectory() as folder, stamina.set_testing(True, attempts=5, cap=True):
        store = new_database(Path(folder))
        n_stopped = n_sent = 0
        for seed in range(N_STUDIES):
            budget, study, model = simulate(store, seed)
            with store.read() as tx:
                spend = store.journal.spend(tx, study)
                calls = store.journal.calls(tx, study)
            assert budget.usd is None or spend.usd <= budget.usd + 1e-12, seed
            assert budget.calls is None or spend.n_calls <= budget.calls, seed
            assert len(calls) == len(model.requests), "one row per attempt on the wire"
            assert all(c.status in ("settled", "failed") for c in calls), seed
            n_stopped += budget.calls is not None and spend.n_calls == budget.calls
            n_sent += len(model.requests)
        store.close()
    assert n_sent > 500
    assert n_stopped > 10, "the caps must have been reached for this to say anything"
