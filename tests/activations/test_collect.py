"""Reading from a model: the right tensor, whatever the batching."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from lens_personas.activations import ReadAt, collect, residual_norms
from lens_personas.activations._collect import collect_batches
from lens_personas.hooks import Edit, Site
from lens_personas.models import batches, load_model

LAST = ReadAt(span="prompt", take="last")
MEAN = ReadAt(span="user", take="mean")
LAYERS = (0, 2)
SITES = (Site.RESID_PRE, Site.RESID_MID, Site.RESID_POST, Site.ATTN_OUT, Site.MLP_OUT)


def shifted(value):
    def shift(activation, /, *, hook):
        return activation + value

    return shift


def close(a, b):
    assert a.prompt_norms.keys() == b.prompt_norms.keys()
    for site in a.sites:
        torch.testing.assert_close(a.values[site], b.values[site], atol=1e-4, rtol=1e-4)
    for site in a.prompt_norms:
        torch.testing.assert_close(a.prompt_norms[site], b.prompt_norms[site], atol=1e-4, rtol=1e-4)


def test_layers_are_the_hidden_states_of_transformers(model, prompts, tiny_checkpoint):
    reference = AutoModelForCausalLM.from_pretrained(tiny_checkpoint, dtype=torch.float32)
    n_layers = model.card.n_layers
    read = collect(
        model, prompts, sites=[Site.RESID_PRE, Site.RESID_POST], layers=range(n_layers),
        read_at=LAST,
    )  # fmt: skip
    for row, prompt in enumerate(prompts):
        ids = torch.tensor([prompt.ids[: prompt.prompt_length]])
        with torch.no_grad():
            out = reference(ids, output_hidden_states=True)
        hidden = torch.stack(out.hidden_states)[:, 0, -1]
        torch.testing.assert_close(
            read.values[Site.RESID_PRE][row], hidden[:-1], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            read.values[Site.RESID_POST][row, :-1], hidden[1:-1], atol=1e-4, rtol=1e-4
        )
        last = read.values[Site.RESID_POST][row, -1:]
        # transformers' last entry is after the final norm: ours must not be.
        assert not torch.allclose(last[0], hidden[-1], atol=1e-2)
        torch.testing.assert_close(model.logits(last), out.logits[0, -1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("sites", [SITES, [Site.RESID_POST]])
@pytest.mark.parametrize("read_at", [LAST, MEAN, ReadAt(span="answer", take="last")])
def test_streamed_is_one_batch_is_single(model, prompts, read_at, sites, norms):
    def read(token_budget):
        return collect(
            model,
            prompts,
            sites=sites,
            layers=LAYERS,
            read_at=read_at,
            norms=norms,
            token_budget=token_budget,
        )

    whole = read(100_000)
    assert whole.prompt_ids == tuple(p.prompt_id for p in prompts)
    close(read(60), whole)
    close(read(1), whole)


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("read_at", [LAST, MEAN])
def test_left_padding_is_right_padding(model, prompts, read_at, norms):
    left, right = (
        collect_batches(
            model,
            prompts,
            list(batches(prompts, pad_id=0, token_budget=100_000, side=side)),
            sites=[Site.RESID_POST],
            layers=LAYERS,
            read_at=read_at,
            norms=norms,
        )
        for side in ("left", "right")
    )
    close(left, right)


@pytest.mark.parametrize("read_at", [LAST, MEAN])
def test_norms_change_no_value_and_are_asked_for(model, prompts, read_at):
    asked = {"sites": [Site.RESID_PRE, Site.RESID_POST], "layers": LAYERS, "read_at": read_at}
    without = collect(model, prompts, **asked)
    with_norms = collect(model, prompts, norms=True, **asked)
    close(replace(with_norms, prompt_norms={}), without)
    with pytest.raises(ValueError, match=r"norms at resid_post, .* at \[\]; .* norms=True"):
        without.residual_norms(Site.RESID_POST)
    assert with_norms.residual_norms(Site.RESID_POST).shape == (2,)


def test_the_last_block_runs_where_it_is_read(model, prompts):
    if not model.card.drives_blocks:
        pytest.skip("the last block can only run whole")
    asked = {"sites": [Site.RESID_POST], "layers": [1], "token_budget": 1}
    seen = []

    def watch(activation, /, *, hook):
        seen.append(activation.shape[1])
        return activation

    edit = Edit(site=Site.MLP_OUT, layer=1, hook=watch)
    widths = {}
    for name, more in {
        "last": {"read_at": LAST},
        "mean": {"read_at": ReadAt(span="prompt", take="mean")},
        "norms": {"read_at": LAST, "norms": True},
    }.items():
        seen.clear()
        collect(model, prompts, edits=[edit], **more, **asked)
        widths[name] = sorted(seen)
    assert widths["last"] == [1] * len(prompts)
    assert widths["mean"] == widths["norms"] == sorted(len(prompt.ids) for prompt in prompts)


def test_prompts_come_back_in_their_own_order(model, prompts):
    forward = collect(model, prompts, sites=[Site.RESID_POST], layers=[1], read_at=LAST)
    backward = collect(model, prompts[::-1], sites=[Site.RESID_POST], layers=[1], read_at=LAST)
    close(forward.take(range(len(prompts) - 1, -1, -1)), backward)
    assert forward.data_hash != backward.data_hash
    assert forward.select(prompt_ids=backward.prompt_ids).data_hash == backward.data_hash


def test_a_place_is_read_after_its_own_edit(model, prompts):
    plain = collect(model, prompts, sites=[Site.RESID_POST], layers=[0, 1], read_at=LAST)
    edit = Edit(site=Site.RESID_POST, layer=1, hook=shifted(2.0))
    edited = collect(
        model, prompts, sites=[Site.RESID_POST], layers=[0, 1], read_at=LAST, edits=[edit]
    )
    change = edited.values[Site.RESID_POST] - plain.values[Site.RESID_POST]
    torch.testing.assert_close(change[:, 0], torch.zeros_like(change[:, 0]))
    torch.testing.assert_close(change[:, 1], torch.full_like(change[:, 1], 2.0))
    assert (plain.provenance.n_edits, edited.provenance.n_edits) == (0, 1)


def test_blocks_above_the_highest_layer_do_not_run(model, prompts):
    def fail(activation, /, *, hook):
        raise AssertionError("this block was not asked for")

    def read(layer):
        edit = Edit(site=Site.RESID_PRE, layer=2, hook=fail)
        return collect(
            model, prompts, sites=[Site.RESID_POST], layers=[layer], read_at=LAST, edits=[edit]
        )

    with pytest.raises(AssertionError, match="not asked for"):
        read(2)
    # A hook that cannot fire is an error, and no block 2 ran to call it.
    with pytest.raises(RuntimeError, match="fired 0 times"):
        read(1)


def test_residual_norms_are_those_of_all_positions_but_the_first(model, prompts):
    norms = residual_norms(model, prompts, layers=LAYERS, token_budget=60)
    kept = []
    for prompt in prompts:
        for at in range(1, prompt.prompt_length):
            window = ReadAt(span="prompt", take=at - prompt.prompt_length)
            one = collect(model, [prompt], sites=[Site.RESID_POST], layers=LAYERS, read_at=window)
            kept.append(one.values[Site.RESID_POST][0].norm(dim=-1))
    torch.testing.assert_close(norms, torch.stack(kept).mean(dim=0), atol=1e-4, rtol=1e-4)


def test_residual_norms_need_a_second_position(model):
    from lens_personas.models import Prompt

    single = Prompt(prompt_id="s", ids=(1,), prompt_length=1, spans={"prompt": (0, 1)}, text="")
    with pytest.raises(ValueError, match=r"at least two tokens.*the longest of 1"):
        residual_norms(model, [single], layers=[0])


def test_a_bfloat16_model_is_read_in_float32(tiny_checkpoint, backend, prompts):
    half = load_model(tiny_checkpoint, dtype="bfloat16", backend=backend, device="cpu")
    read = collect(half, prompts, sites=[Site.RESID_POST], layers=[1], read_at=MEAN)
    values = read.values[Site.RESID_POST]
    assert values.dtype == torch.float32
    assert not torch.equal(values, values.bfloat16().float()), "the mean was rounded to bfloat16"


def test_progress_counts_prompts(model, prompts):
    seen = []
    collect(
        model, prompts, sites=[Site.RESID_POST], layers=[0], read_at=LAST, token_budget=1,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(n, len(prompts)) for n in range(1, len(prompts) + 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [7]}, r"layers from 0 to 2, got \[7\]"),
        ({"layers": [-1]}, r"layers from 0 to 2, got \[-1\]"),
        ({"layers": [1, 1]}, "each site and layer once"),
        ({"layers": []}, "at least one prompt, site and layer"),
        ({"sites": [Site.PATTERN]}, "width d_model, got 'pattern'"),
        ({"read_at": ReadAt(span="persona", take="last")}, "to have a part 'persona'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(model, prompts, change, message):
    asked = {"sites": [Site.RESID_POST], "layers": [1], "read_at": LAST} | change
    with pytest.raises(ValueError, match=message):
        collect(model, prompts, **asked)
