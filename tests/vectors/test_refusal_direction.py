"""Vectors of andyrdt/refusal_direction: the real files, and ones that must not be run."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.vectors import read_mean_differences, read_refusal_direction, read_tensor

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "refusal_direction"
REAL = {"gemma-2b-it": (18, 2048, 10), "qwen-1_8b-chat": (24, 2048, 15)}


@pytest.fixture(params=sorted(REAL))
def real(request):
    folder = DATA / request.param
    if not folder.is_dir():
        pytest.skip(f"the published directions are not at {folder}")
    return folder


def test_the_selected_direction_is_that_row_of_the_differences(real):
    n_layers, d_model, layer = REAL[real.name]
    selected = read_refusal_direction(real, model_id=real.name)
    assert (selected.site, selected.layers) == (Site.RESID_PRE, (layer,))
    assert selected.vectors.shape == (1, d_model)
    assert selected.provenance.span_rule == "post_instruction:-2"
    every = read_mean_differences(real / "mean_diffs.pt", position=-2)
    assert every.layers == tuple(range(n_layers))
    torch.testing.assert_close(selected.at(layer), every.at(layer))
    assert selected.vectors.dtype == torch.float32


def test_a_view_does_not_keep_its_storage(tmp_path):
    torch.save(torch.randn(100, 8, dtype=torch.float64)[3], tmp_path / "direction.pt")
    read = read_tensor(tmp_path / "direction.pt")
    assert read.untyped_storage().nbytes() == 8 * 8


def test_a_position_that_is_not_there_is_refused(tmp_path):
    torch.save(torch.ones(5, 3, 8), tmp_path / "mean_diffs.pt")
    for position in (-6, 0):
        with pytest.raises(ValueError, match="a position from -5 to -1"):
            read_mean_differences(tmp_path / "mean_diffs.pt", position=position)


def test_a_direction_of_another_rank_is_refused(tmp_path):
    torch.save(torch.ones(5, 8), tmp_path / "direction.pt")
    (tmp_path / "direction_metadata.json").write_text(json.dumps({"pos": -1, "layer": 2}))
    with pytest.raises(ValueError, match=r"expected a tensor \[d_model\].*\(5, 8\)"):
        read_refusal_direction(tmp_path)


class Payload:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_payload_is_refused_and_does_not_run(tmp_path, how):
    path, trace = tmp_path / "direction.pt", tmp_path / "it-ran"
    if how == "torch":
        torch.save({"direction": torch.ones(8), "x": Payload(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(trace), protocol=2))
    with pytest.raises(ValueError, match="cannot be read without running its code"):
        read_tensor(path)
    assert not trace.exists()


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"direction": torch.ones(8)}, tmp_path / "direction.pt")
    with pytest.raises(ValueError, match="hold one tensor, got dict"):
        read_tensor(tmp_path / "direction.pt")
    (tmp_path / "direction.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="refused"):
        read_tensor(tmp_path / "direction.pt")
