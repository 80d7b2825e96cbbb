"""Who makes packs: processes of this machine, a Dask cluster, or any other executor of Python's own kind."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Protocol, final, runtime_checkable

from tegum.core.description import short
from tegum.core.limits import duration
from tegum.core.threads import available_cores

_PATIENCE = 30.0
"""Seconds for which a scheduler may be out of reach."""

_ANSWER_SECONDS = 300.0
"""Seconds within which all workers of a cluster must have said what they are."""

_AWAIT_SECONDS = 2.0
"""Seconds between looks at whether there is a worker."""

_COUNTED_FOR = 2.0
"""Seconds for which the number of workers is remembered."""


@final
class WorkerDiedError(RuntimeError):
    """A process died while it worked: killed, out of memory, or crashed."""


@final
class SchedulerLostError(OSError):
    """There is no connection to the scheduler of the cluster any more."""


@runtime_checkable
class Crew(Protocol):
    """Some workers, however many there are at the moment."""

    link: str
    """The address of a page on which the workers can be watched; empty if there is none."""

    def submit(self, function: Callable[[Any], Any], given: Any) -> Future[Any]:
        """Let one worker call a function."""
        ...

    def everyone(self, function: Callable[[Any], Any], given: Any) -> list[Any]:
        """Let every worker call a function, as far as that is possible; what each has answered."""
        ...

    def count(self) -> int:
        """The number of calls that run at the same time."""
        ...

    def check(self) -> None:
        """Raise SchedulerLostError if nothing that was handed out can come back."""
        ...

    def close(self, *, now: bool) -> None:
        """Let the workers go that belong to this crew alone; `now` without waiting for what they do."""
        ...


def crew_of(executor: Any, workers: Any, engine: str, call: str) -> Crew:
    """The workers that an argument `executor` stands for.

    Args:
        executor: None for processes of this machine; the address of a Dask scheduler, "tcp://…"; a
            `distributed.Client`, or a cluster of which there is one; or an executor of `concurrent.futures`.
        workers: the number of processes here, or of calls that the executor runs at the same time.
        engine: the engine of training, which decides whether each process gets a GPU.
        call: what errors begin with.

    Raises:
        ValueError: it is none of these, or Dask is not installed.
        OSError: the scheduler cannot be reached.

    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"{call}(workers={short(workers)}): workers must be an int of at least 1, or None")
    if executor is None:
        return Processes(workers, devices() if engine == "jax" else ())
    if isinstance(executor, str):
        return Cluster(_connected(executor, call), owned=True)
    if type(executor).__module__.partition(".")[0] == "distributed" and hasattr(executor, "get_executor"):
        return Cluster(executor, owned=False)
    if hasattr(executor, "get_client") and hasattr(executor, "scheduler_address"):
        return Cluster(executor.get_client(), owned=True)
    if isinstance(executor, Executor):
        return Others(executor, workers)
    rule = "executor must be None, the address of a Dask scheduler, a client or cluster of Dask, or an Executor"
    raise ValueError(f"{call}(executor={short(executor)}): {rule}")


