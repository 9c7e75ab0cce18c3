"""A vector on disk: the same one back, or an error that says both sides."""

import json
import pickle
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lens_personas.activations import MismatchError, _files
from lens_personas.hooks import Site
from lens_personas.vectors import load_vector, save_vector, statement_vector


def assert_same(a, b):
    assert torch.equal(a.vectors, b.vectors)
    torch.testing.assert_close(a.resid_norms, b.resid_norms, equal_nan=True)
    for name in a.__dataclass_fields__:
        if name not in ("vectors", "resid_norms"):
            assert getattr(a, name) == getattr(b, name), name


def test_round_trip(vector, tmp_path):
    save_vector(vector, tmp_path / "v.safetensors")
    assert_same(load_vector(tmp_path / "v.safetensors"), vector)


def test_what_is_not_known_stays_unknown(vector, tmp_path):
    unknown = replace(
        vector,
        n_to=None,
        resid_norms=torch.full((2,), torch.nan),
        normalised=True,
        provenance=replace(vector.provenance, **dict.fromkeys(asdict(vector.provenance))),
    )
    save_vector(unknown, tmp_path / "v.safetensors")
    assert_same(load_vector(tmp_path / "v.safetensors"), unknown)


def test_the_header_says_what_it_is(vector, tmp_path):
    save_vector(vector, tmp_path / "v.safetensors")
    with safe_open(tmp_path / "v.safetensors", framework="pt") as opened:
        header = opened.metadata()
    assert header["format"] == "lens_personas/1"
    assert (header["from"], header["to"]) == ("not careful", "careful")
    assert (header["site"], json.loads(header["layers"])) == ("resid_post", [1, 3])
    assert (header["model_id"], header["fingerprint"]) == ("made-by-hand", "f0")
    assert (header["seed"], header["normalised"], header["n_from"]) == ("3", "false", "7")


def test_a_vector_of_the_model_loads_for_it(model, persona, tmp_path):
    fitted = statement_vector(model, persona, layers=[0, 2])
    save_vector(fitted, tmp_path / "v.safetensors")
    loaded = load_vector(tmp_path / "v.safetensors", for_card=model.card, for_site=Site.RESID_POST)
    assert_same(loaded, fitted)


def test_another_model_site_or_shape_is_refused(model, persona, tmp_path):
    path = tmp_path / "v.safetensors"
    save_vector(statement_vector(model, persona, layers=[0, 2]), path)
    other = replace(model.card, fingerprint="another", model_id="other")
    with pytest.raises(MismatchError, match=f"fingerprint='{model.card.fingerprint}'.*'another'"):
        load_vector(path, for_card=other)
    assert load_vector(path, for_card=other, allow_mismatch=["fingerprint"]).layers == (0, 2)
    with pytest.raises(MismatchError, match="d_model=32, expected d_model=64"):
        load_vector(path, for_card=replace(model.card, d_model=64))
    with pytest.raises(MismatchError, match=r"n_layers=3.*n_layers=2"):
        load_vector(path, for_card=replace(model.card, n_layers=2))
    shallow = replace(model.card, n_layers=2)
    with pytest.raises(MismatchError, match=r"layers \[2\], expected layers below 2"):
        load_vector(path, for_card=shallow, allow_mismatch=["n_layers"])
    with pytest.raises(MismatchError, match="read at resid_post, expected mlp_out"):
        load_vector(path, for_site=Site.MLP_OUT)
    assert load_vector(path, for_site=Site.MLP_OUT, allow_mismatch=["site"]).name == "careful"


def test_another_template_is_refused(model, vector, tmp_path):
    known = {f: getattr(model.card, f) for f in asdict(vector.provenance) if hasattr(model.card, f)}
    mine = replace(vector, provenance=replace(vector.provenance, **known), layers=(0, 1))
    save_vector(mine, tmp_path / "v.safetensors")
    other = replace(model.card, chat_template_hash=None)
    with pytest.raises(
        MismatchError, match=r"chat_template_hash=.*expected chat_template_hash=None"
    ):
        load_vector(tmp_path / "v.safetensors", for_card=other)


def test_a_killed_write_leaves_nothing(vector, tmp_path, monkeypatch):
    def dies(source, target):
        raise KeyboardInterrupt("killed")

    monkeypatch.setattr(_files.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        save_vector(vector, tmp_path / "v.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_write_leaves_the_old_vector(vector, tmp_path, monkeypatch):
    path = tmp_path / "v.safetensors"
    save_vector(vector, path)

    def dies(source, target):
        raise KeyboardInterrupt("killed")

    monkeypatch.setattr(_files.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        save_vector(replace(vector, name="new"), path)
    assert_same(load_vector(path), vector)
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_of_a_large_tensor_is_saved_alone(vector, tmp_path):
    large = torch.zeros(1000, 2, 32)
    large[7] = vector.vectors
    save_vector(replace(vector, vectors=large[7]), tmp_path / "v.safetensors")
    assert (tmp_path / "v.safetensors").stat().st_size < 5000


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("the pickle ran",))


def test_a_pickle_is_refused_and_does_not_run(tmp_path):
    path = tmp_path / "v.safetensors"
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="a pickle is never run"):
        load_vector(path)


def test_files_of_others_are_refused(tmp_path):
    save_file({"vectors": torch.ones(1, 2)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match=r"expected format 'lens_personas/1'.*got None"):
        load_vector(tmp_path / "bare.safetensors")
    save_file(
        {"vectors": torch.ones(1, 2)},
        tmp_path / "half.safetensors",
        metadata={"format": "lens_personas/1"},
    )
    with pytest.raises(ValueError, match=r"expected \['resid_norms', 'name'"):
        load_vector(tmp_path / "half.safetensors")
    with pytest.raises(FileNotFoundError, match="expected a vector file"):
        load_vector(tmp_path / "none.safetensors")


def test_another_ending_is_refused(vector, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        save_vector(vector, tmp_path / "v.pt")
