"""Calls that are made inside a call end with it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import tegum as tg
from tegum.core.stopping import Stop, Stopped, all_done, current, working_for


def endless(begun: threading.Event) -> None:
    """Work that looks at the flag of its own call, and at no other."""
    begun.set()
    while True:
        current().check()
        time.sleep(0.001)


def test_a_call_inside_a_stopped_call_ends() -> None:
    begun, stop, ended = threading.Event(), Stop(), []

    def work() -> None:
        with ThreadPoolExecutor(2) as pool, working_for(stop), pytest.raises(Stopped):
            all_done(pool, [partial(endless, begun)], Stop())
        ended.append(current().flag[0])

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    stop.set()
    thread.join(60)
    # Outside, the thread works for no call any more.
    assert ended == [0]


def test_a_call_that_is_not_stopped_returns_what_it_found() -> None:
    with ThreadPoolExecutor(2) as pool, working_for(Stop()):
        assert all_done(pool, [lambda: time.sleep(0.05) or 1, lambda: 2], Stop()) == [1, 2]

        def failing() -> None:
            raise KeyError("odd")

        with pytest.raises(KeyError):
            all_done(pool, [failing, lambda: time.sleep(0.05)], Stop())


def test_work_for_what_was_stopped_does_not_begin() -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped), working_for(stop):
        raise AssertionError


def test_training_ends_in_the_middle_of_a_segment() -> None:
    """A single step of hours, in threads of the engine's own."""
    training = tg.Sampled(steps=10, batch=16, evaluation=20_000_000_000)
    spec = tg.Spec(features=[tg.Independent(5, 0.1)], hidden=2, training=training)
    stop, ended = Stop(), threading.Event()

    def work() -> None:
        with working_for(stop), pytest.raises(Stopped):
            next(tg.iterate(spec))
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.2)
    stop.set()
    assert ended.wait(60)
    thread.join(60)
