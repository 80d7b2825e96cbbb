import numpy as np
import pytest
from numpy.testing import assert_allclose

from tegum.analysis.geometry.embedding_views import view


def turned(weights, rng):
    """Each step in a gauge of its own."""
    m = weights.shape[-1]
    return np.stack([step @ np.linalg.qr(rng.normal(size=(m, m)))[0] for step in weights])


@pytest.fixture
def moving():
    """A smooth way from a small start to other embeddings, in four hidden dimensions."""
    rng = np.random.default_rng(0)
    first, last = 0.01 * rng.normal(size=(7, 4)), rng.normal(size=(7, 4)) * [2.0, 1.5, 1.0, 0.4]
    share = np.linspace(0, 1, 60)[:, None, None]
    return (1 - share) * first + share * last


@pytest.mark.parametrize("hidden", [2, 3, 5])
def test_what_only_rotates_stands_still(hidden):
    rng = np.random.default_rng(1)
    still = np.repeat(rng.normal(size=(1, 6, hidden)), 20, 0)
    seen = view(turned(still, rng), min(hidden, 3)).positions
    assert_allclose(seen, np.repeat(seen[:1], 20, 0), atol=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_it_does_not_depend_on_the_gauge_of_any_step(moving, axes):
    whole = view(moving, axes)
    spun = view(turned(moving, np.random.default_rng(2)), axes)
    assert_allclose(spun.positions, whole.positions, atol=1e-9)
    assert spun.share == pytest.approx(whole.share, rel=1e-12)


def test_it_moves_no_faster_than_the_weights(moving):
    seen = view(turned(moving, np.random.default_rng(3)), 3).positions
    # The nearest pose is at least as near as the one in which the way was made.
    assert (np.linalg.norm(np.diff(seen, axis=0), axis=(1, 2)) <= np.linalg.norm(moving[1] - moving[0]) + 1e-9).all()


def test_all_is_seen_where_there_is_room(moving):
    flat = view(moving[..., :2], 3)
    assert flat.share == 1
    assert not flat.positions[..., 2].any()
    np.testing.assert_allclose(
        flat.positions @ flat.positions.swapaxes(-1, -2), moving[..., :2] @ moving[..., :2].swapaxes(-1, -2), atol=1e-12
    )
    assert view(moving[..., :1], 2).positions.shape == (60, 7, 2)


def test_the_leading_principal_directions_are_seen(moving):
    squares = np.linalg.svd(moving[-1], compute_uv=False) ** 2
    assert view(moving, 2).share == pytest.approx(squares[:2].sum() / squares.sum())
    last = view(moving, 3).positions[-1]
    # In canonical pose: the first row of at least 0.37 of the longest lies on the first axis.
    assert_allclose(np.linalg.svd(last, compute_uv=False) ** 2, squares[:3])
    lengths = np.linalg.norm(last, axis=-1)
    chosen = np.argmax(lengths >= 0.37 * lengths.max())
    assert_allclose(last[chosen], [lengths[chosen], 0, 0], atol=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("lengths", [[1, 1, 1, 1, 1], [2, 1, 1, 1, 1], [1, 1, 1, 1, 0.5]])
def test_where_directions_are_equal_the_first_features_are_seen_in_any_gauge(lengths, axes):
    rng = np.random.default_rng(4)
    digons = np.concatenate([np.eye(5), -np.eye(5)]) * lengths
    share = np.linspace(0, 1, 20)[:, None, None]
    weights = 0.1 * (1 - share) * rng.normal(size=digons.shape) + share * digons
    seen = view(weights, axes).positions
    assert_allclose(view(turned(weights, rng), axes).positions, seen, atol=1e-9)
    # Each axis is the digon of one feature, in order; the others are at the origin.
    assert_allclose(seen[-1, :5], (np.eye(5) * lengths)[:, :axes], atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "axes", "sentence"),
    [
        (np.zeros((2, 3, 2)), 4, r"view\(axes=4\): axes must be 2 or 3"),
        (np.full((2, 3, 2), np.nan), 2, "there must be steps, and finite weights"),
        (np.zeros((0, 3, 2)), 2, "there must be steps"),
        (np.full((2, 3, 2), 1e75), 2, r"finite weights of at most 1e\+70"),
        (np.full((2, 3, 2), np.inf, np.float32), 2, r"finite weights of at most 1e\+70"),
    ],
)
def test_bad_input_gets_one_sentence(weights, axes, sentence):
    with pytest.raises(ValueError, match=sentence):
        view(weights, axes)
