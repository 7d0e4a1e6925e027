"""Entry points of the children of ``detent serve``:
``python -m optimizer.processes api|feedback|gateway|worker|mlflow [--fd N] [--number N]``.

The supervisor holds the other end of a pipe on stdin. When it ends, however it ends, the pipe closes and the child
ends too. Listening sockets come from the supervisor, so that an address survives a restart of the process behind it.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from optimizer.host.config import Settings, load_settings
from optimizer.host.logs import set_up_logs
from optimizer.host.ports_in_use import reachable_host
from optimizer.host.run_files import PRIVATE, announce_soon, api_names, withdraw
from optimizer.host.tracing import TRACING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from optimizer.adapters.models.language_models import Models

NICENESS = 5
# How long a thread with a large body may keep the event loop waiting, each time that it waits; Python's own is 5 ms.
# Below a millisecond the event loop and the thread that writes take the interpreter from each other so often that fewer
# events are kept.
SWITCH_S = 0.001
# Objects more than before, until the garbage collector looks for those in circles: a batch of feedback makes thousands,
# of which none is in one, and Python's own 700 would have it look ten times meanwhile.
GC_AFTER = 50_000
GRACE_S = 5.0  # between the request to end and the end
FILES_PER_CONNECTION = 2  # a stream holds one to its client and one to the gateway or the model
FILES_BESIDE = 500  # database, logs, models


def main() -> None:
    gc.disable()  # modules that load are no garbage to look for, which takes a sixth of a start; ``_set_aside`` ends it
    parser = argparse.ArgumentParser(prog="optimizer.processes")
    parser.add_argument("name", choices=sorted(ENTRY_POINTS))
    parser.add_argument("--fd", type=int, default=None, help="an inherited listening socket")
    parser.add_argument("--number", type=int, default=1, help="which of the api's processes, where there are several")
    arguments = parser.parse_args()
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # everything started below here ends with one signal to the group
    os.umask(PRIVATE)
    end_with_supervisor()
    settings = load_settings()
    name = api_names(arguments.number)[-1] if arguments.name == "api" else arguments.name
    set_up_logs(settings, name, terminal=settings.log_json)
    TRACING.start(settings, name)
    try:
        ENTRY_POINTS[arguments.name](settings, name, arguments.fd)
    except Exception:
        structlog.get_logger(name).exception("the process ends on an error")
        raise
    finally:
        withdraw(settings, name)


def stand_back(niceness: int = NICENESS) -> None:
    """For processes behind those that serve prompts and chats: these come first where there is no core to spare, and
    are not interrupted each time that one behind them wakes up. A client waits for what has a ``niceness`` of 0.
    """
    if niceness:
        os.nice(niceness)
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def end_with_supervisor() -> None:
    """End this process soon after stdin closes: politely first, then by force."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


def run_api(settings: Settings, name: str, fd: int | None) -> None:
    from api.app import create_app

    _serve(create_app(settings), settings, name, settings.port, fd)


def run_feedback(settings: Settings, name: str, fd: int | None) -> None:
    from api.feedback import create_feedback

    stand_back(niceness=0)
    _serve(create_feedback(settings), settings, name, 0, fd)


def run_gateway(settings: Settings, name: str, fd: int | None) -> None:
    from api.gateway.app import create_gateway

    app = create_gateway(settings)
    _serve(
        app,
        settings,
        name,
        settings.gateway_port,
        fd,
        lambda: _of_models(app.state.model_side.catalogue),
    )


def _of_models(models: Models) -> Mapping[str, Any]:
    return {"models": models.digests(), "models_problem": None if models.problem is None else models.problem.detail}


def run_worker(settings: Settings, name: str, fd: int | None) -> None:
    stand_back()
    from optimizer.runtime.worker import Worker

    _set_aside()
    Worker(settings).run()


def run_mlflow(settings: Settings, name: str, fd: int | None) -> None:
    stand_back()
    from optimizer.runtime.mlflow_server import run

    _set_aside()
    run(settings, fd)


def _serve(
    app: FastAPI,
    settings: Settings,
    name: str,
    port: int,
    fd: int | None,
    more: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """``more``: what the process announces beside its address once it has started."""
    from api.http.server import Server, configuration

    bound = socket.socket(fileno=fd) if fd is not None else None
    host, port = bound.getsockname()[:2] if bound is not None else (settings.host, port)
    url = f"http://{reachable_host(host)}:{port}"
    sys.setswitchinterval(SWITCH_S)
    _allow_files(FILES_PER_CONNECTION * settings.limits.connections + FILES_BESIDE)

    def announce() -> None:
        announce_soon(settings, name, url, **more())

    class AnnouncingServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            _set_aside()
            if self.started:
                announce()
                app.state.announce = announce  # again where ``more`` changed

    config = configuration(app, settings, host=host, port=port, behind_the_api=not name.startswith("api"))
    AnnouncingServer(config).run(sockets=[bound] if bound is not None else None)


def _set_aside() -> None:
    """Take what the process has loaded out of the garbage collector's sight.

    It stays anyway, and looking through its hundred thousand objects held up all requests for a tenth of a second, each
    time that a large body made the collector look at everything.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_AFTER)
    gc.enable()


def _allow_files(n: int) -> None:
    """As many open files as connections may need, as far as the system lets this process."""
    try:
        import resource  # not on every system
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n if hard == resource.RLIM_INFINITY else min(n, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


ENTRY_POINTS: dict[str, Callable[[Settings, str, int | None], None]] = {
    "api": run_api,
    "feedback": run_feedback,
    "gateway": run_gateway,
    "worker": run_worker,
    "mlflow": run_mlflow,
}

if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # threads that still wait for a model or a search must not hold up the end
