"""Many searches side by side, such as for critical points: shown as they end, stopped together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from tegum.core.stopping import Stop, all_done
from tegum.core.threads import available_cores

_Result = TypeVar("_Result")


def searched(calls: Sequence[Callable[[], _Result]], title: str, kind: str) -> list[_Result]:
    """The results of calls that search, each in a thread of as many as there are cores.

    Most of a search is spent in kernels that release the interpreter's lock. Ctrl-C ends them all.

    Args:
        calls: without arguments; their results do not depend on one another.
        title: of the work, in the line of progress: "searching for saddles".
        kind: what there are many of: "plateaus".

    """
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

    with shown(True, Counts(title, kind), "searched") as tell, ThreadPoolExecutor(available_cores()) as pool:
        return all_done(pool, [partial(search, call) for call in calls], Stop())
