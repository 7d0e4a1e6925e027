"""The story of ``make demo``, told with the product's own commands and routes: import, users, studies, two rollouts that move by themselves, a cascade.

Everything printed is measured or read back. What cannot be nominated is not: the demo then starts a named trial as forced and says so.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any, NoReturn

from optimizer import wiring
from optimizer.core.errors import DetentError
from optimizer.demo import LENGTH
from optimizer.demo.cascade import CascadeDemo
from optimizer.demo.ending import say_ending
from optimizer.demo.place import CASCADE_FAMILY, FAMILIES, Place, choose
from optimizer.demo.rollouts import Rollouts
from optimizer.demo.screen import Screen
from optimizer.demo.servers import Servers
from optimizer.demo.studies import run_studies
from optimizer.demo.users import Users

SUCCESS_FROM: Mapping[str, float] = {"document_analysis": 1.0, "summarization": 0.25}
N_FIRST_USERS = 6  # per family, before any search
TITLES = (
    "Three families, real text",
    "Users of the present prompts",
    "Two searches at once",
    "Two rollouts that move by themselves",
    "A promotion taken back",
    "The same quality for less: a cascade",
)


def run(keep: bool = False) -> int:
    """The whole demo; 0 when it went through. ``keep`` leaves the servers running."""
    screen = Screen()
    place = choose()
    servers = Servers(place.settings)
    signal.signal(signal.SIGTERM, _interrupt)
    screen.folder = place.settings.home
    done = False
    try:
        _tell(screen, place, servers)
        done = True
        if keep:
            screen.say(f"\nThe servers run on (pid {servers.pid}). End them with: kill {servers.pid}")
        return 0
    except (DetentError, RuntimeError) as problem:
        screen.say(f"\nThe demo stopped: {problem}", "red")
        screen.say(f"Logs: {place.settings.log_dir()}")
        return 1
    except KeyboardInterrupt:
        screen.say("\nInterrupted; the servers end.")
        return 130
    finally:
        if not (keep and done):
            servers.stop()


def _tell(screen: Screen, place: Place, servers: Servers) -> None:
    settings = place.settings
    screen.say("Detent demo: the whole loop on real text, with a real and very small language model on this machine.", "bold")
    screen.say(f"No key, no network, nothing made up; {LENGTH}. Rollout time runs faster here (simulated clock), nothing else does.")
    if place.why:
        screen.say(f"Since {place.why}, this demo runs in a fresh home: export DETENT_HOME={settings.home}")
    wiring.migrate_store(settings)

    screen.step(f"1/6  {TITLES[0]}")
    screen.say(
        "SciPy's documentation is on this machine: each public function's description, its author's one-line summary, its subpackage, "
        "and the types of its parameters."
    )
    for family in (*FAMILIES, CASCADE_FAMILY):
        screen.command("import", "installed-docs", "--family", family)
    servers.start()
    screen.say("$ detent serve --profile demo        (API, gateway, worker and MLflow, supervised)", "bold cyan")
    servers.wait("api", "gateway", "worker")
    api = servers.url("api")
    gateway = servers.url("gateway")
    assert api is not None
    assert gateway is not None
    screen.say(f"  API at {api}, MLflow follows at its own address")

    store, clock = wiring.open_store(settings), wiring.open_clock(settings)
    families = wiring.load_families(settings)
    models = wiring.open_models(settings)
    scorers = wiring.scorers(settings)
    made = {name: scorers(families.families[name]) for name in FAMILIES}
    try:
        embedded = models.get("embedded")
        users = Users(
            api_url=api,
            store=store,
            model_named=models.get,
            scorer_for=lambda name: made[name],
            n_at_once=lambda: embedded.concurrency,
            success_from=SUCCESS_FROM,
        )

        screen.step(f"2/6  {TITLES[1]}")
        screen.say("Each fetches its prompt over REST with a sticky unit, asks the model (one thread per process), and reports")
        screen.say("the answer with feedback. Here the feedback is the score against the author's reference, not a person's opinion.")
        _first_users(screen, users, store)

        screen.step(f"3/6  {TITLES[2]}")
        rollouts = Rollouts(screen=screen, users=users, store=store, api_url=api)
        studies = run_studies(screen, place.definition, settings=settings, store=store, visit=rollouts.visit_champion)

        cascade = CascadeDemo(
            screen=screen,
            place=place,
            family=families.families[CASCADE_FAMILY],
            price=models.price(families.families[CASCADE_FAMILY].model.default),
            store=store,
            api=api,
            gateway=gateway,
        )
        cascade.begin()

        up, down = _in_order(studies)
        screen.step(f"4/6  {TITLES[3]}: {up} with its best variant, {down} with a careless edit")
        rollouts.move_by_themselves(studies[up], studies[down])
        screen.step(f"5/6  {TITLES[4]}: {up}")
        rollouts.back_to_the_champion_before(up)
        screen.step(f"6/6  {TITLES[5]}")
        cascade_line = cascade.show()
        screen.finish_step()
        say_ending(
            screen,
            place=place,
            servers=servers,
            store=store,
            clock=clock,
            families={name: families.families[name] for name in FAMILIES},
            studies=studies,
            rollouts=rollouts,
            cascade=cascade_line,
        )
        cascade.close()
        users.close()
    finally:
        models.close()
        store.close()


def _first_users(screen: Screen, users: Users, store: Any) -> None:
    for family in FAMILIES:
        with store.read() as tx:
            examples = store.examples.of_split(tx, family, split="train")[:N_FIRST_USERS]
        with screen.bars() as bars:
            traffic = users.visit_all(
                family,
                [(f"user-{n}", example) for n, example in enumerate(examples)],
                told=lambda n, bars=bars, family=family, total=len(examples): bars.show(family, n, total, f"{n} of {total} users served"),  # type: ignore[misc]
            )
        ((role, variant), (n, mean)), *_ = traffic.arms().items()
        screen.say(f"  {family}: {n} users got the {role} {variant}; mean score {_number(mean)}; {traffic.n_accepted} events accepted")
        shown = traffic.visits[0]
        screen.say(f"  such as: {shown.example.input['document'][:110]} …")
        screen.say(f"    model: {' '.join(shown.answer.text.split())[:110]!r}; reference: {next(iter(shown.example.expected.values()))!r}")


def _in_order(studies: Mapping[str, Any]) -> tuple[str, str]:
    """(family whose best variant goes up, family of the careless edit): a nominated winner goes up, the larger lift first."""

    def rank(name: str) -> tuple[bool, float]:
        study = studies[name].study
        return study.outcome != "nominated", -float((study.confirmation or {}).get("lift") or 0.0)

    first, second = sorted(studies, key=rank)
    return first, second


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
