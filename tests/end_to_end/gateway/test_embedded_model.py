"""The embedded model as it runs: one owner, processes that come back, answers that repeat."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from api.gateway.guarded_models import is_the_providers
from optimizer.adapters.models import embedded_pool
from optimizer.adapters.models.embedded_model import EmbeddedModel
from optimizer.adapters.models.embedded_pool import EmbeddedPool, living_owner
from optimizer.core.base.errors import Conflict, ModelFailed
from optimizer.core.models.budget import worth_a_retry
from optimizer.core.models.language import ModelRequest
from tests.clock import until
from tests.contract.outside.test_streaming_models import Sink
from tests.waited import Waited
from tests.worlds.gateway_world import HAS_EMBEDDED_MODEL

pytestmark = pytest.mark.skipif(not HAS_EMBEDDED_MODEL, reason="the embedded model has no wheel for this system")

OWNER = """
import sys, time
from pathlib import Path
from optimizer.adapters.models.embedded_pool import EmbeddedPool
pool = EmbeddedPool(Path(sys.argv[1]), 1)
print('server', *pool.pids, flush=True)
time.sleep(600)
"""


def ask(text: str, *, temperature: float = 0.0, sample: str = "0", max_tokens: int = 12) -> ModelRequest:
    messages = [
        {"role": "system", "content": "Name the colour of the thing in one word."},
        {"role": "user", "content": "Grass"},
        {"role": "assistant", "content": "green"},
        {"role": "user", "content": text},
    ]
    return ModelRequest(
        model="embedded",
        revision="r",
        messages=messages,
        params={"temperature": temperature, "max_tokens": max_tokens},
        sample=sample,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Waited]:
    """Shared by all that leave it as it was: to load the weights takes longer than to answer."""
    made = Waited(EmbeddedModel("embedded", folder, size=1))
    yield made
    made.close()


def test_it_answers_for_free_and_counts_its_tokens(model: Waited):
    answer = model.complete(ask("Snow"))
    assert answer.text
    assert 0 < answer.output_tokens <= 12
    assert answer.input_tokens > 20
    assert answer.cost_usd == 0.0
    assert answer.latency_ms > 0
    assert len(model.revision) == 16


def test_at_temperature_zero_the_same_request_has_the_same_answer_whatever_is_cached_and_in_a_new_process(
    model: Waited, tmp_path: Path
):
    things = ["Snow", "A ripe lemon that hangs from a tree by the sea"]
    cold = []
    for thing in things:
        model.complete(ask("Something else entirely"))
        cold.append(model.complete(ask(thing)).text)
    fresh = Waited(EmbeddedModel("embedded", tmp_path, size=1))
    try:
        for warm in (model, fresh):
            assert [warm.complete(ask(thing)).text for thing in reversed(things)] == cold[::-1]
    finally:
        fresh.close()


def test_the_same_draw_repeats_and_another_sample_number_draws_anew(model: Waited):
    draws = [model.complete(ask("Snow", temperature=1.5, sample=f"v:e:{k}")).text for k in range(4)]
    assert len(set(draws)) > 1
    assert model.complete(ask("Snow", temperature=1.5, sample="v:e:0")).text == draws[0]


def test_a_request_that_is_too_long_is_refused_with_the_reason(model: Waited):
    with pytest.raises(ModelFailed, match="refused the request") as caught:
        model.complete(ask("word " * 10_000))
    assert caught.value.kind == "http"
    assert "context size" in (caught.value.said or "")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_request_that_the_engine_cannot_read_says_nothing_of_the_engine(model: Waited, streamed: bool):
    """It answers 500, as to a fault of its own: five images of one sender would else have the model left alone
    for everybody.
    """
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    asked = replace(ask("Snow"), messages=[{"role": "user", "content": [image]}])
    with pytest.raises(ModelFailed) as caught:
        model.stream(asked, Sink()) if streamed else model.complete(asked)
    assert caught.value.kind == "library"
    assert not is_the_providers(caught.value)
    assert not worth_a_retry(caught.value.kind, caught.value.members.get("status_of_model"))


def test_requests_at_once_wait_for_one_another(model: Waited):
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda i: model.complete(ask(f"Thing {i}", max_tokens=4)).text, range(3)))
    assert len(answers) == 3


def test_a_process_that_was_killed_comes_back_and_requests_go_on(model: Waited, folder: Path):
    before = model.complete(ask("Snow")).text
    assert model.own()
    assert model._pool is not None
    (child,) = [p for p in psutil.Process().children() if p.pid in model._pool.pids]
    child.kill()
    assert model.complete(ask("Snow")).text == before
    assert living_owner(folder).pid == os.getpid()


def test_its_owner_is_known_after_the_clock_was_stepped(
    model: Waited, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.own()
    boot_time = psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time + 3600)
    assert living_owner(folder).pid == os.getpid()


def test_a_proxy_of_the_environment_is_not_asked_whether_a_process_is_well(
    model: Waited, monkeypatch: pytest.MonkeyPatch
):
    assert model.own()
    (child,) = model._pool._children
    until(lambda: child.url is not None, "its address", patience_s=30)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    child.check_health()
    assert child._unhealthy == 0


def test_a_process_for_which_no_file_is_to_be_had_is_started_once_there_is_one(tmp_path: Path):
    pool, folder = EmbeddedPool(tmp_path, 1), tmp_path / "logs"
    try:
        (child,) = pool._children
        child._log_file = folder / "embedded-0.log"
        child.process.kill()
        until(lambda: child._deaths > 2, "two starts that fail", patience_s=30)
        folder.mkdir()
        until(lambda: child.url in living_owner(tmp_path).urls, "its address", patience_s=30)
    finally:
        pool.close()


def test_a_run_folder_has_one_owner_and_others_use_its_processes(model: Waited, folder: Path):
    assert model.own()
    with pytest.raises(Conflict, match=f"pid {os.getpid()}"):
        EmbeddedPool(folder, 1)
    other = Waited(EmbeddedModel("embedded", folder, size=1))
    assert not other.own()
    assert other.complete(ask("Snow")).text == model.complete(ask("Snow")).text
    other.close()
    assert model.complete(ask("Coal")).text, "closing a client leaves the owner's processes alone"


def test_when_its_owner_is_killed_the_processes_end_and_a_client_takes_over(tmp_path: Path):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        line = next(line for line in owner.stdout if line.startswith("server "))
        server = int(line.split()[1])
        client = Waited(EmbeddedModel("embedded", tmp_path, size=1))
        first = client.complete(ask("Snow")).text
        found = living_owner(tmp_path)
        assert found is not None
        assert found.pid == owner.pid
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        until(
            lambda: not psutil.pid_exists(server) or psutil.Process(server).status() == psutil.STATUS_ZOMBIE,
            patience_s=30,
        )
        assert client.complete(ask("Snow")).text == first
        taken = living_owner(tmp_path)
        assert taken is not None
        assert taken.pid == os.getpid()
        client.close()
        assert living_owner(tmp_path) is None
    finally:
        owner.kill()
        owner.wait()


def test_left_to_itself_it_starts_a_second_process_where_a_core_is_idle_and_each_call_has_one_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded_pool.IdleMeter, "idle_cores", lambda self, own_pids: 1.9)
    model = Waited(EmbeddedModel("embedded", tmp_path))
    try:
        assert model.concurrency == 2
        alone = [model.complete(ask(f"Thing {i}", max_tokens=4)).text for i in range(2)]
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(lambda i: model.complete(ask(f"Thing {i}", max_tokens=4)).text, range(2)))
        assert together == alone
    finally:
        model.close()


def test_left_to_itself_it_starts_one_process_where_half_a_core_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded_pool.IdleMeter, "idle_cores", lambda self, own_pids: 1.4)
    pool = EmbeddedPool(tmp_path)
    try:
        assert pool.size == 1
    finally:
        pool.close()


@pytest.mark.long
def test_it_grows_when_the_machine_becomes_idle_and_then_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    idle = [0.0]
    monkeypatch.setattr(embedded_pool.IdleMeter, "idle_cores", lambda self, own_pids: idle[0])
    monkeypatch.setattr(embedded_pool, "GROW_EVERY_S", 0.1)
    pool = EmbeddedPool(tmp_path)
    try:
        assert pool.size == 1
        idle[0] = 4.0
        until(lambda: len(living_owner(tmp_path).urls) == 2, patience_s=30)
        looks, look = [], pool._children[0].tend
        monkeypatch.setattr(pool._children[0], "tend", lambda: looks.append(look()))
        until(
            lambda: len(looks) > 2 * embedded_pool.GROW_AFTER,
            "as many looks as two more processes would need",
            patience_s=30,
        )
        assert pool.size == 2
    finally:
        pool.close()
