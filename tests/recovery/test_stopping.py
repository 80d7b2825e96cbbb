"""Real signals at seeded moments of every engine and the long measures: out at once, and no thread left at work.

Each call would take hours. Half a minute is allowed where two seconds are promised, as the machine may be busy.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

_PREPARED = """
import os, random, signal, sys, tempfile, threading, time
import numpy as np
import tegum as tg

def raise_interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, raise_interrupt)
pairs = [tg.Correlated(2, 0.1)] * 3
chance = random.Random(int(sys.argv[1]))

def spec(features=pairs, hidden=2, **rest):
    return tg.Spec(features=features, hidden=hidden, **rest)

def one_segment(specs, **rest):
    for _ in tg.iterate(specs, segment_seconds=10_000.0, **rest):
        pass

def stopped(name, warm, call):
    warm()  # what is compiled is compiled by now: inside a compiler nothing can be stopped
    sent = []

    def send():
        time.sleep(0.2 + chance.random())
        sent.append(time.perf_counter())
        os.kill(os.getpid(), chance.choice([signal.SIGINT, signal.SIGTERM]))

    threading.Thread(target=send).start()
    try:
        call()
    except KeyboardInterrupt as interruption:
        took = time.perf_counter() - sent[0]
        left = [each.name for each in threading.enumerate() if each.name.startswith(("tegum", "ThreadPool"))]
        print(f"{name}: {type(interruption).__name__} after {took:.2f} s", flush=True)
        assert took < 30, (name, took)
        assert not left, (name, left)
    else:
        raise AssertionError(f"{name} was not interrupted")
"""


def _run(code: str, seed: int = 0) -> str:
    command = [sys.executable, "-c", _PREPARED + code, str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_sampled_kernel_stops():
    """In an evaluation without end, a single long step, and a long segment; in `train` before its first segment."""
    _run("""
def warm():
    tg.train(spec(training=tg.Sampled(steps=1, batch=16, evaluation=16)))

def step():
    training = tg.Sampled(steps=2, batch=3_000_000, evaluation=16)
    for _ in tg.iterate(spec([tg.Independent(300, 0.2)], 50, training=training, snapshots=[1])):
        pass

stopped("evaluation", warm, lambda: tg.train(spec(seeds=9, training=tg.Sampled(steps=10, evaluation=20_000_000_000))))
stopped("step", warm, step)
stopped("segment", warm, lambda: one_segment(spec(seeds=3, training=tg.Sampled(steps=10**8))))
""")


def test_training_without_samples_stops():
    """L-BFGS and Adam in a long segment, and one leg of a flow, which is a single program of JAX."""
    _run("""
from tegum.training.spec.methods import Exact, Flow

def warm(**rest):
    tg.train(spec(training=Exact(steps=1, **rest), seeds=2))

many = [tg.Independent(30, 0.1)]
stopped("L-BFGS", warm, lambda: one_segment(spec(many, 6, seeds=40, training=Exact(steps=10**6, accuracy=1e-13))))
adam = dict(optimiser="adam", accuracy=1e-5)
stopped("Adam", lambda: warm(**adam), lambda: one_segment(spec(seeds=9, training=Exact(steps=10**7, **adam))))

def flow(duration):
    return spec(training=Flow(steps=1, duration=duration, solver="explicit", rtol=1e-13, atol=1e-30))

stopped("flow", lambda: tg.train(flow(1e-3)), lambda: one_segment(flow(1e7)))
""")


def test_programs_of_jax_stop():
    """The steps of the JAX engine, and an evaluation."""
    _run("""
def program(steps, evaluation):
    return spec(seeds=3, training=tg.Sampled(steps=steps, batch=64, evaluation=evaluation))

def training(steps, evaluation):
    return lambda: one_segment(program(steps, evaluation), engine="jax")

