"""Pure mathematics on arrays: feature distributions, models and losses. No data sets, no files, no clocks."""

import os as _os
import warnings as _warnings

# Numba reads its settings when first imported, and fails on such a number with an obscure message.
_threads = _os.environ.get("NUMBA_NUM_THREADS", "1").strip()
if _threads.lstrip("+-").isdigit() and int(_threads) < 1:
    _warnings.warn(
        f"NUMBA_NUM_THREADS={_threads}: numba must have at least 1 thread, so it gets 1; tegum uses threads of its own",
        stacklevel=2,
    )
    _os.environ["NUMBA_NUM_THREADS"] = "1"
