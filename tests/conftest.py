"""Every annotated array is checked at run time while tests run: shapes by jaxtyping, types by beartype."""

from jaxtyping import install_import_hook

install_import_hook("tegum", "beartype.beartype")

import matplotlib  # noqa: E402

matplotlib.use("agg")


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: tests of commands wait for other processes."""
    from tegum.training.threads import available_cores

    return available_cores() + 1
