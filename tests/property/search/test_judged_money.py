"""Whatever its cap is, a judged study stays under it, its judge's calls included."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

from hypothesis import given, settings, strategies as st

from optimizer.core.base.errors import BudgetTooSmall
from optimizer.core.base.values import Budget
from optimizer.core.family.settings import JUDGE_METRIC
from tests.examples import n_examples
from tests.unit.judging.test_judged_studies import SMALL, SPACE, create, short_is_good
from tests.worlds.judged_world import JudgedWorld, judge_model, letters_family

MEMBERS = ("judge", "other")


@settings(deadline=None, max_examples=n_examples(4))
@given(
    calls=st.none() | st.integers(10, 150),
    usd=st.none() | st.floats(0.0, 0.2),
    n_judges=st.integers(1, 2),
    cost_share=st.floats(0.1, 1.0),
    unreadable=st.booleans(),
)
def test_a_judged_study_stays_under_its_cap(calls, usd, n_judges, cost_share, unreadable):
    names = MEMBERS[:n_judges]
    judge = {"committee": list(names)} if n_judges > 1 else {"model": names[0]}
    think = (lambda answer: 99.0) if unreadable else short_is_good  # 99 leaves the scale: asked twice, and no score
    models = [judge_model(think, name=name, cost_share=cost_share) for name in names]
    world = JudgedWorld(Path(mkdtemp()), *models, family=letters_family(space=SPACE, judge=judge)).fill_letters()
    assert JUDGE_METRIC in world.family.metrics
    budget = Budget(calls=200 if calls is None and usd is None else calls, usd=usd)
    try:
        study = world.run(create(world, budget=budget, definition={**SMALL, "n_settings": 2}))
    except BudgetTooSmall:
        return
    with world.store.read() as tx:
        spend = world.store.journal.spend(tx, study.id)
    assert spend.n_calls <= (budget.calls or spend.n_calls)
    assert spend.usd <= (spend.usd if usd is None else usd) + 1e-12
