"""The checks of arrays are in force, also where a module has a name of its own for a type of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from tegum.analysis.geometry import embedding_views
from tegum.sweeps import plan


def test_an_array_of_another_shape_or_type_is_refused():
    with pytest.raises(TypeCheckError):
        plan.pace([(0.1, 1.0)], np.zeros((2, 2)))
    with pytest.raises(TypeCheckError):
        plan.pace([(0.1, 1.0)], np.zeros(2, np.float32))
    assert plan.pace([(0.1, 1.0)], np.zeros(2)).tolist() == [1, 1]


def test_so_is_one_whose_type_has_a_name_of_its_own():
    with pytest.raises(TypeCheckError):
        embedding_views.view(np.zeros((4, 3)), 2)
