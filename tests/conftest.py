"""Every annotated array is checked at run time while tests run: shapes by jaxtyping, types by beartype."""

from jaxtyping import install_import_hook

install_import_hook("tegum", "beartype.beartype")

import matplotlib  # noqa: E402
import pytest  # noqa: E402

matplotlib.use("agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Experiments first: their files take minutes each, and none should be left to one worker at the end."""
    items.sort(key=lambda item: "experiments" not in item.path.parts)
