"""The story of ``make demo``, told with the product's own commands and routes: import, users, two searches,
two rollouts that move by themselves.

Everything printed is measured or read back. What is announced is said first; what did not come out so is told, and the
exit code says it.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from optimizer.core.base.errors import DetentError
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.demo.cascade import CascadeDemo, StatedPrice, sealed_bars
from optimizer.demo.comparison import GatewayComparison
from optimizer.demo.ending import (
    DemoModels,
    read_answering,
    say_addresses,
    say_price,
    say_what_comes_next,
    say_what_happened,
)
from optimizer.demo.place import CASCADE_FAMILY, FAMILIES, FAMILY, Place, Servers, choose
from optimizer.demo.plain import LENGTH
from optimizer.demo.rollouts import DemoCandidate, DemoRollouts
from optimizer.demo.screen import Screen
from optimizer.demo.stories import (
    BETTER,
    BETTER_ANNOUNCED,
    CARELESS,
    CARELESS_ANNOUNCED,
    CHEAPER,
    CHEAPER_ANNOUNCED,
    Story,
    better_prompt,
    careless_edit,
    exit_code,
)
from optimizer.demo.studies import EndedStudy, outcome_lines, queue_study, say_plan, watch_study
from optimizer.demo.users import N_SENT, DemoRows, Users, balanced, divide_rows
from optimizer.jobs.rollouts.verify_rollout import report_rollout
from optimizer.ports import Store
from optimizer.runtime import wiring

ROWS = Path("demo-rows.jsonl")  # in var/
N_COMPARED = 36  # of the rows that users send: the nearest examples take the embedded model over two seconds each
SUCCESS_FROM: Mapping[str, float] = dict.fromkeys(FAMILIES, 1.0)  # a label is right or wrong
N_FIRST_USERS = 6  # before any search
ANNOUNCED = ((BETTER, BETTER_ANNOUNCED), (CARELESS, CARELESS_ANNOUNCED), (CHEAPER, CHEAPER_ANNOUNCED))


def run(keep: bool = False) -> int:
    """The whole demo; 0 when every story came out as announced, 3 when one did not, 1 when it stopped.

    ``keep`` leaves the servers running.
    """
    screen = Screen()
    place = choose()
    servers = Servers(place.settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen.folder = place.settings.home
    is_told = False
    try:
        stories = _tell(screen, place, servers)
        is_told = True
        if keep:
            screen.say(f"\nThe servers run on (pid {servers.pid}). End them with: kill {servers.pid}")
        return exit_code(stories)
    except (DetentError, RuntimeError) as problem:
        screen.say(f"\nThe demo stopped: {problem}", "red")
        screen.say(f"Logs: {place.settings.log_dir()}")
        return 1
    except KeyboardInterrupt:
        screen.say("\nInterrupted; the servers end.")
        return 130
    finally:
        if not (keep and is_told):
            servers.stop()


def _tell(screen: Screen, place: Place, servers: Servers) -> list[Story]:
    settings = place.settings
    families = wiring.load_families(settings).families
    answering = read_answering(settings, [families[name] for name in FAMILIES])
    _say_what_comes(screen, place, answering)
    rows, api, gateway = _import_and_serve(screen, place, servers, [families[name] for name in FAMILIES])
    store, clock, models = wiring.open_store(settings), wiring.open_clock(settings), wiring.open_models(settings)
    scorers = {name: wiring.open_scorer(families[name], settings) for name in FAMILIES}
    embedded = models.get("embedded")
    users = Users(
        api_url=api,
        store=store,
        model_named=models.get,
        scorer_for=lambda name: scorers[name],
        n_at_once=lambda: embedded.concurrency,
        success_from=SUCCESS_FROM,
    )
    rollouts = DemoRollouts(screen=screen, users=users, rows=rows.sent)
    second = families[CASCADE_FAMILY]
    sent = balanced(rows.sent[CASCADE_FAMILY], N_COMPARED, field=second.output.field)
    comparison = GatewayComparison(family=CASCADE_FAMILY, rows=sent, scorer=scorers[CASCADE_FAMILY], gateway=gateway)
    cascade = CascadeDemo(
        screen=screen,
        place=place,
        family=second,
        price=StatedPrice(of_model=models.price(second.model.default), is_for_show=answering.is_embedded),
        store=store,
        comparison=comparison,
    )
    try:
        screen.step("2/6  A prompt as it is, and its users")
        _first_users(screen, users, rows.sent[FAMILY])
        screen.step("3/6  A search for a better prompt")
        cascade.search_prompts()
        say_plan(screen, place.definition)
        id = queue_study(screen, FAMILY, place.definition, settings.home)
        cascade.prepare()  # while the study asks the model: most of this waits
        falls = cascade.careless_edit()
        rollouts.answer(CASCADE_FAMILY, falls.variant)
        for name in FAMILIES:  # by now reports are summed up for the guardrails, which takes up to two minutes
            rollouts.visit_champion(name)
        searched = _searched(screen, place, id, store)
        cascade.begin()
        screen.step("4/6  Two rollouts that move by themselves: the winner, and a careless edit")
        rises = searched.candidate
        if rises:
            rollouts.answer(FAMILY, rises)
        up = [DemoCandidate(family=FAMILY, variant=rises, is_nominated=searched.is_nominated)] if rises else []
        rollouts.move_by_themselves([falls, *up])  # users come as soon as the last is approved
        screen.step("5/6  A promotion taken back")
        promoted, taken_back = rollouts.outcome(FAMILY), rollouts.back_to_the_champion_before(FAMILY)
        screen.step("6/6  Five ways to answer, from a bare prompt to a student")
        cheaper = cascade.show()
        screen.finish_step()
        study, chance = searched.study, 1 / len(families[FAMILY].output.labels or (1,))
        bars = sealed_bars(study, ("the first prompt", "the prompt that was found"), store=store)
        risen, fallen = (
            report_rollout(rollouts.ids[name], store=store, clock=clock) if name in rollouts.ids else None
            for name in FAMILIES
        )
        stories = [
            better_prompt(study, rollout=promoted, taken_back=taken_back, bars=bars, chance=chance, report=risen),
            careless_edit(rollout=rollouts.outcome(CASCADE_FAMILY), why=rollouts.why(CASCADE_FAMILY), report=fallen),
            cheaper,
        ]
        champion = fallen.rollout.champion if fallen is not None else None
        of_cascade = ((CASCADE_FAMILY, champion, variant) for variant in (falls.variant, cascade.winner))
        prompts = [_prompts(store, *change) for change in ((FAMILY, study.champion, rises), *of_cascade)]
        stories = [replace(story, prompts=pair) for story, pair in zip(stories, prompts, strict=True)]
        say_what_happened(screen, store, stories, rollouts)
        say_what_comes_next(screen, place, stories, study, answering)
        say_price(screen, place, families[FAMILY], store, clock)
        say_addresses(screen, place, servers, store, study)
        return stories
    finally:
        comparison.close()
        users.close()
        models.close()
        store.close()


def _prompts(store: Store, family: str, before: str | None, after: str | None) -> tuple[Variant, Variant] | None:
    """The two variants; None where one is missing."""
    with store.read() as tx:
        records = [store.variants.get(tx, family, id) for id in (before, after) if id is not None]
    variants = [record.variant for record in records if record is not None]
    return (variants[0], variants[1]) if len(variants) == 2 else None


def _say_what_comes(screen: Screen, place: Place, answering: DemoModels) -> None:
    screen.say(f"Detent demo: the whole loop on real text, with {answering.words}.", "bold")
    needs = (
        f"No key, no network, nothing made up; {LENGTH}"
        if answering.is_embedded
        else f"Nothing made up; {LENGTH} with the embedded model"
    )
    screen.say(f"{needs}. Rollout time runs faster here (simulated clock), nothing else does.")
    if place.why:
        screen.say(f"Since {place.why}, this demo runs in a fresh home: export DETENT_HOME={place.settings.home}")
    screen.say(
        "Three stories are announced; the last page says of each whether it came out so, and the exit code says whether"
        " all did:"
    )
    for number, (title, announced) in enumerate(ANNOUNCED, start=1):
        screen.say(f"  {number}. {title}. {announced}")


def _import_and_serve(
    screen: Screen, place: Place, servers: Servers, families: Sequence[Family]
) -> tuple[DemoRows, str, str]:
    """The rows, and the addresses of API and gateway."""
    screen.step("1/6  Real text")
    wiring.migrate_store(place.settings)
    screen.say(
        "SciPy's documentation is on this machine: the description of each parameter of its functions, and the type its"
        " author gave it."
    )
    servers.start()  # takes as long as an import, beside which it starts
    rows = divide_rows(wiring.open_source("installed-docs", families[0]).rows or (), families, at=datetime.now(UTC))
    rows.write(place.settings.var() / ROWS)
    screen.say(
        f"{N_SENT} rows are held out with every other of their names: users send them later, and no search sees them."
        f" The other {len(rows.imported)} are imported:"
    )
    file = str((place.settings.var() / ROWS).relative_to(place.settings.home))
    screen.side_by_side(*(("import", file, "--family", family, "--curated") for family in FAMILIES))
    screen.say("$ detent serve --profile demo        (API, gateway, worker and MLflow, supervised)", "bold cyan")
    servers.wait("api", "gateway", "worker")
    api, gateway = servers.url("api"), servers.url("gateway")
    assert api is not None
    assert gateway is not None
    screen.say(f"  API at {api}, MLflow follows at its own address")
    return rows, api, gateway


def _searched(screen: Screen, place: Place, id: str, store: Store) -> EndedStudy:
    """The ended study, its outcome told."""
    searched = watch_study(screen, id, place.definition, store=store)
    for line in outcome_lines(searched):
        screen.say(line)
    return searched


def _first_users(screen: Screen, users: Users, rows: Sequence[Example]) -> None:
    screen.say(
        "Each fetches its prompt over REST with a sticky unit, asks the model (one thread per process), and reports the"
        " answer with"
    )
    screen.say("feedback. Here the feedback is whether the answer is the author's type, not a person's opinion.")
    examples = rows[:N_FIRST_USERS]
    with screen.bars() as bars:
        traffic = users.visit_all(
            FAMILY,
            [(f"user-{n}", example) for n, example in enumerate(examples)],
            on_visit=lambda n: bars.show(FAMILY, n, len(examples), f"{n} of {len(examples)} users served"),
        )
    ((role, variant), (n, mean)), *_ = traffic.arms().items()
    number = "not measured" if mean is None else f"{mean:.3f}"
    screen.say(
        f"  {FAMILY}: {n} users got the {role} {variant}; mean score {number}; {traffic.n_accepted} events accepted"
    )
    visit = traffic.visits[0]
    screen.say(f"  such as: {visit.example.input['parameter'][:110]}")
    screen.say(
        f"    model: {' '.join(visit.answer.text.split())[:110]!r}; author:"
        f" {next(iter(visit.example.expected.values()))!r}"
    )
