"""How modules depend on each other, read from all their imports: at the top, in functions, and for type checkers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from layers import imports

import tegum

PACKAGE = Path(tegum.__file__).parent


def test_no_module_leads_back_to_itself() -> None:
    """Also no circle of lazy imports, which would tell that two modules are one, or that a third is missing."""
    left = imports(PACKAGE)
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, {name: sorted(needs & left.keys()) for name, needs in left.items()}


def test_no_folder_is_a_heap() -> None:
    """More than about fourteen modules side by side are more than one can look over."""
    sizes = {
        folder: sum(path.suffix == ".py" and path.name != "__init__.py" for path in folder.iterdir())
        for folder in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]
    }
    heaps = {folder.name: size for folder, size in sizes.items() if size > 14}
    # One module for each figure.
    assert heaps.keys() <= {"figures"}, heaps


def test_without_pytorch_the_extra_is_named() -> None:
    code = "import sys; sys.modules['torch'] = None; import tegum.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: tegum.torch needs PyTorch: pip install 'tegum[torch]'"
