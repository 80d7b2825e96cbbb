"""Many searches side by side."""

import threading
from functools import partial

import pytest

from tegum.core.threads import available_cores
from tegum.progress.displays import Display
from tegum.solutions.searches import searched


def test_results_come_in_order_and_no_more_run_at_once_than_there_are_cores():
    running, most, lock = 0, 0, threading.Lock()

    def square(number):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.001)
        with lock:
            running -= 1
        return number**2

    assert searched([partial(square, k) for k in range(40)], "squaring", "numbers") == [k**2 for k in range(40)]
    assert 1 <= most <= available_cores()
    assert searched([], "squaring", "numbers") == []


def test_an_error_ends_the_others():
    calls = []

    def call(number):
        calls.append(number)
        if number == 3:
            raise ZeroDivisionError
        threading.Event().wait(0.005)

    with pytest.raises(ZeroDivisionError):
        searched([partial(call, k) for k in range(500)], "searching", "places")
    assert len(calls) < 500


def test_how_many_are_done_is_shown(monkeypatch):
    told = []

    class Told(Display):
        delay, every = 0.0, 60.0

        def show(self, said):
            told.append(said.text())

        def finished(self, said):
            told.append(said.text())

    monkeypatch.setattr("tegum.progress.showing.choose_display", lambda **_: Told())
    monkeypatch.setattr("tegum.progress.tasks.Counts.noted", True)
    searched([int] * 5, "searching for saddles", "plateaus")
    assert told[-1].startswith("searching for saddles: 100 %, 5 of 5 plateaus")
