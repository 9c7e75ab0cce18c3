"""Activations written as they come: the same ones, whatever kills the process between."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lens_personas.activations import (
    CachedActivations,
    MismatchError,
    ReadAt,
    collect,
    collect_to_disk,
    open_activations,
)
from lens_personas.hooks import Site
from lens_personas.models import Prompt

ROOT = Path(__file__).resolve().parents[2]
LAST = ReadAt(span="prompt", take="last")
ASKED = {
    "sites": [Site.RESID_POST, Site.MLP_OUT],
    "layers": [2, 0],
    "read_at": LAST,
    "norms": True,
}
# Every batch is a part.
PARTS = {"token_budget": 30, "part_bytes": 1}
KILLED = """
import os, signal, sys
from lens_personas.activations import ReadAt, _files, collect_to_disk
from lens_personas.hooks import Site
from lens_personas.models import Prompt, load_model

left, real = [int(sys.argv[3])], os.replace

def dies(source, target):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)

_files.os.replace = dies
prompts = [
    Prompt(
        prompt_id=str(n), ids=(*range(3, 6 + n),), prompt_length=3 + n,
        spans={"prompt": (0, 3 + n)}, text="",
    )
    for n in range(9)
]
model = load_model(sys.argv[1], backend=sys.argv[4], device="cpu")
collect_to_disk(
    model, prompts, sys.argv[2], sites=[Site.RESID_POST], layers=[1],
    read_at=ReadAt(span="prompt", take="last"), token_budget=20, part_bytes=1,
)
"""


def assert_same(a, b):
    assert a.sites == b.sites
    for site in a.sites:
        torch.testing.assert_close(a.values[site], b.values[site], atol=1e-4, rtol=1e-4)
    assert a.prompt_norms.keys() == b.prompt_norms.keys()
    for site in a.prompt_norms:
        torch.testing.assert_close(a.prompt_norms[site], b.prompt_norms[site], atol=1e-4, rtol=1e-4)
    assert torch.equal(a.n_positions, b.n_positions)
    for name in ("prompt_ids", "prompt_hashes", "layers", "read_at", "provenance", "data_hash"):
        assert getattr(a, name) == getattr(b, name)


@pytest.fixture
def whole(model, prompts):
    return collect(model, prompts, **ASKED)


def test_it_is_what_memory_would_hold_in_prompt_order(model, prompts, tmp_path, whole):
    stored = collect_to_disk(model, prompts, tmp_path / "new", **ASKED, **PARTS)
    assert len(stored.part_rows) > 2
    for again in (stored, open_activations(tmp_path / "new")):
        assert_same(again.load(), whole)
        torch.testing.assert_close(
            again.at(Site.MLP_OUT, 2), whole.at(Site.MLP_OUT, 2), atol=1e-4, rtol=1e-4
        )
        for rows, part in zip(again.part_rows, again.parts(), strict=True):
            assert_same(part, whole.take(rows))


def test_a_part_holds_what_it_was_given_at_least(model, prompts, tmp_path):
    stored = collect_to_disk(model, prompts, tmp_path, **ASKED, token_budget=60)
    assert len(stored.part_rows) == 1


def test_finished_parts_are_kept_and_the_rest_is_made_anew(
    model, prompts, tmp_path, whole, monkeypatch
):
    stored = collect_to_disk(model, prompts, tmp_path, **ASKED, **PARTS)
    lost = tmp_path / "part-000001"
    (lost / "index.json").unlink()
    (lost / ".half.tmp").write_text("what a kill left")
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    with pytest.raises(FileNotFoundError, match=r"lacks part-000001 \(1 missing\)"):
        open_activations(tmp_path)
    ran, seen = [], []

    def counted(model, prompts, **asked):
        ran.append(len(prompts))
        return collect(model, prompts, **asked)

    monkeypatch.setattr("lens_personas.activations._disk.collect", counted)
    again = collect_to_disk(
        model, prompts, tmp_path, **ASKED, progress=lambda done, total: seen.append((done, total))
    )
    assert ran == [len(stored.part_rows[1])]
    assert seen[-1] == (len(prompts), len(prompts))
    assert_same(again.load(), whole)
    assert not list(lost.glob(".*"))
    for path, written in kept.items():
        assert path.parent == lost or path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [0, 2]}, r"layers=\[2, 0\], expected \[0, 2\]"),
        ({"sites": [Site.RESID_POST]}, r"sites=\['resid_post', 'mlp_out'\]"),
        ({"read_at": ReadAt(span="user", take="last")}, "read_at=.*'prompt'.*expected .*'user'"),
        ({"norms": False}, "norms=True, expected False"),
    ],
)
def test_another_request_is_not_mixed_in(model, prompts, tmp_path, change, message):
    collect_to_disk(model, prompts, tmp_path, **ASKED)
    with pytest.raises(MismatchError, match=message):
        collect_to_disk(model, prompts, tmp_path, **(ASKED | change))


def test_other_prompts_and_models_are_not_mixed_in(model, prompts, tmp_path):
    collect_to_disk(model, prompts, tmp_path, **ASKED)
    with pytest.raises(MismatchError, match="data_hash="):
        collect_to_disk(model, prompts[::-1], tmp_path, **ASKED)
    other = replace(model, card=replace(model.card, fingerprint="another"))
    with pytest.raises(MismatchError, match=r"fingerprint=.* expected 'another'"):
        collect_to_disk(other, prompts, tmp_path, **ASKED)


def test_a_folder_of_something_else_is_left_alone(model, prompts, tmp_path, made_by_hand):
    made_by_hand.save(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MismatchError, match=r"no collection\.json; choose another folder"):
        collect_to_disk(model, prompts, tmp_path, **ASKED)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(MismatchError, match="choose another folder"):
        open_activations(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"it lacks collection\.json"):
        open_activations(tmp_path / "nothing")


@pytest.mark.parametrize("harm", ["cut", "changed", "lost"])
def test_a_broken_shard_is_said_by_whoever_meets_it(model, prompts, tmp_path, harm):
    stored = collect_to_disk(model, prompts, tmp_path, **ASKED, **PARTS)
    shard = next((tmp_path / "part-000001").glob("resid_post-*.safetensors"))
    content = shard.read_bytes()
    if harm == "lost":
        shard.unlink()
    else:
        shard.write_bytes(content[:-4] if harm == "cut" else content[:-1] + b"!")
    with pytest.raises(MismatchError, match=f"{shard.name}.*collect again"):
        collect_to_disk(model, prompts, tmp_path, **ASKED, **PARTS)
    if harm != "changed":
        with pytest.raises(MismatchError, match=f"{shard.name}.*collect again"):
            stored.load()
        with pytest.raises(MismatchError, match=f"{shard.name}.*collect again"):
            stored.at(Site.RESID_POST, 0)


def test_a_place_that_was_not_read_is_named(model, prompts, tmp_path):
    stored = collect_to_disk(model, prompts, tmp_path, **ASKED)
    with pytest.raises(ValueError, match=r"layers \[2, 0\], got 'resid_post' and 1"):
        stored.at(Site.RESID_POST, 1)


# 1: the plan, 2: the first shard, 3: the index that ends the first part, 8: further on.
@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 2, 3, 8])
def test_a_killed_process_is_gone_on_with(tiny_checkpoint, model, backend, tmp_path, killed_at):
    folder = tmp_path / "collection"
    command = [sys.executable, "-c", KILLED, str(tiny_checkpoint), str(folder), str(killed_at)]
    done = subprocess.run([*command, backend], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    finished = sorted(path.parent.name for path in folder.glob("part-*/index.json"))
    assert len(finished) == max(killed_at - 2, 0) // 2
    for path in folder.glob("part-*/index.json"):
        CachedActivations.load(path.parent)
    prompts = [
        Prompt(
            prompt_id=str(n),
            ids=(*range(3, 6 + n),),
            prompt_length=3 + n,
            spans={"prompt": (0, 3 + n)},
            text="",
        )
        for n in range(9)
    ]
    asked = {"sites": [Site.RESID_POST], "layers": [1], "read_at": LAST}
    stored = collect_to_disk(model, prompts, folder, **asked, token_budget=20, part_bytes=1)
    assert len(stored.part_rows) > 3
    assert_same(replace(stored.load(), prompt_norms={}), collect(model, prompts, **asked))
    assert not list(folder.glob("part-*/.*"))
    assert json.loads((folder / "collection.json").read_text())["n_prompts"] == 9
