"""Results files, ratios, and the page that is made of them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks._compare import largest_error
from benchmarks._results import (
    Results,
    WayResult,
    WorkloadResult,
    read_results,
    write_results,
)
from benchmarks._table import END, START, cells, markdown, put_into, terminal_tables


def way(label: str, *seconds: float, failed: str = "", absent: str = "") -> WayResult:
    return WayResult(
        label=label,
        seconds=seconds,
        memory=3 * 2**20 if seconds else None,
        max_rss=2**30 if seconds else None,
        gemm_peak=1e9 if seconds else None,
        error=0.0 if seconds else None,
        failed=failed,
        absent=absent,
    )


def results(*ways: WayResult, name: str = "extraction/plain") -> Results:
    workload = WorkloadResult(
        name=name,
        title="vectors",
        shape="2 layers × 8",
        flops=10**9,
        tokens=100,
        tolerance=1e-3,
        ways=ways,
    )
    machine = {
        "cpu": "A Processor",
        "cores": 2,
        "memory_gib": 4,
        "system": "Linux x86_64",
        "python": "3.11.0",
        "threads": 1,
        "device": "cpu",
    }
    return Results(
        preset="quick",
        date="2026-01-02",
        seconds=90.0,
        machine=machine,
        versions={"ours": {"torch": "2.13.0"}},
        workloads=(workload,),
    )


def test_ratio_and_efficiency_are_of_medians() -> None:
    ours, peer = way("ours", 2.0, 9.0, 1.0), way("peer", 8.0, 3.0, 4.0)
    workload = results(ours, peer).workloads[0]
    assert workload.ratio(peer) == 2.0
    assert workload.ratio(ours) == 1.0
    assert workload.efficiency(ours) == 0.5
    assert workload.efficiency(peer) == 0.25


def test_what_did_not_run_has_no_ratio_and_says_why() -> None:
    gone = way("peer", absent="not on this machine")
    workload = results(way("ours", 1.0), gone).workloads[0]
    assert workload.ratio(gone) is None
    assert workload.efficiency(gone) is None
    assert cells(workload, gone)[1] == "not on this machine"


def test_a_results_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = results(way("ours", 1.0, 2.0), way("peer", failed="broke"))
    write_results(written, tmp_path / "b.json")
    assert read_results(tmp_path / "b.json") == written


@pytest.mark.parametrize("text", ["[1]", "{}", "not json", '{"workloads": [{"ways": [{}]}]}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="expected a results file"):
        read_results(tmp_path / "b.json")


def test_the_page_names_the_machine_the_ratio_and_every_failure(tmp_path: Path) -> None:
    text = markdown(results(way("ours", 1.0), way("a peer", 4.0, failed="other numbers")))
    assert "A Processor, 2 cores, 4 GiB, 1 thread" in text
    assert "torch 2.13.0" in text
    assert "| a peer | 4 | 4 | 4.00 | 25 | 25% | 3 | **other numbers** |" in text
    assert "- extraction/plain: a peer: other numbers" in text
    assert "What failed" not in markdown(results(way("ours", 1.0), way("a peer", 4.0)))


def test_a_curve_has_a_line_a_point() -> None:
    text = markdown(results(way("ours", 2.0), name="scaling/prompts 16"))
    assert "| prompts 16 | 1 | 2 | 50% |" in text


def test_the_terminal_shows_the_same_lines() -> None:
    found = results(way("ours", 1.0), way("a peer", 4.0))
    (table,) = terminal_tables(found)
    lines = list(zip(*(column.cells for column in table.columns), strict=True))
    workload = found.workloads[0]
    assert lines == [cells(workload, each) for each in workload.ways]


def test_the_prose_around_the_table_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{START}\nold\n{END}\nAfter.\n", encoding="utf-8")
    put_into(page, "new")
    put_into(page, "newer")
    assert page.read_text(encoding="utf-8") == f"Before.\n{START}\n\nnewer\n\n{END}\nAfter.\n"


@pytest.mark.parametrize("text", ["no place", f"{END}\n{START}", f"{START}\n{START}\n{END}"])
def test_a_page_without_a_place_is_left_alone(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md to have the lines"):
        put_into(page, "new")
    assert page.read_text(encoding="utf-8") == text


def test_errors_are_shares_of_our_largest_value() -> None:
    ours = {"v": np.array([0.0, -4.0])}
    assert largest_error(ours, {"v": np.array([1.0, -4.0])}) == 0.25
    assert largest_error(ours, {"v": np.array([math.nan, -4.0])}) == 0.0
    tokens = {"t": np.array([1, 2, 3, 4])}
    assert largest_error(tokens, {"t": np.array([1, 2, 3, 5])}) == 0.25


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"w": [1.0]}, "an array among"),
        ({"v": [[1.0]]}, "shape"),
        ({"v": [math.nan]}, "finite values"),
    ],
)
def test_what_cannot_be_compared_is_an_error(theirs: dict[str, list[float]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        largest_error({"v": np.array([1.0])}, {k: np.array(v) for k, v in theirs.items()})


def test_our_own_nan_is_an_error() -> None:
    with pytest.raises(ValueError, match="finite values"):
        largest_error({"v": np.array([math.nan, 1.0])}, {"v": np.array([0.0, 1.0])})


def test_a_results_file_holds_no_place_of_this_machine(tmp_path: Path) -> None:
    from benchmarks._machine import describe

    said = json.dumps(describe(threads=1, device="cpu"))
    assert str(Path.home()) not in said
    assert str(Path.cwd()) not in said
