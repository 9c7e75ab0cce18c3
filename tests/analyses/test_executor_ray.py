"""Ray's workers on this machine: the numbers of one process, also when a worker is killed."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from analyses._assemble import StudyRun
from analyses._cells import Finished, Job, make_cell
from analyses._config import WhosAskingConfig
from analyses._executor import CellError
from analyses._study import run_study
from analyses._vectors import REFUSAL_NAMES
from lens_personas.models import ModelLoadError

ray = pytest.importorskip("ray")
_executor_ray = pytest.importorskip("analyses._executor_ray")
RayExecutor = _executor_ray.RayExecutor

pytestmark = pytest.mark.slow

CONFIG = WhosAskingConfig(
    model="organism:chat",
    device="cpu",
    layers=(2,),
    max_personas=3,
    max_requests=12,
    n_nulls=1,
    max_new_tokens=4,
)


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """No process of Ray's outlives the tests."""
    yield
    deadline = time.monotonic() + 30
    while (left := _processes("ray")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def _processes(word: str) -> dict[int, str]:
    """Processes of this one's that are named so: children, and theirs."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            names[int(entry.name)] = (entry / "cmdline").read_bytes().decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    mine = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return {pid: names[pid] for pid in mine - {os.getpid()} if word in names.get(pid, "")}


def _same(found: StudyRun, true: StudyRun) -> None:
    pd.testing.assert_frame_equal(found.scores, true.scores, rtol=1e-4, atol=1e-4)
    assert found.result.message == true.result.message
    for mine, theirs in zip(found.vectors, true.vectors, strict=True):
        assert mine.vector.name == theirs.vector.name
        torch.testing.assert_close(mine.vector.vectors, theirs.vector.vectors, atol=1e-4, rtol=1e-4)


def test_two_workers_of_which_one_is_killed_give_the_numbers_of_one_process(
    tmp_path: Path,
) -> None:
    local = run_study(CONFIG)
    killed: list[int] = []
    killer = threading.Thread(target=_kill_workers, args=(killed, 1))
    killer.start()
    run = run_study(CONFIG, folder=tmp_path, engine=lambda at: RayExecutor(at, CONFIG, workers=2))
    killer.join()
    assert len(killed) == 1
    _same(run, local)
    # The cluster was this run's alone.
    assert not ray.is_initialized()


def _kill_workers(killed: list[int], n: int) -> None:
    """SIGKILL for the first ``n`` workers that are at a cell."""
    deadline = time.monotonic() + 300
    while len(killed) < n and time.monotonic() < deadline:
        # Ray puts what a worker is doing into its title.
        for pid in sorted(set(_processes("ray::_Replica.finish")) - set(killed))[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that executors find and leave as it is."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def _vector_job(name: str) -> Job:
    return Job(cell=make_cell("vector", {"name": name}, context="test"), inputs=())


def _wait(executor: Any) -> tuple[Finished, ...]:
    deadline = time.monotonic() + 300
    while not (finished := executor.wait(1.0)) and time.monotonic() < deadline:
        pass
    return finished


def test_what_fails_in_a_worker_is_said_and_the_worker_goes_on(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_executor_ray, "LOSSES", 0)
    (tmp_path / "results").mkdir()
    executor = RayExecutor(tmp_path, CONFIG, workers=1)
    assert executor.slots == 1
    assert executor.wait(0.0) == ()
    assert executor.card().model_id == "organism:chat"
    broken = _vector_job("nobody")
    executor.start(broken)
    with pytest.raises(CellError, match=r"vector nobody: \w+: ") as failed:
        _wait(executor)
    assert failed.value.key == broken.cell.key
    # A result comes as a path.
    job = _vector_job(REFUSAL_NAMES[0])
    executor.start(job)
    (finished,) = _wait(executor)
    assert finished.key == job.cell.key
    assert finished.shard is not None
    assert (tmp_path / finished.shard.path).is_file()
    _kills_its_worker(executor)
    executor.close()
    assert ray.is_initialized()


def _kills_its_worker(executor: Any) -> None:
    """A cell over which more workers are lost than are allowed is given up, with a reason."""
    (worker,) = _processes("ray::_Replica")
    # Held, so that it is at the cell when it is killed.
    os.kill(worker, signal.SIGSTOP)
    executor.start(_vector_job(REFUSAL_NAMES[0]))
    assert executor.wait(1.0) == ()
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(CellError, match="expected a worker to compute it, 1 were lost"):
        _wait(executor)


def test_a_model_that_cannot_be_loaded_is_said(cluster: None, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"model": "organism:neither"})
    executor = RayExecutor(tmp_path, config, workers=1)
    with pytest.raises(ModelLoadError, match="expected organism:base, organism:chat or"):
        executor.card()
    executor.close()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"workers": 0}, "expected at least 1 worker, got 0"),
        ({"workers": 2, "gpus_per_worker": 1.0}, "expected room for 2 workers .* 0 GPUs; ask"),
        ({"workers": 3, "address": "there"}, "expected room for 3 workers of 1 CPUs .*has 2 CPUs"),
    ],
)
def test_a_cluster_that_is_too_small_is_said(
    cluster: None, tmp_path: Path, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        RayExecutor(tmp_path, CONFIG, **options)


_CARD_FROM = """
import sys
from pathlib import Path
from analyses._config import WhosAskingConfig
from analyses._executor_ray import RayExecutor

config = WhosAskingConfig(model="organism:chat", device="cpu")
for address in sys.argv[1:]:
    try:
        executor = RayExecutor(Path("."), config, workers=1, address=address)
        print(executor.card().model_id, executor.slots)
        executor.close()
    except ValueError as error:
        print(error)
"""


def test_a_running_cluster_is_used_by_its_address(tmp_path: Path) -> None:
    port, nobody = _free_port(), _free_port()
    # A process of its own: Ray reads how clusters are entered once.
    env = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    head = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    head += [f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
    head += ["--include-dashboard=false", "--object-store-memory=100000000"]
    with (tmp_path / "head.log").open("w") as log:
        running = subprocess.Popen(head, env=env, stdout=log, stderr=log)
    try:
        _until_listening(port)
        asked = [sys.executable, "-c", _CARD_FROM, f"127.0.0.1:{nobody}", f"127.0.0.1:{port}"]
        found = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=300)
        refused, used = found.stdout.splitlines()
    finally:
        running.terminate()
        running.wait(timeout=60)
    assert f"expected a Ray cluster at '127.0.0.1:{nobody}', found none" in refused
    assert used == "organism:chat 1"


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _until_listening(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
