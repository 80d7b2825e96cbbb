"""Hold what tegum exports to types that every type checker reads the same way, as `pyright --verifytypes` finds them.

Run by the Python of an environment in which tegum is installed, and PyTorch, whose types `tegum.torch` uses.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOREIGN = ("tegum.torch.saelens", "tegum.lab.widget")
"""Classes in them derive from those of SAELens, which is not installed here, and of ipywidgets, which has no types."""


def unknown() -> list[str]:
    """The exported names without a known type, with the reason, a line each."""
    environment = os.environ | {"VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"}
    command = [shutil.which("pyright", path=environment["PATH"]) or "pyright", "--verifytypes", "tegum"]
    ran = subprocess.run(
        [*command, "--ignoreexternal", "--outputjson"], env=environment, capture_output=True, text=True, check=False
    )
    found = json.loads(ran.stdout)["typeCompleteness"]
    if found["exportedSymbolCounts"]["withKnownType"] < 1000 or Path(found["moduleRootDirectory"]).name != "tegum":
        raise SystemExit(f"pyright found no tegum to look at: {found['packageName']!r}")
    print(f"{found['exportedSymbolCounts']['withKnownType']:,} exported names have a known type")
    return [
        f"{symbol['name']}: {' '.join(each['message'].split())}"
        for symbol in found["symbols"]
        if not symbol["isTypeKnown"] and not symbol["name"].startswith(FOREIGN)
        for each in symbol.get("diagnostics", [{"message": "its type is not known"}])
    ]


if __name__ == "__main__":
    print("\n".join(lines := unknown()))
    sys.exit(bool(lines))
