"""Which position is read, and that nothing else gets in."""

import pytest
import torch

from lens_personas.activations import ReadAt
from lens_personas.activations._read_at import mean_in_windows, norm_sum_in_windows, windows_of
from lens_personas.models import Prompt

PROMPT = Prompt(
    prompt_id="p",
    ids=tuple(range(10)),
    prompt_length=8,
    spans={
        "prompt": (0, 8),
        "system": (0, 0),
        "user": (2, 5),
        "post_instruction": (5, 8),
        "answer": (8, 10),
    },
    text="",
)


@pytest.mark.parametrize(
    ("span", "take", "window"),
    [
        ("prompt", "last", (7, 8)),
        ("prompt", -3, (5, 6)),
        ("user", "mean", (2, 5)),
        ("user", -3, (2, 3)),
        ("post_instruction", -1, (7, 8)),
        ("answer", "last", (9, 10)),
        ("prompt", "mean", (1, 8)),
    ],
)
def test_window(span, take, window):
    assert ReadAt(span=span, take=take).window(PROMPT) == window


def test_first_position_is_left_out_of_means_only_and_only_by_default():
    assert ReadAt(span="prompt", take="mean", skip_first=False).window(PROMPT) == (0, 8)
    assert ReadAt(span="prompt", take=-8).window(PROMPT) == (0, 1)


def test_a_massive_first_activation_does_not_reach_the_mean():
    activation = torch.ones(1, 8, 3)
    activation[0, 0] = 1e6
    positions = torch.arange(8)[None]
    mean = mean_in_windows(
        activation, positions, windows_of(ReadAt(span="prompt", take="mean"), [PROMPT])
    )
    assert torch.equal(mean, torch.ones(1, 3))


def test_an_absent_part_names_the_prompt_and_what_it_has():
    with pytest.raises(ValueError, match=r"'p' to have a part 'system'.*'post_instruction'"):
        ReadAt(span="system", take="last").window(PROMPT)


def test_an_offset_beyond_the_span_is_refused():
    with pytest.raises(ValueError, match=r"long enough for 'user:-4', it has 3 token"):
        ReadAt(span="user", take=-4).window(PROMPT)


def test_a_mean_over_the_first_position_alone_is_refused():
    short = Prompt(prompt_id="s", ids=(1,), prompt_length=1, spans={"prompt": (0, 1)}, text="")
    with pytest.raises(ValueError, match=r"skip_first=False"):
        ReadAt(span="prompt", take="mean").window(short)


@pytest.mark.parametrize("take", [0, 3])
def test_an_offset_from_the_front_is_refused(take):
    with pytest.raises(ValueError, match="negative offset"):
        ReadAt(span="user", take=take)


def test_rules_tell_the_choices_apart():
    choices = [
        ReadAt(span="prompt", take="mean"),
        ReadAt(span="prompt", take="mean", skip_first=False),
        ReadAt(span="prompt", take="last"),
        ReadAt(span="user", take="last"),
        ReadAt(span="user", take=-1),
    ]
    assert len({choice.rule for choice in choices}) == len(choices)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("width", [1, 3])
def test_padding_never_gets_in_whatever_it_holds(side, width):
    rows = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    padding = torch.full((2, 2, 3), torch.nan)
    blank = torch.full((2, 2), -1)
    parts, places = [padding, rows], [blank, torch.arange(4).expand(2, 4)]
    order = slice(None) if side == "left" else slice(None, None, -1)
    activation = torch.cat(parts[order], dim=1)
    positions = torch.cat(places[order], dim=1)
    windows = torch.tensor([[1, 1 + width], [0, width]])
    expected = torch.stack([rows[0, 1 : 1 + width].mean(0), rows[1, :width].mean(0)])
    torch.testing.assert_close(mean_in_windows(activation, positions, windows), expected)
    norms = torch.stack(
        [rows[0, 1 : 1 + width].norm(dim=1).sum(), rows[1, :width].norm(dim=1).sum()]
    )
    torch.testing.assert_close(norm_sum_in_windows(activation, positions, windows), norms)


def test_means_of_bfloat16_are_summed_in_float32():
    rng = torch.Generator().manual_seed(0)
    activation = (torch.randn(1, 1024, 16, generator=rng) + 30).bfloat16()
    positions, windows = torch.arange(1024)[None], torch.tensor([[0, 1024]])
    exact = activation.double().mean(dim=1)
    found = mean_in_windows(activation, positions, windows)
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max()) < 1e-4
    assert float((activation.mean(dim=1).double() - exact).abs().max()) > 1e-3, "no trap to avoid"
