"""The end of the demo: what came out as announced, what to open, what to try next, what the search costs on a model
with a price, and the closing page in HTML, which loads nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from optimizer.adapters.models.model_settings import known_price
from optimizer.adapters.reports import rollout_plots
from optimizer.adapters.reports.page import page
from optimizer.cli.study.run import read_definition
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelPrice
from optimizer.core.models.settings import ModelSettings
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import Study
from optimizer.core.views.variant import variant_text
from optimizer.demo.place import Place, Servers
from optimizer.demo.plain import in_words
from optimizer.demo.rollouts import DemoRollouts
from optimizer.demo.screen import Screen
from optimizer.demo.stories import Story
from optimizer.host.config import Settings
from optimizer.jobs.context import Context
from optimizer.jobs.outbox.mirror_outbox import TOPICS
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.ports import Clock, Store
from optimizer.runtime import wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoModels:
    """``is_embedded``: only the embedded model answers, which takes no key, no network and no money.

    ``words`` go on after "with".
    """

    is_embedded: bool
    words: str


def read_answering(settings: Settings, families: Iterable[Family]) -> DemoModels:
    """Reads config/models.yaml and starts no model. Raises NotFound for a model that the file does not name."""
    models = wiring.open_models(settings)
    try:
        names = dict.fromkeys(name for family in families for name in (family.model.default, *family.model.tiers))
        others = {name: model for name in names if not ((model := models.describe(name)).embedded or model.student)}
    finally:
        models.close()
    if not others:
        return DemoModels(is_embedded=True, words="a real and very small language model on this machine")
    listed = ", ".join(
        f"{name} ({model.litellm or model.model or 'no embedded model'})" for name, model in others.items()
    )
    return DemoModels(is_embedded=False, words=f"models of config/models.yaml: {listed}")


MIRRORED_WITHIN_S = 60.0


def say_what_happened(screen: Screen, store: Store, stories: Sequence[Story], rollouts: DemoRollouts) -> None:
    """Waits first until MLflow has everything."""
    deadline = time.monotonic() + MIRRORED_WITHIN_S
    while True:
        with store.read() as tx:
            backlog = store.outbox.backlog(tx, topics=TOPICS)
        if backlog == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    screen.step("What happened")
    for number, story in enumerate(stories, start=1):
        screen.say(f"  {number}. {story.title}: {'as announced' if story.as_announced else 'NOT as announced'}")
        screen.say(f"     {story.happened}")
    screen.say(
        f"  Traffic of the rollouts: {rollouts.n_visits} requests, with {rollouts.n_answered} answers of the model"
    )
    behind = f", {backlog} items not yet in MLflow (they are sent when it answers)" if backlog else ""
    times = ", ".join(f"step {n} {seconds:.0f} s" for n, seconds in enumerate(screen.seconds.values(), start=1))
    screen.say(f"  Time: {screen.elapsed()} ({times}){behind}")


def say_what_comes_next(
    screen: Screen, place: Place, stories: Sequence[Story], study: Study, answering: DemoModels
) -> None:
    """The commands, and the page that shows the stories."""
    home = f"DETENT_HOME={place.settings.home} " if place.why else ""
    # as the reader has to type it here: the environment that make builds is not on the path
    detent = "detent" if shutil.which("detent") else os.path.relpath(Path(sys.executable).with_name("detent"))
    # (command, what it is for). `here` is `detent` in the demo's home, `anywhere` in the reader's own.
    here = home + detent
    nexts = [
        (
            f"{here} serve --profile demo",
            "the same servers again, with everything that was kept: API, gateway and MLflow",
        ),
        (f"DETENT_PROFILE=demo {here} study report {study.id} --open", "the whole search, and how sure the gain is"),
        (
            f"{detent} family create mine --from prompt.txt --examples sheet.csv --model gpt-4o-mini",
            "your own prompt and sheet, on a model named in config/models.yaml",
        ),
    ]
    file = place.settings.var() / "reports" / "demo.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(demo_page(stories, nexts, took=screen.elapsed(), model=answering.words), encoding="utf-8")
    screen.say("The same as a page, with pictures:", "bold")
    screen.say(f"  {file}")
    screen.say("Next:", "bold")
    for command, why in nexts:
        screen.say(f"  {command}")
        screen.say(f"      {why}")


def say_addresses(screen: Screen, place: Place, servers: Servers, store: Store, study: Study) -> None:
    screen.say(
        "Open while the servers run (they stop with the demo, unless it was started with --keep; the first command"
        " above starts them again):",
        "bold",
    )
    screen.say(f"  API documentation  {servers.url('api')}/docs")
    with store.read() as tx:
        mirrored = store.studies.get(tx, study.id) or study  # its run in MLflow was made since
    link = wiring.mlflow_link(place.settings, mirrored)
    screen.say(f"  MLflow, {study.family}: {link or 'the server was not ready yet; see `detent status`'}")
    screen.say(
        "  Alerts on the pages are of these stories: a rollout that was taken back, and a small model, which is wrong"
        " more often than config/alert_rules.yaml allows."
    )
    screen.say(f"  The pages to look and act  {servers.url('api')}/dashboard")


def say_price(screen: Screen, place: Place, family: Family, store: Store, clock: Clock) -> None:
    estimated = dry_run(
        wiring.open_context(place.settings, actor="demo", store=store, clock=clock),
        family,
        read_definition(place.definition),
    )
    if estimated is None or (usd := estimated[0].usd) is None:
        return
    estimate, price = estimated
    screen.say(
        f"  This demo's search on {EXAMPLE_MODEL} (${price.input_usd_per_mtok:g} and ${price.output_usd_per_mtok:g} per"
        f" million tokens in and out) would cost ${usd.expected:.3f}, ${usd.low:.3f} to ${usd.high:.3f}, for"
        f" {estimate.calls.expected:.0f} calls."
    )


Marked = list[tuple[str, str]]  # (CSS class, line)


def demo_page(stories: Sequence[Story], nexts: Sequence[tuple[str, str]], *, took: str, model: str) -> str:
    """The whole page.

    Args:
        nexts: (command, what it is for).
        took: minutes and seconds, such as ``8:31``.
        model: what answered, in words that go on after "with".
    """
    return page(
        "demo.html",
        plots=rollout_plots,
        stories=stories,
        n_as_announced=sum(story.as_announced for story in stories),
        nexts=nexts,
        took=took,
        model=model,
        in_words=in_words,
        side_by_side=side_by_side,
    )


def side_by_side(before: Variant, after: Variant) -> tuple[Marked, Marked]:
    """Both as readable lines, each marked ``same``, or ``gone`` before and ``added`` after."""
    old, new = (variant_text(variant).splitlines() for variant in (before, after))
    blocks = SequenceMatcher(a=old, b=new, autojunk=False).get_matching_blocks()
    same_lines = {n for block in blocks for n in range(block.a, block.a + block.size)}
    taken_over = {n for block in blocks for n in range(block.b, block.b + block.size)}
    return (
        [("same" if n in same_lines else "gone", line or " ") for n, line in enumerate(old)],
        [("same" if n in taken_over else "added", line or " ") for n, line in enumerate(new)],
    )


EXAMPLE_MODEL = "openai/gpt-4o-mini"  # only its listed price is used; no call is made


class PricedCatalogue:
    """Every model name means one priced model of LiteLLM's own table."""

    def __init__(self, litellm_id: str) -> None:
        self._facts = ModelSettings(litellm=litellm_id)
        self._price: ModelPrice | None = known_price(self._facts)

    def describe(self, name: str) -> Any:
        return self._facts

    def price(self, name: str) -> ModelPrice | None:
        return self._price


def dry_run(context: Context, family: Family, definition: Mapping[str, Any]) -> tuple[CostEstimate, ModelPrice] | None:
    """(estimate, price) of this study on ``EXAMPLE_MODEL``; None where its price is not listed.

    Writes nothing, spends nothing.
    """
    catalogue = PricedCatalogue(EXAMPLE_MODEL)
    price = catalogue.price("")
    if price is None:
        return None
    sizes = {k: v for k, v in definition.items() if k not in ("strategy", "aim", "seed", "budget")}
    request = StudyRequest(
        family=family.name,
        strategy=str(definition["strategy"]),
        budget=BudgetBody(**definition["budget"]),
        seed=int(definition["seed"]),
        definition=sizes,
        dry_run=True,
    )
    estimate = create_study(replace(context, family=lambda name: family, models=lambda: catalogue), request)
    assert isinstance(estimate, CostEstimate)
    return estimate, price
