"""Vectors looked at, and side by side."""

from dataclasses import replace

import pytest
import torch

from lens_personas.hooks import Site
from lens_personas.vectors import compare_vectors


def test_a_vector_compared_with_itself_and_its_opposite(vector):
    same = compare_vectors(vector, replace(vector, vectors=3 * vector.vectors, name="longer"))
    torch.testing.assert_close(same.cosines, torch.ones(2))
    torch.testing.assert_close(same.norms[1], 3 * same.norms[0])
    against = compare_vectors(vector, replace(vector, vectors=-vector.vectors))
    torch.testing.assert_close(against.cosines, -torch.ones(2))
    assert same.names == ("careful", "longer")
    assert [row[0] for row in same.rows()] == [1, 3]


def test_layers_are_matched_by_number(vector):
    other = replace(vector, layers=(3, 0))
    compared = compare_vectors(vector, other)
    assert compared.layers == (3,)
    expected = torch.cosine_similarity(vector.at(3), other.at(3), dim=0)
    torch.testing.assert_close(compared.cosines[0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"site": Site.RESID_PRE}, "resid_post, width 32.*resid_pre"),
        ({"layers": (0, 2)}, r"layers \[1, 3\].*layers \[0, 2\]"),
        ({"vectors": torch.ones(2, 8)}, "width 32.*width 8"),
    ],
)
def test_vectors_that_do_not_compare_are_refused(vector, change, message):
    with pytest.raises(ValueError, match=message):
        compare_vectors(vector, replace(vector, **change))


def test_layers_of_a_vector(vector):
    assert torch.equal(vector.at(3), vector.vectors[1])
    assert vector.resid_norm_at(3) == 9.0
    torch.testing.assert_close(vector.norms, vector.vectors.norm(dim=1))
    with pytest.raises(ValueError, match=r"layers \[1, 3\] of vector 'careful', got 2"):
        vector.at(2)
    with pytest.raises(ValueError, match="one layer for each of 2 rows and none twice"):
        replace(vector, layers=(1, 1))
