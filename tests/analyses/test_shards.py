"""Shards are whole or absent, and a change of a byte is seen."""

import errno
import os
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
import torch

from analyses._cells import Cell, Done, make_cell
from analyses._contents import Contents, answers_table, fitted_tensors, tokens_table
from analyses._disk import DiskFullError, full_disk_said, network_type
from analyses._shards import BrokenShardError, Content, Tensors, read_shard, write_shard
from analyses._vectors import FittedVector
from lens_personas.geometry import SplitHalf
from lens_personas.hooks import Site
from lens_personas.models import Generation
from lens_personas.readouts import RefusalTokens
from lens_personas.vectors import SteeringVector, VectorProvenance

TABLE_CELL = make_cell("sweep", {"treatment": "plus", "layer": 1}, context="c")
TENSOR_CELL = make_cell("lens", {}, context="c")
TABLE = pd.DataFrame({"score": [1.5, float("nan")], "label": ["refusal", None]})
TENSORS = Tensors(tensors={"x": torch.arange(6.0).reshape(2, 3)[:, 1:]}, about={"n": 2})


def kept(folder: Path, cell: Cell, content: Content) -> Content:
    return read_shard(folder, Done(cell=cell, shard=write_shard(folder, cell, content)))


def through_disk(folder: Path, cell: Cell, content: Content) -> Contents:
    return Contents(read=((cell, kept(folder, cell, content)),))


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(kept(tmp_path, TABLE_CELL, TABLE), TABLE)


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    found = kept(tmp_path, TENSOR_CELL, TENSORS)
    assert isinstance(found, Tensors)
    assert torch.equal(found.tensors["x"], TENSORS.tensors["x"])
    assert found.about == TENSORS.about
    assert kept(tmp_path, TENSOR_CELL, Tensors(tensors={}, about={"n": 0})).about == {"n": 0}


@pytest.mark.parametrize(("cell", "content"), [(TABLE_CELL, TABLE), (TENSOR_CELL, TENSORS)])
def test_the_same_result_is_the_same_file(tmp_path: Path, cell: Cell, content: Content) -> None:
    assert write_shard(tmp_path / "a", cell, content) == write_shard(tmp_path / "b", cell, content)


def test_a_changed_byte_and_a_missing_file_are_seen(tmp_path: Path) -> None:
    done = Done(cell=TABLE_CELL, shard=write_shard(tmp_path, TABLE_CELL, TABLE))
    path = tmp_path / done.shard.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BrokenShardError, match=r"results/sweep-.* is not what was written"):
        read_shard(tmp_path, done)
    path.unlink()
    with pytest.raises(BrokenShardError, match=r"results/sweep-.* is missing") as caught:
        read_shard(tmp_path, done)
    assert caught.value.key == TABLE_CELL.key


def test_a_full_disk_leaves_no_half_file_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(DiskFullError, match="is full; free some space and give the same command"),
        full_disk_said(tmp_path),
    ):
        write_shard(tmp_path, TABLE_CELL, TABLE)
    assert list((tmp_path / "results").iterdir()) == []


def test_a_ledger_on_a_full_disk_says_the_same(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="is full"), full_disk_said(tmp_path):
        raise sqlite3.OperationalError("database or disk is full")
    with pytest.raises(sqlite3.OperationalError, match="locked"), full_disk_said(tmp_path):
        raise sqlite3.OperationalError("database is locked")
    with pytest.raises(FileNotFoundError, match="x"), full_disk_said(tmp_path):
        raise FileNotFoundError("x")


def test_a_network_disk_is_told_from_a_local_one(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\n"
        "server:/a /net nfs4 rw 0 0\n"
        "/dev/sdb /net/fast xfs rw 0 0\n"
        "//host/b /my\\040share cifs rw 0 0\n",
        encoding="utf-8",
    )
    places = {"/home/x": None, "/net/x": "nfs4", "/net/fast/x": None, "/my share/x": "cifs"}
    for place, kind in places.items():
        assert network_type(Path(place), mounts) == kind, place
    assert network_type(Path("/network"), mounts) is None, "no part of /net"
    assert network_type(Path("/net"), tmp_path / "none") is None


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    answers = [
        Generation(prompt_id="a", ids=(3, 1), text="yes it is", finished=True),
        Generation(prompt_id="b", ids=(), text="", finished=False),
    ]
    cell = make_cell("answers", {"part": 0}, context="c")
    found = through_disk(tmp_path, cell, answers_table(answers))
    assert found.answers == {answer.prompt_id: answer for answer in answers}


def test_opening_tokens_come_back_as_they_were(tmp_path: Path) -> None:
    tokens = RefusalTokens(
        token_ids=(4, 2),
        tokens=(" I", "</s>"),
        source="derived",
        rule="openings",
        n_refused=3,
        n_answered=0,
        coverage=0.1 + 0.2,
        false_share=1.0,
        prompt_ids=frozenset({"a", "b"}),
    )
    cell = make_cell("tokens", {}, context="c")
    assert through_disk(tmp_path, cell, tokens_table(tokens, found=True)).tokens == (tokens, True)
    assert through_disk(tmp_path, cell, tokens_table(None, found=False)).tokens == (None, False)


def test_a_vector_comes_back_as_it_was(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    vector = SteeringVector(
        name="kind",
        vectors=torch.randn(2, 8, generator=generator),
        layers=(1, 4),
        site=Site.RESID_POST,
        from_label="not kind",
        to_label="kind",
        method="difference of means",
        n_from=3,
        n_to=None,
        resid_norms=torch.tensor([2.0, float("nan")]),
        normalised=False,
        provenance=VectorProvenance(
            model_id="m",
            revision=None,
            fingerprint="f",
            n_layers=6,
            tokenizer_hash="t",
            chat_template_hash=None,
            transformer_lens_version="3",
            backend="bridge",
            weight_processing="none",
            dtype="float32",
            span_rule="last",
            seed=0,
            data_hash="d",
            package_version="0",
        ),
    )
    half = SplitHalf(mean=0.1 + 0.2, low=-1.0, high=1 / 3, corrected=0.5)
    fitted = FittedVector(vector=vector, halves={1: half, 4: half})
    cell = make_cell("vector", {"name": "kind"}, context="c")
    found = through_disk(tmp_path, cell, fitted_tensors(fitted)).vectors["kind"]
    assert found.halves == fitted.halves
    assert torch.equal(found.vector.vectors, vector.vectors)
    assert torch.equal(found.vector.resid_norms.isnan(), vector.resid_norms.isnan())
    for name in ("layers", "site", "from_label", "n_from", "n_to", "normalised", "provenance"):
        assert getattr(found.vector, name) == getattr(vector, name)
