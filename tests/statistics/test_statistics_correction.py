"""Corrections for the number of tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests

from lens_personas.statistics import adjust

p_lists = arrays(float, st.integers(1, 30), elements=st.floats(0.0, 1.0))


@pytest.mark.parametrize("method", ["holm", "bh"])
@given(p=p_lists, seed=st.integers(0, 1000))
def test_corrected_p_is_no_smaller_at_most_one_and_follows_the_order(method, p, seed):
    corrected = adjust(p, method=method)
    assert (corrected >= p - 1e-12).all()
    assert (corrected <= 1.0).all()
    assert (np.diff(corrected[np.argsort(p)]) >= -1e-12).all()
    order = np.random.default_rng(seed).permutation(len(p))
    np.testing.assert_allclose(adjust(p[order], method=method), corrected[order])


@given(p=p_lists)
def test_holm_is_between_bonferroni_and_bh(p):
    holm, bh = adjust(p), adjust(p, method="bh")
    assert (holm <= np.minimum(1.0, p * len(p)) + 1e-12).all()
    assert (bh <= holm + 1e-12).all()


@pytest.mark.parametrize(("method", "name"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_corrections_agree_with_statsmodels(method, name, rng):
    p = rng.random(40) ** 3
    np.testing.assert_allclose(adjust(p, method=method), multipletests(p, method=name)[1])


def test_closed_forms():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjust(p, method="holm"), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(adjust(p, method="bh"), [0.02, 0.04, 0.04, 0.02])
    assert adjust(np.array([0.2])) == pytest.approx([0.2])
    assert adjust(np.array([])).shape == (0,)


def test_holm_holds_the_family_wise_error_and_bh_the_false_discovery_rate(rng):
    family, discovery = [], []
    for _ in range(1500):
        p = rng.random(20)
        family.append((adjust(p) <= 0.05).any())
        p[:10] = rng.beta(0.05, 10.0, 10)
        found = adjust(p, method="bh") <= 0.05
        discovery.append(found[10:].sum() / max(found.sum(), 1))
    slack = 3 * np.sqrt(0.05 * 0.95 / 1500)
    assert 0.05 - slack < np.mean(family) < 0.05 + slack
    # Exactly the level times the share of true nulls.
    assert np.mean(discovery) == pytest.approx(0.05 * 10 / 20, abs=0.01)


def test_what_is_no_p_value_or_method_is_refused():
    with pytest.raises(ValueError, match=r"p values in \[0, 1\], got nan"):
        adjust(np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match=r"p values in \[0, 1\], got 1.5"):
        adjust(np.array([1.5]))
