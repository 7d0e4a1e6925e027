"""How long a page of the dashboard takes to its first byte on a home that has grown.

    python bench/dashboard.py [--seconds 720] [--home FOLDER]
    python bench/dashboard.py --families 20 --events 20000 --trials 1500 --seconds 60     a quick look

The home: 200 families, 1,000,000 events (half are interactions, half are outcomes; half of them came in the last day),
10,000 trials, eight rollouts, reviews, alerts, changes, records of a content pipeline; made by the store's own
functions, events by SQLite, from a fixed seed. api, the process for feedback and the worker run as `detent serve`
starts them, and 500 events a second come in one by one over sixteen connections. Every page of the route table is asked
for in turns over one connection, signed in, .15 s apart, in another order each time, beside a route that answers as
many bytes; then the reports, which a process of its own makes while a page says so. A home of that size takes ten
minutes to make, and `--home` keeps it for the next time; then the worker does what was due, for up to a quarter of an
hour."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import Cell, beside, options_of, write_result
from bench.speed import client, grown, page_answers, rivals
from bench.speed.chats import cpu_s
from bench.speed.events import KINDS, posts
from bench.speed.grown import Size
from bench.speed.installation import Installation, running, tokens_of_champions, write_profile
from bench.speed.page_answers import ask_in_turns, is_report, quantiles
from optimizer.host.config import load_settings

EVENTS_PER_S, EVENT_CONNECTIONS = 500.0, 16
SETTLE_S = 20.0
BUSY, PATIENCE_S = 0.2, 900.0  # of a core, above which the worker still does what was due when it started
ASKED_FOR_PROCESSOR = 10
REPORTS_SHARE = 0.1  # of the time that the other pages take


def main() -> None:
    options = options_of(
        __doc__,
        families=Size().families,
        events=Size().events,
        trials=Size().trials,
        seconds=(720.0, "in which pages are asked for: some fifty times each"),
        home=(Path, "where the home is kept and found again; else it is thrown away"),
    )
    size = Size(families=options.families, events=options.events, trials=options.trials)
    with settled_installation(options.home, size) as place:
        cells = first_bytes(place, size, options.seconds)
    write_result("dashboard", cells)


@contextmanager
def settled_installation(home: Path | None, size: Size) -> Iterator[Installation]:
    """``home`` None: one that is thrown away."""
    with ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="detent-pages-")))
        place = stack.enter_context(grown_installation(folder, size))
        let_worker_settle(place)
        yield place


@contextmanager
def grown_installation(home: Path, size: Size) -> Iterator[Installation]:
    if not (home / "families").exists():
        home.mkdir(parents=True, exist_ok=True)
        write_profile(home)
        grown.grow(home, size)
    with running(load_settings("dev", home), with_worker=True) as place:
        yield place


def let_worker_settle(place: Installation) -> None:
    """Until it has done what was due: what a server does in its first minutes is no measure of its pages."""
    until, share = time.monotonic() + PATIENCE_S, 1.0
    while share > BUSY and time.monotonic() < until:
        before = cpu_s(place.pids[-1:])[0]
        time.sleep(SETTLE_S)
        share = (cpu_s(place.pids[-1:])[0] - before) / SETTLE_S
    print(f"The worker takes {100 * share:.0f} % of a core.", file=sys.stderr)


def first_bytes(place: Installation, size: Size, seconds: float) -> list[Cell]:
    """p95 by page, while feedback comes in, beside a bare page of as many bytes; processor time of each where nothing
    else is asked.
    """
    pages = page_answers.addresses(grown.places_of(place.settings, size))
    headers = page_answers.signed_in(place.url)
    workbench = pages[page_answers.PREVIEW]
    forms = {workbench: page_answers.preview_form(place.url, headers, workbench)}
    visits = page_answers.Visits(place.url, headers, forms)
    seconds_until = {name: visits.seconds_until_made(address) for name, address in pages.items() if is_report(name)}
    processor_ms = {name: _processor_ms(place, visits, address, is_report(name)) for name, address in pages.items()}
    visits.close()
    events = posts(tokens_of_champions(place, 2_000), next(iter(KINDS)), batch=1, n=20_000)
    sent = {"connections": EVENT_CONNECTIONS, "per_s": EVENTS_PER_S, "headers": place.headers}
    with (
        rivals.running("page", Path(__file__)) as bare,
        client.steady(place.url, events, seconds=(1 + REPORTS_SHARE) * seconds + 10, **sent),
    ):
        waits = {}
        for of_reports in (False, True):  # which load the machine, where somebody asks for one again and again
            some = {name: address for name, address in pages.items() if is_report(name) is of_reports}
            within_s = seconds if not of_reports else REPORTS_SHARE * seconds
            waits |= ask_in_turns(place.url, bare, some, headers=headers, seconds=within_s, forms=forms)
    return [
        *(_of_page(name, page.ours, page.bare, processor_ms[name]) for name, page in waits.items()),
        *(Cell(case=f"until {name} is there", ours=waited, unit="s", n=1) for name, waited in seconds_until.items()),
    ]


def _of_page(name: str, ours: list[float], bare: list[float], processor_ms: float) -> Cell:
    (p50, p95), (bare_p50, bare_p95) = quantiles(ours), quantiles(bare)
    print(f"{name}: p50 {p50:.1f} p95 {p95:.1f} ms, {processor_ms:.1f} ms of the processor", file=sys.stderr)
    unit = f"ms; p50 {p50:.3g}, processor {processor_ms:.3g} beside p50 {bare_p50:.3g}"
    return beside(f"first byte of {name}, p95", p95, bare_p95, "a bare page of as many bytes", unit, len(ours))


def _processor_ms(place: Installation, visits: page_answers.Visits, address: str, of_report: bool) -> float:
    """Of the api and the process for feedback, which draws pages, for one answer, beyond what they do anyway."""
    statuses = page_answers.STATUSES[of_report]
    visits.first_byte(address, statuses=statuses)
    before = sum(cpu_s(place.pids[:2]))
    for _ in range(ASKED_FOR_PROCESSOR):
        visits.first_byte(address, statuses=statuses)
    used = sum(cpu_s(place.pids[:2])) - before
    return 1000 * max(0.0, used) / ASKED_FOR_PROCESSOR


if __name__ == "__main__":
    main()
