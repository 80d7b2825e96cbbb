"""Every annotated array is checked at run time while tests run: shapes by jaxtyping, types by beartype."""

from importlib.util import find_spec
from pathlib import Path

import array_checks

array_checks.install(Path(__file__).parents[1] / "src" / "tegum")

import matplotlib  # noqa: E402
import pytest  # noqa: E402

matplotlib.use("agg")

collect_ignore = [
    folder for folder, needed in {"pytorch": "torch", "interop": "sae_lens"}.items() if not find_spec(needed)
]
"""Folders that need what is not installed: pytest would import them to see whether they are asked for."""


LONG = {
    "analysis/dynamics/test_matches.py",
    "analysis/landscape/test_critical_points.py",
    "core/compiled/test_compile.py",
    "core/compiled/test_tiles.py",
    "core/loss/test_population_loss.py",
    "core/population/test_rescaled.py",
    "figures/test_plots.py",
    "tests/core/test_arguments.py",
    "tests/core/test_jax_setup.py",
    "tests/experiments/test_redrawing.py",
    "tests/sweeps/test_claims.py",
    "tests/sweeps/test_command.py",
    "tests/sweeps/test_design.py",
    "tests/sweeps/test_job_array.py",
    "tests/sweeps/test_kept.py",
    "tests/sweeps/test_layout.py",
    "tests/sweeps/test_packs.py",
    "tests/sweeps/test_places.py",
    "tests/sweeps/test_plan.py",
    "tests/sweeps/test_store.py",
    "tests/sweeps/test_sweep.py",
    "tests/sweeps/test_toml.py",
    "tests/sweeps/test_workers.py",
    "tests/test_cli_analyse.py",
    "tests/test_cli_dictionaries.py",
    "tests/test_examples.py",
    "tests/test_screens.py",
    "tests/training/test_grid.py",
    "tests/training/test_measuring.py",
    "training/exact/test_engine.py",
    "training/exact/test_finite.py",
    "training/flow/test_engine.py",
    "training/flow/test_finite.py",
    "training/sampled/test_jax_engine.py",
    "training/sampled/test_kinds_of_set.py",
    "training/sampled/test_laws.py",
    "training/sampled/test_vector_units.py",
}
"""Files that would take too much of the time for the README's tests, and run with the quick forms."""


FOLDERS = {"recovery", "pytorch", "interop", "web", "browser", "notebooks"}
"""Folders of tests that are stages of their own, by the name of the folder. None has the name of a package, which it
would be taken for where that is not installed, as the folder above is on the path of imports."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its stage, before `-m` selects, unless it says itself that it is slow, or long.

    What uses the quick form of an experiment, however indirectly, and what lies in a folder that is a stage of its own
    cannot be forgotten to be marked. Files of training come first, which are the longest: none should be left to one
    worker at the end.
    """
    items.sort(key=lambda item: "training" not in item.path.parts)
    for item in items:
        if item.get_closest_marker("slow"):
            continue
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if "run_quick" in getattr(item, "fixturenames", ()) or item.path.as_posix().endswith(tuple(LONG)):
            item.add_marker("quick_form")
        elif folder in FOLDERS:
            item.add_marker(folder)
