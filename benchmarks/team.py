"""The peers, each in processes of its own, and the arrangement in which each is fastest for a case.

A process of its own keeps a peer's thread pools out of the process it is compared with. Peers are imported only there.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from cases import Case


class Recipe(Protocol):
    """What a peer's implementation of the recipe offers."""

    def build(self, instances: int, **arguments: Any) -> None:
        """Fresh instances; `arguments` are features, hidden, density and set_size, and options of this peer."""

    def load(self, W: np.ndarray, bias: np.ndarray) -> None:
        """Start from weights (instance, feature, hidden) and bias (instance, feature), with moments at zero."""

    def train(self, steps: int) -> None:
        """Train for some steps, and return when they are done."""

    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias."""

    def samples(self, batch: int) -> np.ndarray:
        """Fresh samples of the first instance, (sample, feature)."""

    def loss_and_gradient(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The loss on samples x (sample, instance, feature), summed over instances, and its two gradients."""


def make_recipe(kind: str, threads: int, seed: int) -> Recipe:
    """The recipe of a kind: "eager", "compile" or "jax"."""
    if kind == "jax":
        from jax_recipe import JaxRecipe

        return JaxRecipe(threads, seed)
    from reference import TorchRecipe

    return TorchRecipe(threads, seed, compiled=kind == "compile")


@dataclass(frozen=True)
class Peer:
    """Something that tegum is compared with.

    Attributes
    ----------
    name
        Name in tables.
    kind
        The recipe: see `make_recipe`.
    spread
        Over processes of one thread each, one per core; else one process with all threads; None: whichever is faster.
    fewer
        By what factor the numbers of instances that are tried differ: larger where each has to be compiled.
    changes
        Options of the recipe that are tried one after the other, each kept if it is faster.

    """

    name: str
    kind: str
    spread: bool | None
    fewer: int = 2
    changes: tuple[Mapping[str, str], ...] = ()


PEERS = {
    "eager": Peer("PyTorch eager", "eager", spread=False),
    "eager-split": Peer("PyTorch eager, a process per core", "eager", spread=True),
    "compile": Peer("torch.compile", "compile", spread=None, fewer=4),
    "jax": Peer(
        "JAX",
        "jax",
        spread=None,
        fewer=4,
        changes=({"gradient": "written"}, {"layout": "rows"}, {"generator": "unsafe_rbg"}),
    ),
}


@dataclass(frozen=True)
class Arrangement:
    """How a peer is run: in so many processes, with so many instances in each call and process."""

    processes: int
    instances: int
    options: Mapping[str, str] = field(default_factory=dict)


def _serve(connection: Connection, kind: str, threads: int, seed: int) -> None:
    """Loop of one worker of a `Team`: carry out each request, answer when it is done, stop at None."""
    recipe = make_recipe(kind, threads, seed)
    while (message := connection.recv()) is not None:
        name, arguments, named = message
        try:
            answer = getattr(recipe, name)(*arguments, **named)
        except Exception as error:
            answer = RuntimeError(f"{kind}: {name} failed with {type(error).__name__}: {error}")
        connection.send(answer)


