"""Pure mathematics on arrays: feature distributions, models and losses. No data sets, no files, no clocks."""

import os as _os
import warnings as _warnings

# Numba reads its settings when it is first imported, and then ends with this one in words of its own.
_threads = _os.environ.get("NUMBA_NUM_THREADS", "1").strip()
if _threads.lstrip("+-").isdigit() and int(_threads) < 1:
    _warnings.warn(
        f"NUMBA_NUM_THREADS={_threads}: numba must have at least 1 thread, and is given 1; tegum has its own",
        stacklevel=2,
    )
    _os.environ["NUMBA_NUM_THREADS"] = "1"