stopped("steps", training(2, 64), training(10**8, 64))
stopped("evaluation", training(2, 64), training(10, 10**9))
""")


def test_measures_stop():
    """The population loss of many models, by one thread and by two, a large model's, and products of large matrices."""
    _run("""
few = tg.FeatureDistribution([tg.Independent(12, 0.1)])
random = np.random.default_rng(0)
W, b = random.normal(size=(200_000, 12, 3)), 0.1 * random.normal(size=(200_000, 12))

def loss(count, threads):
    return lambda: tg.population_loss(W[:count], b[:count], few, tol=1e-12 if count > 1 else 1e-3, threads=threads)

stopped("many models", loss(1, 1), loss(200_000, 1))
stopped("two threads", loss(1, 2), loss(200_000, 2))
large = tg.FeatureDistribution([tg.Independent(300, 0.1)])
one = random.normal(size=(300, 20)), 0.1 * random.normal(size=300)
stopped("a large model", lambda: None, lambda: tg.population_loss(*one, large, tol=1e-13))
stopped("gram", lambda: None, lambda: [tg.gram(random.normal(size=(8000, 600))) for _ in range(99)])
""")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_everything_else_stops(seed):
    """What takes long to prepare: large models, implicit and linear flows, saddles, series in JAX, many directions."""
    _run(
        """
from tegum.training.spec.methods import Exact, Flow

nothing = lambda: None
sampled = tg.Sampled(steps=100)
large = spec([tg.Independent(100_000, 1e-3)], 200, training=sampled, snapshots=[])
stopped("100,000 features", lambda: tg.train(spec(training=sampled)), lambda: one_segment(large))
linear = spec([tg.Correlated(400, 0.05)], 100, activation="linear", seeds=8, training=Exact(steps=10**6))
one = linear.replace(seeds=1, training=Exact(steps=1))
stopped("linear L-BFGS", lambda: tg.train(one), lambda: one_segment(linear))

def flow(duration, **rest):
    return spec(training=Flow(steps=1, duration=duration), **rest)

many = dict(features=[tg.Independent(30, 0.05)], hidden=5, seeds=8)
stopped("implicit flow", lambda: tg.train(flow(1e-3, **many)), lambda: one_segment(flow(1e8, **many)))
random = np.random.default_rng(0)
W, b = random.normal(size=(60, 6)), 0.1 * random.normal(size=60)
features, few = (tg.FeatureDistribution([tg.Independent(count, 0.1)]) for count in (60, 3))
stopped("saddle", lambda: tg.critical_point(W[:3], b[:3], few), lambda: tg.critical_point(W, b, features))
circle = tg.FeatureDistribution([tg.Equivariant(4, 0.1, 0.5)])
V, c = np.random.default_rng(0).normal(size=(200, 4, 2)), np.zeros((200, 4)) - 0.1
stopped(
    "series",
    lambda: tg.population_loss(V * 0 + 1, c * 0 + 9, circle, tol=1e-3),
    lambda: tg.population_loss(V, c, circle, tol=1e-7),
)
step = spec([tg.Independent(300, 0.2)], 50, training=tg.Sampled(steps=2, batch=3_000_000, evaluation=16))
stopped("one step of JAX", nothing, lambda: one_segment(step, engine="jax"))
film = tg.train(spec(training=tg.Sampled(steps=100, evaluation=64), snapshots=100))
with tempfile.TemporaryDirectory() as folder:
    for name in ("film.mp4", "film.gif"):
        stopped(name, nothing, lambda: tg.render(film, os.path.join(folder, name), seconds=60.0))
        assert os.listdir(folder) == [], os.listdir(folder)
stopped("neighbours", nothing, lambda: tg.analyse(random.normal(size=(60_000, 256)).astype(np.float32)))
""",
        seed,
    )


def test_an_interruption_that_python_drops_is_repeated():
    """A signal that arrives in a callback of the garbage collector, as JAX has one, or in a finaliser."""
    out = _run("""
import gc
from tegum.core.stopping import heard
from tegum.progress.showing import shown
from tegum.progress.tasks import Stage

class Finaliser:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # the handler runs here

def collector(phase, info):
    if phase == "start":
        gc.callbacks.remove(collector)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

def collected():
    gc.callbacks.append(collector)
    gc.collect()

for name, lose in (("finaliser", lambda: Finaliser() and None), ("collector", collected)):
    before = sys.unraisablehook
    try:
        with shown(False, Stage("work"), "work"):
            lose()
            time.sleep(30)
    except KeyboardInterrupt:
        print(name, "heard")
    assert sys.unraisablehook is before
# Nothing else is taken for an interruption.
class Broken:
    def __del__(self):
        raise ZeroDivisionError

seen = []
sys.unraisablehook = lambda lost: seen.append(lost.exc_type)
with heard():
    Broken()
assert seen == [ZeroDivisionError]
""")
    assert out.splitlines() == ["finaliser heard", "collector heard"]