class Team:
    """A peer's recipe in several processes, with some threads each, that work at the same time.

    Attributes
    ----------
    processes
        Processes that train side by side, each with instances of its own.
    instances
        Instances in each process; set by `build`.

    """

    def __init__(self, kind: str, processes: int, threads: int):
        self.processes = processes
        self.instances = 0
        # Spawned, not forked: a fork takes over the state of thread pools without their threads.
        context = multiprocessing.get_context("spawn")
        self._workers = []
        # XLA has a thread for each core, unless told otherwise before it starts.
        before = os.environ.get("PJRT_NPROC")
        os.environ["PJRT_NPROC"] = str(threads)
        try:
            for seed in range(processes):
                ours, theirs = context.Pipe()
                worker = context.Process(target=_serve, args=(theirs, kind, threads, seed), daemon=True)
                worker.start()
                # With our copy open, we would wait for ever for the answer of a worker that died.
                theirs.close()
                self._workers.append((worker, ours))
        finally:
            os.environ.pop("PJRT_NPROC")
            if before is not None:
                os.environ["PJRT_NPROC"] = before

    def build(self, instances: int, case: Case, options: Mapping[str, str]) -> None:
        """Give every process fresh instances of a case."""
        self.instances = instances
        problem = {"features": case.features, "hidden": case.hidden, "density": case.density, "set_size": case.set_size}
        self._ask("build", [(instances,)] * self.processes, **problem, **options)

    def load(self, W: np.ndarray, bias: np.ndarray) -> None:
        """Start from weights (run, feature, hidden) and bias (run, feature): as many runs as fit, in order.

        Where there are fewer runs than instances (an odd number, shared by two processes) the first ones serve again.
        """
        runs = np.arange(self.processes * self.instances).reshape(self.processes, -1) % len(W)
        self._ask("load", [(np.ascontiguousarray(W[part]), np.ascontiguousarray(bias[part])) for part in runs])

    def train(self, steps: int) -> float:
        """Train all instances of all processes for some steps; returns the seconds taken, wall clock."""
        start = time.perf_counter()
        self._ask("train", [(steps,)] * self.processes)
        return time.perf_counter() - start

    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias of all instances of all processes."""
        W, bias = zip(*self._ask("parameters", [()] * self.processes), strict=True)
        return np.concatenate(W), np.concatenate(bias)

    def close(self) -> None:
        """End the processes."""
        for worker, connection in self._workers:
            if worker.is_alive():
                connection.send(None)
            worker.join()

    def _ask(self, name: str, arguments: list[tuple[Any, ...]], **named: Any) -> list[Any]:
        for (_, connection), own in zip(self._workers, arguments, strict=True):
            connection.send((name, own, named))
        try:
            answers = [connection.recv() for _, connection in self._workers]
        except EOFError:
            raise RuntimeError("a process of a peer has died: is there enough memory?") from None
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


class Teams:
    """Teams on some threads, started when they are first needed and closed at the end of a `with` block."""

    def __init__(self, threads: int):
        self.threads = threads
        self._made: dict[tuple[str, int], Team] = {}

    def __enter__(self) -> Teams:
        return self

    def __exit__(self, *_: object) -> None:
        for team in self._made.values():
            team.close()

    def of(self, peer: Peer, processes: int) -> Team:
        """The team of a peer with this many processes."""
        key = (peer.kind, processes)
        if key not in self._made:
            self._made[key] = Team(peer.kind, processes, self.threads // processes)
        return self._made[key]

    def ready(self, peer: Peer, arrangement: Arrangement, case: Case) -> Team:
        """The team of a peer, with fresh instances of a case as arranged."""
        team = self.of(peer, arrangement.processes)
        team.build(arrangement.instances, case, arrangement.options)
        return team


@dataclass(frozen=True)
class Tried:
    """One arrangement that was timed: microseconds per run and step, and seconds of the first two steps.

    The first two include compilation, though not always all of it: torch.compile keeps what it has compiled.
    """

    arrangement: Arrangement
    us: float
    first_s: float

    def as_json(self) -> dict[str, Any]:
        """All of it, flat."""
        return asdict(self.arrangement) | {"us": self.us, "first_s": self.first_s}


def per_run_step(seconds: float, runs: int, steps: int) -> float:
    """Microseconds per run and step."""
    return seconds / (runs * steps) * 1e6


def attempt(teams: Teams, peer: Peer, arrangement: Arrangement, case: Case) -> Tried:
    """Time an arrangement: steps for a tenth of a second, the best of three, as other load only adds time."""
    team = teams.ready(peer, arrangement, case)
    first = team.train(2)
    steps = max(2, round(0.1 / (team.train(2) / 2)))
    seconds = min(team.train(steps) for _ in range(3))
    return Tried(arrangement, per_run_step(seconds, arrangement.instances * team.processes, steps), first)


def counts(most: int, factor: int) -> Iterator[int]:
    """Numbers of instances to try: `most`, and so on down to one."""
    while most > 1:
        yield most
        most = -(-most // factor)
    yield 1


def tune(teams: Teams, peer: Peer, case: Case) -> list[Tried]:
    """Try a peer in many arrangements, the fastest first.

    All runs in one call, half of them (or a quarter), … down to one; then, with what was best, the peer's options; then
    twice and half as many instances; and where either may be faster, all threads in one process. One call stands for
    all of a case's: they are alike, and a peer that keeps its one part in cache loses nothing by it.
    """
    processes = 1 if peer.spread is False else teams.threads
    share = -(-case.runs // processes)
    tried: list[Tried] = []

    def best() -> Arrangement:
        return min(tried, key=lambda each: each.us).arrangement

    def attempt_all(processes: int, numbers: Iterable[int], options: Mapping[str, str]) -> None:
        seen = [each.arrangement for each in tried]
        new = [Arrangement(processes, instances, options) for instances in numbers]
        tried.extend(attempt(teams, peer, each, case) for each in new if each not in seen)

    attempt_all(processes, counts(share, peer.fewer), {})
    for change in peer.changes:
        now = best()
        attempt_all(processes, [now.instances], {**now.options, **change})
    now = best()
    if peer.fewer > 2:
        attempt_all(processes, [max(now.instances // 2, 1), min(2 * now.instances, share)], now.options)
    if peer.spread is None and processes > 1:
        now = best()
        attempt_all(1, sorted({now.instances, min(2 * now.instances, case.runs)}), now.options)
    return sorted(tried, key=lambda each: each.us)
