"""Every cell is computed once, by whoever comes first, and taken over from the dead."""

import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses._alive import is_alive
from analyses._cells import Cell, Finished, Shard, canonical_json, content_hash, make_cell
from analyses._engine import kept_alive
from analyses._entries import LedgerError
from analyses._ledger import Ledger


def cells(n: int, *, chained: bool = False) -> tuple[Cell, ...]:
    made: list[Cell] = []
    for at in range(n):
        needs = tuple(made[-1:]) if chained else ()
        made.append(make_cell("vector", {"name": f"v{at}"}, needs, context="c"))
    return tuple(made)


def shard(cell: Cell) -> Finished:
    return Finished(key=cell.key, shard=Shard(path=cell.path, sha256="0" * 64, rows=1), seconds=0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = Ledger(path, new=True)
    yield opened
    opened.close()


def statuses(ledger: Ledger) -> list[str]:
    return [entry.status for entry in ledger.entries()]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).filter(lambda value: "inf" not in repr(value))
)
def test_a_hash_does_not_hang_on_the_order_of_keys(value: object) -> None:
    def turned(each: object) -> object:
        if isinstance(each, dict):
            return {key: turned(each[key]) for key in reversed(each)}
        return [turned(one) for one in each] if isinstance(each, list) else each

    assert content_hash(value) == content_hash(turned(value))


def test_a_hash_has_no_room_for_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"layer": float("nan")})


def test_a_key_hangs_on_kind_spec_needs_and_context() -> None:
    first = make_cell("vector", {"name": "a"}, context="c")
    others = [
        make_cell("norms", {"name": "a"}, context="c"),
        make_cell("vector", {"name": "b"}, context="c"),
        make_cell("vector", {"name": "a"}, (first,), context="c"),
        make_cell("vector", {"name": "a"}, context="d"),
    ]
    assert len({cell.key for cell in (first, *others)}) == 5
    assert first == make_cell("vector", {"name": "a"}, context="c")


def test_cells_are_claimed_in_order_and_only_when_their_needs_are_there(ledger: Ledger) -> None:
    chain = cells(3, chained=True)
    ledger.add(chain)
    for cell in chain:
        assert ledger.claim() == cell
        assert ledger.claim() is None, "a cell was claimed before what it needs was there"
        assert ledger.finish(shard(cell))
    assert ledger.claim() is None
    assert statuses(ledger) == ["done"] * 3
    assert ledger.done(chain[1].key).shard == shard(chain[1]).shard


def test_cells_that_are_there_stay_as_they_are(ledger: Ledger) -> None:
    both = cells(2)
    ledger.add(both)
    ledger.finish(shard(ledger.claim()))
    ledger.add((*both, make_cell("norms", {}, context="c")))
    assert statuses(ledger) == ["done", "waiting", "waiting"]


def test_a_failed_cell_stays_until_it_is_tried_again(ledger: Ledger) -> None:
    ledger.add(cells(1))
    ledger.fail(ledger.claim().key, "too long")
    assert ledger.claim() is None
    (entry,) = ledger.entries()
    assert (entry.status, entry.error) == ("failed", "too long")
    ledger.retry_failed()
    assert ledger.claim() is not None
    assert ledger.entries()[0].attempts == 2


def test_a_cell_that_was_given_back_or_opened_again_is_free(ledger: Ledger) -> None:
    (cell,) = cells(1)
    ledger.add([cell])
    ledger.claim()
    assert ledger.held() == (cell.key,)
    ledger.release(cell.key)
    assert ledger.held() == ()
    ledger.finish(shard(ledger.claim()))
    ledger.reopen(cell.key)
    assert ledger.entries()[0].shard is None
    assert ledger.claim() == cell


def test_a_lease_that_ran_out_is_taken_over_and_the_late_result_is_refused(path: Path) -> None:
    late, next_one = Ledger(path, new=True, lease_s=0.05), Ledger(path)
    (cell,) = cells(1)
    late.add([cell])
    assert late.claim() == cell
    assert next_one.claim() is None
    time.sleep(0.06)
    assert next_one.claim() == cell
    assert not late.finish(shard(cell))
    assert statuses(late) == ["running"]
    assert next_one.finish(shard(cell))
    late.close()
    next_one.close()


def test_a_lease_is_renewed_while_the_work_goes_on(path: Path) -> None:
    worker, other = Ledger(path, new=True, lease_s=2.0), Ledger(path)
    worker.add(cells(1))
    worker.claim()
    (before,) = worker.entries()
    give_up = time.monotonic() + 60
    with kept_alive(worker):
        while worker.entries()[0].lease_until == before.lease_until:
            assert time.monotonic() < give_up, "the lease was never renewed"
            time.sleep(0.05)
    assert other.claim() is None
    worker.close()
    other.close()


def test_what_a_dead_process_held_is_free_at_once(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = Ledger(path, new=True, owner=f"{socket.gethostname()}:{child.pid}:x")
    ledger = Ledger(path)
    dead.add(cells(1))
    dead.claim()
    assert ledger.free_dead() == (), "it is alive"
    child.kill()
    child.communicate()
    assert ledger.free_dead() == (dead.owner,)
    assert ledger.claim() is not None
    dead.close()
    ledger.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_that_nobody_has_asked_after_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = f"{socket.gethostname()}:{child.pid}:x"
    assert is_alive(owner)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(owner)
    child.communicate()


def test_of_another_machine_s_process_nothing_is_known() -> None:
    assert is_alive("elsewhere:999999999:x")


def test_facts_may_change_until_there_are_cells(ledger: Ledger) -> None:
    assert ledger.about("settings") is None
    assert ledger.begin({"settings": {"seed": 0}}) == {"settings": {"seed": 0}}
    assert ledger.begin({"settings": {"seed": 1}}) == {"settings": {"seed": 1}}
    assert ledger.note("model", "m") == "m"
    ledger.add(cells(1))
    assert ledger.begin({"settings": {"seed": 2}}) == {"settings": {"seed": 1}}
    assert ledger.note("model", "other") == "m"


def _claim_all(path: Path, n: int) -> list[str]:
    ledger = Ledger(path, new=True)
    ledger.add(cells(n))
    claimed = []
    while (cell := ledger.claim()) is not None:
        claimed.append(cell.key)
        ledger.finish(shard(cell))
    ledger.close()
    return claimed


def test_threads_claim_each_cell_once(path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(_claim_all, [path] * 4, [40] * 4))
    assert Counter(itertools.chain(*claimed)) == Counter(cell.key for cell in cells(40))


@pytest.mark.slow
def test_processes_that_begin_together_claim_each_cell_once(path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        claimed = pool.starmap(_claim_all, [(path, 60)] * 3, chunksize=1)
    assert Counter(itertools.chain(*claimed)) == Counter(cell.key for cell in cells(60))


@pytest.mark.parametrize("left", [0, 100, 5000])
def test_a_ledger_that_was_cut_off_is_said(path: Path, left: int) -> None:
    ledger = Ledger(path, new=True)
    ledger.add(cells(60))
    ledger.close()
    assert path.stat().st_size > 5000
    with path.open("r+b") as file:
        file.truncate(left)
    with pytest.raises(LedgerError, match=r"expected a whole ledger at .*choose another --out"):
        Ledger(path)


def test_what_is_no_ledger_is_said(path: Path) -> None:
    with pytest.raises(LedgerError, match="expected the ledger of a run, found none"):
        Ledger(path)
    path.write_text("a thesis, of more than a hundred characters " * 100, encoding="utf-8")
    with pytest.raises(LedgerError, match=r"expected a whole ledger .*not a database"):
        Ledger(path)
