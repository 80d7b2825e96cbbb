import numpy as np
import pytest

import tegum as tg
from tegum.analysis.geometry.null_frames import even_frame, random_directions


def test_even_frames_have_equal_dimensionalities():
    frame = even_frame(np.ones(14), 5, 0)
    np.testing.assert_allclose(frame.T @ frame, 14 / 5 * np.eye(5), atol=1e-6)
    np.testing.assert_allclose(tg.dimensionality(frame), 5 / 14, atol=1e-6)
    lengths = np.linspace(0.8, 1.2, 14)
    np.testing.assert_allclose(np.linalg.norm(even_frame(lengths, 5, 0), axis=1), lengths)


def test_vectors_that_are_fewer_than_dimensions_become_orthogonal():
    lengths = np.array([0.5, 1.0, 2.0])
    frame = even_frame(lengths, 5, 1)
    np.testing.assert_allclose(frame @ frame.T, np.diag(lengths**2), atol=1e-6)


def test_random_directions_are_uniform():
    # Coordinates of a uniform direction in m dimensions have mean 0 and variance 1/m; a cosine of two has 1/m, too.
    drawn = random_directions(np.full(20_000, 3.0), 4, 0)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 3)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn) / 9, np.eye(4) / 4, atol=0.01)
    cosines = (drawn[::2] * drawn[1::2]).sum(1) / 9
    assert np.square(cosines).mean() == pytest.approx(1 / 4, abs=0.01)


def test_a_frame_of_random_directions_is_no_polytope():
    assert tg.name_polytope(even_frame(np.ones(10), 5, 3)).factors[0].ideal is None


@pytest.mark.parametrize("call", [even_frame, random_directions])
def test_lengths_are_a_row_of_positive_numbers(call):
    for lengths in (np.array([1.0, 0.0]), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match=rf"{call.__name__}\(lengths of shape \(2,\)\): lengths must be a row of"):
            call(lengths, 2)
    with pytest.raises(ValueError, match=rf"{call.__name__}\(hidden=0\): hidden must be at least 1"):
        call(np.ones(2), 0)
