"""Interleaving, the check of every result, and the exit code that hangs on it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import _cli
from benchmarks._checkpoint import random_prompts, read_shape, text_of, write_checkpoint
from benchmarks._questions import QUESTIONS
from benchmarks._results import read_results
from benchmarks._run import run_workload
from benchmarks._shapes import Shape
from benchmarks._worker import Answer, Missing, Worker
from benchmarks._workloads import PRESETS, Sizes, Way, Workload

SHAPE = Shape(n_layers=2, d_model=64, n_heads=4, d_mlp=96, d_vocab=300)
SIZES = Sizes(
    n_prompts=6,
    n_shared=6,
    one_prompt=8,
    many_prompts=(2, 6),
    n_requests=2,
    n_pos=2,
    lens=(2, 6),
    generation=(2, 4),
    times=2,
    slow_repeats=1,
)


class FakeWorker:
    """Gives each way the value planted for it, and remembers who was asked."""

    versions: Mapping[str, str] = {"torch": "0"}

    def __init__(self, planted: Mapping[str, Any]) -> None:
        self.planted, self.asked = planted, []  # type: ignore[var-annotated]

    def run(self, way: str, options: Mapping[str, object], **_: object) -> Answer | Missing:
        self.asked.append(way)
        value = self.planted.get(way, 1.0)
        if isinstance(value, Missing):
            return value
        arrays = {"x": np.array([value])}
        return Answer(seconds=1.0, memory=None, max_rss=1, peak=1.0, arrays=arrays)

    def forget(self) -> None:
        self.asked.append("forget")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


def workload(*ways: Way) -> Workload:
    return Workload(
        name="made/up",
        title="made up",
        shape=SHAPE,
        options={},
        flops=1,
        tokens=1,
        tolerance=0.1,
        ways=ways,
    )


def measure(worker: FakeWorker, *ways: Way, repeats: int = 3) -> Any:
    return run_workload(
        workload(*ways),
        {"ours": worker},
        folder=Path("somewhere"),
        device="cpu",
        repeats=repeats,
        tell=lambda _: None,
    ).ways


def test_ways_take_turns_and_slow_ones_run_less_often() -> None:
    worker = FakeWorker({})
    ours, peer = measure(
        worker, Way(label="ours", name="a"), Way(label="slow", name="b", most_repeats=1)
    )
    assert worker.asked == ["a", "b", "a", "a", "forget"]
    assert (len(ours.seconds), len(peer.seconds)) == (3, 1)
    assert not ours.failed
    assert not peer.failed


def test_other_numbers_than_ours_are_a_failure() -> None:
    worker = FakeWorker({"near": 1.05, "far": 1.2})
    ways = [Way(label=name, name=name) for name in ("ours", "near", "far")]
    ours, near, far = measure(worker, *ways)
    assert (ours.error, ours.failed, near.failed) == (0.0, "", "")
    assert near.error == pytest.approx(0.05)
    assert far.failed == "expected an error of at most 0.1, got 0.2"


def test_a_broken_way_fails_an_absent_one_does_not_and_neither_is_asked_again() -> None:
    planted = {
        "broken": Missing(reason="broke", broken=True),
        "absent": Missing(reason="not here", broken=False),
    }
    worker = FakeWorker(planted)
    ways = [Way(label=name, name=name) for name in ("ours", *planted)]
    _, broken, absent = measure(worker, *ways, Way(label="peer", name="p", env="peers"))[:3]
    assert (broken.failed, broken.absent) == ("broke", "")
    assert (absent.failed, absent.absent) == ("", "not here")
    assert worker.asked == ["ours", "broken", "absent", "ours", "ours", "forget"]


def test_the_peers_are_absent_without_their_environment() -> None:
    _, peer = measure(
        FakeWorker({}), Way(label="ours", name="a"), Way(label="p", name="p", env="peers")
    )
    assert peer.absent == "without its environment"


@pytest.mark.parametrize(("theirs", "code"), [(1.0, 0), (2.0, 1)])
def test_the_exit_code_tells_whether_all_ways_agree(
    theirs: float, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = FakeWorker({"forward_hugging_face": theirs})
    monkeypatch.setattr(_cli, "Worker", lambda *_, **__: worker)
    monkeypatch.setattr(_cli, "write_checkpoint", lambda shape, folder, device: folder)
    out = tmp_path / "b.json"
    arguments = ["run", "--json", str(out), "--only", "forward", "--no-peers", "--device", "cpu"]
    done = CliRunner().invoke(_cli.app, arguments)
    assert done.exit_code == code, done.output
    assert bool(read_results(out).failures) == bool(code)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--only", "nothing"], "--only among"), (["--quick", "--full"], "one of")],
)
def test_a_wrong_choice_is_refused(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        _cli.app, ["run", "--json", str(tmp_path / "b.json"), "--no-peers", *arguments]
    )
    assert done.exit_code == 2
    assert words in done.output


def test_every_way_that_is_named_exists() -> None:
    from benchmarks.ours import WAYS as OURS
    from benchmarks.peers._ways import WAYS as PEERS

    known = {"ours": OURS, "peers": PEERS}
    for preset in PRESETS.values():
        assert set(preset.questions) <= set(QUESTIONS)
    named = [way for ask in QUESTIONS.values() for each in ask(SHAPE, SIZES) for way in each.ways]
    assert [way.label for way in named if way.name not in known[way.env]] == []


def test_prompts_share_exactly_their_prefix_and_are_the_same_every_time() -> None:
    prompts = random_prompts(20, (12, 30), 300, prefix=8)
    assert prompts == random_prompts(20, (12, 30), 300, prefix=8)
    assert len({tuple(ids[:8]) for ids in prompts}) == 1
    assert len({tuple(ids[:9]) for ids in prompts}) > 1
    assert all(12 <= len(ids) <= 30 for ids in prompts)


def test_the_tokenizer_gives_the_ids_back(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = write_checkpoint(SHAPE, tmp_path / "model")
    assert read_shape(folder) == SHAPE
    ids = random_prompts(1, (9, 9), SHAPE.d_vocab)[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer(text_of(ids))["input_ids"] == ids


@pytest.mark.slow
def test_all_ways_of_our_environment_agree_on_a_tiny_model(tmp_path: Path) -> None:
    folder = write_checkpoint(SHAPE, tmp_path / "model")
    with Worker([sys.executable, "-m", "benchmarks.ours"], threads=1) as worker:
        found = [
            run_workload(
                each,
                {"ours": worker},
                folder=folder,
                device="cpu",
                repeats=1,
                tell=lambda _: None,
            )
            for ask in QUESTIONS.values()
            for each in ask(SHAPE, SIZES)
        ]
    failed = [
        (each.name, way.label, way.failed) for each in found for way in each.ways if way.failed
    ]
    assert failed == []
    assert all(each.ours.seconds for each in found)
    assert sum(len(way.seconds) for each in found for way in each.ways) > 2 * len(found)
