"""Many searches in parallel, such as those for critical points, with common progress and interruption."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from tegum.core.stopping import Stop, all_done
from tegum.core.threads import available_cores, serial_blas

_Result = TypeVar("_Result")


def searched(calls: Sequence[Callable[[], _Result]], title: str, kind: str) -> list[_Result]:
    """The results of independent searches, run in as many threads as there are cores.

    Threads pay off because most of a search is spent in kernels that release the interpreter's lock. Ctrl-C stops all.

    Args:
        calls: the searches, as functions without arguments.
        title: the title of the progress line, such as "searching for saddles".
        kind: what is counted there, such as "plateaus".

    """
    # Here, so that listing experiments loads no more than it has to.
    from tegum.progress.showing import shown
    from tegum.progress.tasks import Counts

    done, lock = 0, threading.Lock()

    def search(call: Callable[[], _Result]) -> _Result:
        nonlocal done
        result = call()
        with lock:
            done += 1
            tell(done, len(calls))
        return result

    progress, pool = shown(True, Counts(title, kind), "searched"), ThreadPoolExecutor(available_cores())
    with serial_blas(), progress as tell, pool:
        return all_done(pool, [partial(search, call) for call in calls], Stop())
