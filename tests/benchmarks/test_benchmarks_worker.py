"""The protocol between the driver and a worker process, with a worker of our own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks._worker import Answer, Missing, Worker

# Each way gives how often it was prepared; one prints, one is absent, one breaks.
DUMMY = """
import numpy as np
from benchmarks._serve import AbsentError, serve

prepared = []

def count(setting, options):
    prepared.append(options)
    return lambda: {"times": np.array(len(prepared)), "given": np.array(options["values"])}

def loud(setting, options):
    def call():
        print("not an answer")
        return {"times": np.zeros(1)}
    return call

def absent(setting, options):
    raise AbsentError("not on this machine")

def broken(setting, options):
    raise RuntimeError("this way is broken")

serve({"count": count, "loud": loud, "absent": absent, "broken": broken}, ("numpy", "no-such"))
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker([sys.executable, "-c", DUMMY], threads=1) as process:
        yield process


def run(worker: Worker, way: str, *values: float) -> Answer | Missing:
    return worker.run(
        way, {"values": values}, folder=Path("somewhere"), device="cpu", dtype="float32"
    )


def times(worker: Worker, *values: float) -> int:
    answer = run(worker, "count", *values)
    assert isinstance(answer, Answer)
    assert answer.arrays["given"].tolist() == list(values)
    return int(answer.arrays["times"])


def test_a_worker_says_its_versions(worker: Worker) -> None:
    assert worker.versions == {"numpy": np.__version__, "no-such": "absent"}


def test_arrays_and_costs_come_back(worker: Worker) -> None:
    answer = run(worker, "count", 1.0, 2.0)
    assert isinstance(answer, Answer)
    assert answer.arrays["given"].tolist() == [1.0, 2.0]
    assert answer.seconds >= 0
    assert answer.max_rss > 2**20
    assert answer.peak > 0


def test_a_way_is_prepared_once_for_each_input_until_it_is_forgotten(worker: Worker) -> None:
    first = times(worker, 3.0)
    assert times(worker, 3.0) == first
    assert times(worker, 4.0) == first + 1
    worker.forget()
    assert times(worker, 3.0) == first + 2


def test_what_a_library_prints_is_no_answer(worker: Worker) -> None:
    answer = run(worker, "loud")
    assert isinstance(answer, Answer)
    assert list(answer.arrays) == ["times"]


def test_an_absent_way_says_why(worker: Worker) -> None:
    assert run(worker, "absent") == Missing(reason="not on this machine", broken=False)


def test_a_broken_way_says_why_and_the_next_one_runs(worker: Worker) -> None:
    assert run(worker, "broken") == Missing(reason="RuntimeError: this way is broken", broken=True)
    assert times(worker, 5.0) == 1