def devices() -> tuple[str, ...]:
    """The GPUs that processes here may use, as CUDA_VISIBLE_DEVICES names them; none if there is no NVIDIA driver."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(each.strip() for each in given.split(",") if each.strip() not in ("", "-1"))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU "))


def _prepared(device: str | None) -> None:
    """What a process does before its first call."""
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    # Ctrl-C reaches all processes of a terminal; the one that hands out the work decides.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            with suppress(ValueError, OSError):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
    warnings.simplefilter("ignore")
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    # A process that is killed cannot end those that work for it, and they would wait for ever.
    parent.join()
    os._exit(1)


@final
class Processes:
    """Processes of this machine, one for each core or GPU; one that dies costs its call, and is replaced."""

    link = ""

    def __init__(self, workers: int | None, devices: Sequence[str] = ()) -> None:
        """Start nothing yet: a process starts with its first call."""
        self._count = workers or len(devices) or available_cores()
        self._devices = [devices[at % len(devices)] if devices else None for at in range(self._count)]
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[Any], Any], Any] | None] = queue.SimpleQueue()
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._over = False
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"tegum sweep {number}", daemon=True)
            for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[Any], Any], given: Any) -> Future[Any]:
        """Let the next free process call a function."""
        future: Future[Any] = Future()
        self._calls.put((future, function, given))
        return future

    def everyone(self, function: Callable[[Any], Any], given: Any) -> list[Any]:
        """Let one process call a function: all of this machine are alike."""
        return [self.submit(function, given).result()]

    def count(self) -> int:
        """The number of processes."""
        return self._count

    def check(self) -> None:
        """Do nothing: a process that has died is noticed where it worked."""

    def processes(self) -> list[int]:
        """The numbers of the processes that are running."""
        found = []
        for pool in list(self._pools.values()):
            found += [each.pid for each in list((getattr(pool, "_processes", None) or {}).values()) if each.is_alive()]
        return found

    def close(self, *, now: bool) -> None:
        """End all processes."""
        self._over = True
        for _ in self._threads:
            self._calls.put(None)
        if now:
            for process in self.processes():
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL)
        for thread in self._threads:
            thread.join(30)

    def _serve(self, number: int) -> None:
        while (call := self._calls.get()) is not None:
            future, function, given = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = self._pool(number).submit(function, given).result()
            except BrokenExecutor:
                self._pools.pop(number).shutdown(wait=False)
                future.set_exception(
                    WorkerDiedError("the process that made it died: it was killed, or ran out of memory")
                )
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, function, given, call
        if pool := self._pools.pop(number, None):
            pool.shutdown(wait=True)

    def _pool(self, number: int) -> ProcessPoolExecutor:
        if self._over:
            raise WorkerDiedError("the sweep is over")
        if number not in self._pools:
            # Not forked: processes forked after JAX has started its threads can hang.
            context = multiprocessing.get_context("spawn")
            with _without_main():
                pool = ProcessPoolExecutor(1, context, _prepared, (self._devices[number],))
                self._pools[number] = pool
                pool.submit(os.getpid).result()
        return self._pools[number]


_starting = threading.Lock()


@contextmanager
def _without_main() -> Iterator[None]:
    """A block in which new processes do not run the user's script again, as `spawn` would have them do.

    They import what they need by its name; a script without `if __name__ == "__main__"` would start a sweep of its own.
    """
    with _starting:
        main = vars(sys.modules["__main__"])
        kept = {name: main[name] for name in ("__file__", "__spec__") if name in main}
        main.pop("__file__", None)
        main["__spec__"] = None
        try:
            yield
        finally:
            main.update(kept)


@final
class Others:
    """An executor that somebody else has made, and will close."""

    link = ""

    def __init__(self, executor: Executor, workers: int | None) -> None:
        """The executor; how many calls it runs at the same time is what it says, or as many as there are cores."""
        self._executor = executor
        self._count = workers or getattr(executor, "_max_workers", None) or available_cores()

    def submit(self, function: Callable[[Any], Any], given: Any) -> Future[Any]:
        """Submit a call."""
        return self._executor.submit(function, given)

    def everyone(self, function: Callable[[Any], Any], given: Any) -> list[Any]:
        """Let some worker call a function: nobody knows how to reach them all, and each is asked again later."""
        return [self._executor.submit(function, given).result()]

    def count(self) -> int:
        """The number of calls that run at the same time."""
        return self._count

    def check(self) -> None:
        """Do nothing: an executor that breaks says so where it is used."""

    def close(self, *, now: bool) -> None:
        """Do nothing."""


def _check_somebody_listens(address: str, call: str) -> None:
    """Refuse an address at which nobody listens at once: Dask would try again for a while."""
    kind, _, where = address.partition("://")
    host, _, port = where.rpartition(":")
    if kind not in ("tcp", "tls") or not port.isdecimal() or not 0 < int(port) < 2**16:
        return  # Dask says what is wrong with it
    try:
        socket.create_connection((host.strip("[]"), int(port)), _AWAIT_SECONDS).close()
    except ConnectionRefusedError:
        raise OSError(f"{call}: there is no scheduler at {short(address)} (nobody listens there)") from None
    except OSError:  # a name that cannot be found, or a network that is slow: Dask knows more ways
        return


def _within(seconds: float, call: Callable[[], Any], otherwise: str) -> Any:
    """What a call returns; TimeoutError, with a sentence, if it takes longer."""
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=answer, name="tegum sweep asks", daemon=True).start()
    try:
        found, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(otherwise) from None
    if error is not None:
        raise error
    return found


def _connected(address: str, call: str) -> Any:
    try:
        import distributed
    except ImportError:
        rule = "a Dask cluster needs the package distributed: pip install 'tegum[cluster]'"
        raise ValueError(f"{call}(executor={address!r}): {rule}") from None
    _check_somebody_listens(address, call)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that differ, which we compare ourselves
            return distributed.Client(address, timeout=10, set_as_default=False, direct_to_workers=False)
    except (OSError, ValueError, TimeoutError) as error:
        said = short(" ".join(str(error).split()), 200) or type(error).__name__
        kind = ValueError if isinstance(error, ValueError) else OSError
        raise kind(f"{call}: there is no scheduler at {short(address)} ({said})") from None


@final
class Cluster:
    """The workers of a cluster, through a client of it."""

    def __init__(self, client: Any, *, owned: bool) -> None:
        """The workers that a client knows; `owned` if the client is closed with this crew."""
        self._client, self._owned = client, owned
        self._counted, self._count = -1e9, 0
        self._alone = False
        self._lost: float | None = None
        self._futures: set[Any] = set()
        self.link: str = self._link()

    def _link(self) -> str:
        """The page of the scheduler, if it has one."""
        with suppress(Exception):
            if "dashboard" in self._client.scheduler_info(n_workers=0).get("services", {}):
                return str(self._client.dashboard_link)
        return ""

    def submit(self, function: Callable[[Any], Any], given: Any) -> Future[Any]:
        """Let a worker call a function."""
        answer: Future[Any] = Future()
        answer.set_running_or_notify_cancel()
        # Not pure: a pack that has failed is tried again, and not remembered.
        asked = self._client.submit(function, given, pure=False)
        self._futures.add(asked)
        asked.add_done_callback(lambda done: self._answer(done, answer))
        return answer

    def _answer(self, asked: Any, answer: Future[Any]) -> None:
        from distributed.scheduler import KilledWorker

        self._futures.discard(asked)
        try:
            match asked.status:
                case "finished":
                    answer.set_result(asked.result(timeout=60))
                case "error":
                    error = asked.exception(timeout=60)
                    if isinstance(error, KilledWorker):
                        error = WorkerDiedError("the workers that made it died: they were killed, or ran out of memory")
                    answer.set_exception(error)
                case _:
                    answer.set_exception(SchedulerLostError("the scheduler has gone, with the packs that it was given"))
        except BaseException as error:
            answer.set_exception(error)
        finally:
            with suppress(Exception):
                asked.release()

    def everyone(self, function: Callable[[Any], Any], given: Any) -> list[Any]:
        """Let every worker that is there call a function; those that come later are asked with their first pack."""
        self._await_a_worker()
        told = _within(
            _ANSWER_SECONDS,
            lambda: self._client.run(function, given, on_error="return"),
            f"not all {len(self._client.scheduler_info(n_workers=-1)['workers'])} workers have answered within "
            f"{duration(_ANSWER_SECONDS)}; one of them may hang, or its process may have been stopped",
        )
        for address, answer in told.items():
            if isinstance(answer, BaseException):
                said = " ".join(str(answer).split()) or type(answer).__name__
                raise ValueError(f"the worker {address} cannot take part: {said}")
        return list(told.values())

    def _await_a_worker(self) -> None:
        """Wait until there is a worker, as batch systems start them when they please."""
        while True:
            try:
                self._client.wait_for_workers(1, timeout=_AWAIT_SECONDS)
            except TimeoutError:
                self.check()
            else:
                return

    def count(self) -> int:
        """The number of threads of all workers, at least one."""
        if time.monotonic() - self._counted > _COUNTED_FOR:
            with suppress(Exception):
                # What the client has heard last: to ask would wait for a scheduler that may have gone.
                known = self._client.scheduler_info(n_workers=-1)["workers"]
                self._count = sum(int(each.get("nthreads", 1)) for each in known.values())
            self._counted = time.monotonic()
        return max(self._count, 1)

    def check(self) -> None:
        """Raise SchedulerLostError if there has been no connection for a while."""
        status = getattr(self._client, "status", "")
        if status == "running":
            self._lost = None
            self._say_if_nobody_is_there()
            return
        self._lost = time.monotonic() if self._lost is None else self._lost
        if status == "closed" or time.monotonic() - self._lost > _PATIENCE:
            where = getattr(getattr(self._client, "scheduler", None), "address", "")
            raise SchedulerLostError(f"there is no connection to the scheduler {where} any more")

    def _say_if_nobody_is_there(self) -> None:
        """Warn once when all workers have gone: a sweep waits, and would look as if it hung."""
        self.count()
        if self._count == 0 and not self._alone:
            warnings.warn("the cluster has no workers at the moment, and the sweep waits for one", stacklevel=2)
        self._alone = self._count == 0

    def close(self, *, now: bool) -> None:
        """Forget what is still asked for, and close the client if it is ours."""
        with suppress(Exception):
            if now and self._futures:
                self._client.cancel(list(self._futures))
        if self._owned:
            for name in ("distributed.client", "distributed.comm", "distributed.core"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            with suppress(Exception):
                self._client.close(timeout=5)
