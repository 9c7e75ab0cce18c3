"""What is planted is found, what is not is not, and sides that do not fit are refused."""

import pytest
import torch

from lens_personas.activations import ActivationProvenance, ReadAt
from lens_personas.hooks import Site
from lens_personas.vectors import cone, fit_difference_of_means, split_half

N, LAYERS, WIDTH = 200, 3, 32
LABELS = {"name": "v", "to_label": "to", "from_label": "from"}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def sides(made, rng, planted, *, noise=1.0, n=N):
    """Both sides, their means apart by ``planted`` ([layer d_model])."""
    to = noise * torch.randn(n, *planted.shape, generator=rng) + planted
    from_ = noise * torch.randn(n, *planted.shape, generator=rng)
    return made(to), made(from_, prefix="q")


def test_a_planted_direction_is_found_with_its_sign_and_length(made, rng):
    planted = 2.0 * torch.randn(LAYERS, WIDTH, generator=rng)
    to, from_ = sides(made, rng, planted)
    vector = fit_difference_of_means(to, from_, **LABELS)
    cosines = torch.cosine_similarity(vector.vectors, planted, dim=-1)
    assert bool((cosines > 0.99).all())
    torch.testing.assert_close(vector.norms, planted.norm(dim=-1), rtol=0.1, atol=0.0)
    assert (vector.n_to, vector.n_from, vector.layers) == (N, N, (0, 1, 2))
    assert (vector.to_label, vector.from_label) == ("to", "from")


def test_the_two_sides_swapped_turn_the_vector(made, rng):
    to, from_ = sides(made, rng, torch.ones(LAYERS, WIDTH))
    there = fit_difference_of_means(to, from_, **LABELS)
    back = fit_difference_of_means(from_, to, **LABELS)
    torch.testing.assert_close(there.vectors, -back.vectors)


def test_pairs_give_the_same_vector_and_say_so(made, rng):
    to, from_ = sides(made, rng, torch.ones(LAYERS, WIDTH))
    plain = fit_difference_of_means(to, from_, **LABELS)
    paired = fit_difference_of_means(to, from_, paired=True, **LABELS)
    torch.testing.assert_close(plain.vectors, paired.vectors)
    assert paired.method == "difference_of_means:paired"
    with pytest.raises(ValueError, match="expected pairs, got 200 positive and 3 negative"):
        fit_difference_of_means(to, from_.take([0, 1, 2]), paired=True, **LABELS)


def test_normalised_rows_have_norm_one_and_the_same_direction(made, rng):
    to, from_ = sides(made, rng, torch.ones(LAYERS, WIDTH))
    raw = fit_difference_of_means(to, from_, **LABELS)
    unit = fit_difference_of_means(to, from_, normalise=True, **LABELS)
    torch.testing.assert_close(unit.norms, torch.ones(LAYERS))
    torch.testing.assert_close(unit.vectors * raw.norms[:, None], raw.vectors)
    assert unit.normalised
    assert not raw.normalised


def test_residual_norms_pool_both_sides_by_position(made):
    to = made(torch.full((1, 1, WIDTH), 3.0), n_positions=torch.tensor([3]))
    from_ = made(torch.full((1, 1, WIDTH), 7.0), n_positions=torch.tensor([1]))
    vector = fit_difference_of_means(to, from_, **LABELS)
    expected = (3 * 3.0 + 7.0) / 4 * WIDTH**0.5
    assert vector.resid_norm_at(0) == pytest.approx(expected)


def test_a_mean_is_summed_in_float64(made):
    big = torch.full((2000, 1, WIDTH), 1e4)
    to, from_ = made(big + 0.01), made(big)
    vector = fit_difference_of_means(to, from_, **LABELS)
    exact = (to.values[Site.RESID_POST].double() - from_.values[Site.RESID_POST].double()).mean(0)
    torch.testing.assert_close(vector.vectors, exact.float(), rtol=1e-5, atol=0.0)


def test_split_halves_agree_on_what_is_planted_layer_by_layer(made, rng):
    planted = torch.zeros(2, WIDTH)
    planted[1] = 1.0
    to, from_ = sides(made, rng, planted)
    halves = split_half(to, from_, generator=rng)
    assert list(halves) == [0, 1]
    assert halves[1].mean > 0.9
    assert abs(halves[0].mean) < 0.5
    assert cone(to, from_, generator=rng)[1].mean_cosine > 0.95


def test_nothing_planted_halves_are_unrelated_at_the_nominal_rate(made, rng):
    means = []
    for _ in range(40):
        to, from_ = sides(made, rng, torch.zeros(1, WIDTH), n=24)
        means.append(split_half(to, from_, generator=rng, n_splits=20)[0].mean)
    means = torch.tensor(means)
    standard_error = float(means.std()) / len(means) ** 0.5
    assert abs(float(means.mean())) < 3 * standard_error
    assert float(means.abs().max()) < 0.6


def test_pairs_make_reliability_see_through_what_they_share(made, rng):
    shared = 20.0 * torch.randn(N, 1, WIDTH, generator=rng)
    to, from_ = sides(made, rng, torch.full((1, WIDTH), 0.5))
    to, from_ = (made(side.values[Site.RESID_POST] + shared) for side in (to, from_))
    assert split_half(to, from_, generator=rng, paired=True)[0].mean > 0.8
    assert split_half(to, from_, generator=rng, paired=False)[0].mean < 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (0, 2, 1)}, r"same layers, got \[0, 1, 2\] \(to\) and \[0, 2, 1\] \(from\)"),
        (
            {"read_at": ReadAt(span="user", take="mean")},
            "same read position.*prompt:last.*user:mean",
        ),
        (
            {
                "provenance": ActivationProvenance(
                    card={"fingerprint": "f1"}, n_edits=0, package_version="1"
                )
            },
            "same model fingerprint, got 'f0'.*'f1'",
        ),
    ],
)
def test_sides_that_were_read_differently_are_refused(made, change, message):
    values = torch.ones(2, LAYERS, WIDTH)
    with pytest.raises(ValueError, match=message):
        fit_difference_of_means(made(values), made(values, **change), **LABELS)


def test_a_site_is_asked_for_where_there_are_two(made):
    values = torch.ones(2, 1, WIDTH)
    both = {Site.RESID_POST: values, Site.MLP_OUT: 2 * values}
    norms = {site: v.norm(dim=-1) for site, v in both.items()}
    to, from_ = (made(values, values=both, prompt_norms=norms) for _ in range(2))
    with pytest.raises(ValueError, match=r"\['resid_post', 'mlp_out'\], got None; pass site"):
        fit_difference_of_means(to, from_, **LABELS)
    with pytest.raises(ValueError, match="got 'resid_pre'"):
        fit_difference_of_means(to, from_, site=Site.RESID_PRE, **LABELS)
    assert fit_difference_of_means(to, from_, site=Site.MLP_OUT, **LABELS).site is Site.MLP_OUT


def test_numbers_that_are_not_finite_are_refused(made):
    values = torch.ones(2, LAYERS, WIDTH)
    broken = values.clone()
    broken[0, 1, 0] = torch.inf
    with pytest.raises(ValueError, match=r"NaN or infinity at layers \[1\]"):
        fit_difference_of_means(made(broken), made(values), **LABELS)
