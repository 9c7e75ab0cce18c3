"""Activations on disk: the same ones back, or a clear error; never a half."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from lens_personas.activations import CachedActivations, MismatchError, ReadAt, _files, collect
from lens_personas.hooks import Site
from lens_personas.models import load_model

LAST = ReadAt(span="prompt", take="last")


def assert_same(a, b):
    assert a.sites == b.sites
    for site in a.sites:
        assert torch.equal(a.values[site], b.values[site])
    assert a.prompt_norms.keys() == b.prompt_norms.keys()
    for site in a.prompt_norms:
        torch.testing.assert_close(a.prompt_norms[site], b.prompt_norms[site])
    assert torch.equal(a.n_positions, b.n_positions)
    for name in ("prompt_ids", "prompt_hashes", "layers", "read_at", "provenance", "data_hash"):
        assert getattr(a, name) == getattr(b, name)


@pytest.mark.parametrize("max_shard_bytes", [1, 200, 10**9])
def test_round_trip(made_by_hand, tmp_path, max_shard_bytes):
    made_by_hand.save(tmp_path / "cache", max_shard_bytes=max_shard_bytes)
    assert_same(CachedActivations.load(tmp_path / "cache"), made_by_hand)


def test_shards_keep_to_their_size(made_by_hand, tmp_path):
    made_by_hand.save(tmp_path, max_shard_bytes=2 * 3 * 8 * 4)
    sizes = [load_file(path)["activations"].shape[0] for path in tmp_path.glob("*.safetensors")]
    assert sorted(sizes) == [1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("norms", [False, True])
def test_what_a_model_gave_comes_back(model, prompts, tmp_path, norms):
    read = collect(
        model, prompts, sites=[Site.RESID_POST], layers=[0, 1], read_at=LAST, norms=norms
    )
    read.save(tmp_path)
    assert_same(CachedActivations.load(tmp_path, expected_card=model.card), read)


def test_shared_memory_is_saved_by_value(made_by_hand, tmp_path):
    one = made_by_hand.values[Site.RESID_PRE]
    shared = replace(made_by_hand, values={Site.RESID_PRE: one, Site.MLP_OUT: one})
    shared.save(tmp_path / "shared")
    assert_same(CachedActivations.load(tmp_path / "shared"), shared)
    part = made_by_hand.select(layers=[2])
    part.save(tmp_path / "part")
    whole = sum(v.numel() * 4 for v in part.values.values())
    stored = sum(path.stat().st_size for path in (tmp_path / "part").glob("*.safetensors"))
    assert stored < whole + 1000, "a view took its whole storage along"


def test_a_new_save_leaves_nothing_of_the_old_one(made_by_hand, tmp_path):
    made_by_hand.save(tmp_path, max_shard_bytes=1)
    fewer = made_by_hand.take([4, 0])
    fewer.save(tmp_path)
    assert_same(CachedActivations.load(tmp_path), fewer)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_killed_save_leaves_the_old_one_whole(made_by_hand, tmp_path, monkeypatch, calls):
    made_by_hand.save(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    left, real = [calls], _files.os.replace

    def dies(source, target):
        if not left[0]:
            raise KeyboardInterrupt("killed")
        left[0] -= 1
        real(source, target)

    other = replace(made_by_hand, values={s: v + 1 for s, v in made_by_hand.values.items()})
    monkeypatch.setattr(_files.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        other.save(tmp_path)
    monkeypatch.undo()
    assert_same(CachedActivations.load(tmp_path), made_by_hand)
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*"))
    made_by_hand.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_killed_first_save_is_no_store(made_by_hand, tmp_path, monkeypatch):
    def dies(source, target):
        raise KeyboardInterrupt("killed")

    monkeypatch.setattr(_files.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        made_by_hand.save(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"index\.json.*collect again"):
        CachedActivations.load(tmp_path / "cache")


def test_another_models_activations_are_refused(model, prompts, tmp_path, tiny_gpt2_checkpoint):
    read = collect(model, prompts, sites=[Site.RESID_POST], layers=[0], read_at=LAST)
    read.save(tmp_path)
    other = load_model(tiny_gpt2_checkpoint, device="cpu").card
    with pytest.raises(MismatchError, match=f"{model.card.fingerprint}.*{other.fingerprint}"):
        CachedActivations.load(tmp_path, expected_card=other)
    wider = replace(model.card, d_model=64)
    with pytest.raises(MismatchError, match="d_model=32, expected d_model=64"):
        CachedActivations.load(tmp_path, expected_card=wider)


def test_an_index_that_does_not_fit_its_shards_is_refused(made_by_hand, tmp_path):
    made_by_hand.save(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    index["prompt_ids"].append("one more")
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(MismatchError, match=r"shape \(5, 3, 8\), expected \(6, 3, 8\)"):
        CachedActivations.load(tmp_path)


def test_a_broken_shard_is_refused(made_by_hand, tmp_path):
    made_by_hand.save(tmp_path)
    shard = next(tmp_path.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(MismatchError, match="expected a safetensors file"):
        CachedActivations.load(tmp_path)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(MismatchError, match="format None, expected 'lens_personas"):
        CachedActivations.load(tmp_path)


def test_a_shard_holds_at_least_a_byte(made_by_hand, tmp_path):
    with pytest.raises(ValueError, match="at least 1 byte"):
        made_by_hand.save(tmp_path, max_shard_bytes=0)
