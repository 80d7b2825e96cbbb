"""What is said of long work: rates and times left that are honest, for every engine, by a clock that tests set."""

from types import SimpleNamespace

import numpy as np
import pytest

from tegum.core.limits import duration
from tegum.progress.compiling import Stopwatch
from tegum.progress.pace import Pace, rounded
from tegum.progress.tasks import Counts, Phases, Stage, Status, Steps, one_line, percent


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def segment(start, stop, steps, *, converged=(-1,) * 4, diverged=(-1,) * 4, time=None):
    state = SimpleNamespace(step=stop, converged_at=np.array(converged), diverged_at=np.array(diverged))
    return SimpleNamespace(start=start, state=state, steps=steps, time=time)


def test_sampled_training_tells_run_steps_and_the_time_left_of_its_last_seconds(clock):
    task = Steps(4, converges=False, clock=clock)
    assert (task.title, task.part()) == ("training 4 runs", None)
    clock.now += 40
    assert task.words() == ("40 s",)
    # The first segment is one step, and what it took beside that says nothing of the rate.
    task.update(segment(0, 1, 100_001))
    assert task.words() == ("step 1 of 100,001",)
    for number in range(30):
        clock.now += 1
        task.update(segment(1 + 1000 * number, 1001 + 1000 * number, 100_001))
        if number < 2:
            assert "left" not in " ".join(task.words())
    # 1,000 steps of 4 runs in a second; 70,000 steps are left, 70 seconds.
    assert task.words() == ("70 s left", "step 30,001 of 100,001", "4,000 run-steps/s")
    assert task.part() == pytest.approx(0.3, abs=1e-4)
    clock.now += 10
    assert task.words()[0] == "60 s left"
    # Late: it has become slower, and nobody knows how much.
    clock.now += 61
    assert task.words()[0] == "step 30,001 of 100,001"
    # At half the pace from now on: soon the rate is that of the last seconds only.
    for number in range(30, 60):
        clock.now += 2
        task.update(segment(1 + 1000 * number, 1001 + 1000 * number, 100_001))
    assert task.words() == ("80 s left", "step 60,001 of 100,001", "2,000 run-steps/s")


def test_how_long_training_will_take_is_told_until_its_pace_is_known(clock):
    assert Steps(4, converges=False, expected=59.0, clock=clock).words() == ("0 s",)
    task = Steps(4, converges=False, expected=9000.0, clock=clock)
    assert task.words() == ("about 2.5 h in all", "0 s")
    task.update(segment(0, 1, 101))
    assert task.words() == ("about 2.5 h in all", "step 1 of 101")
    for number in range(1, 20):
        clock.now += 1
        task.update(segment(number, number + 1, 101))
    assert task.words()[0] == "81 s left"
    assert Steps(4, converges=False, expected=9000.0, least=True, clock=clock).words()[0] == "at least 2.5 h in all"


def test_runs_that_have_converged_are_no_part_of_the_rate_and_nothing_is_said_of_the_time_left(clock):
    runs = 384
    task = Steps(runs, converges=True, clock=clock)
    task.update(segment(0, 1, 10_000_000, converged=[-1] * runs, diverged=[-1] * runs))
    converged = [50] * 380 + [-1] * 4
    clock.now += 2
    task.update(segment(1, 101, 10_000_000, converged=converged, diverged=[-1] * runs))
    # 380 runs took 49 steps more, four took 100.
    assert task.words()[-1] == f"{rounded((380 * 49 + 400) / 2)} run-steps/s"
    converged[380] = 150
    diverged = [-1] * 383 + [201]
    step = 101
    for _ in range(30):
        clock.now += 1
        task.update(segment(step, step := step + 100, 10_000_000, converged=converged, diverged=diverged))
    # Two go on, 100 steps in a second, after one converged and one diverged.
    assert task.words() == ("381 of 384 runs converged", "step 3,101 of 10,000,000 at most", "200 run-steps/s")
    assert task.part() == 382 / 384
    # The rest in one leap, in which nothing ran.
    converged[381] = converged[382] = 3102
    clock.now += 0.2
    task.update(segment(step, 10_000_000, 10_000_000, converged=converged, diverged=diverged))
    assert task.words()[:2] == ("383 of 384 runs converged", "step 10,000,000 of 10,000,000 at most")
    assert task.words()[2] in ("187 run-steps/s", "188 run-steps/s", "198 run-steps/s", "200 run-steps/s")
    assert task.part() == 1


def test_a_flow_goes_by_its_time_and_tells_the_time_left_only_at_a_steady_pace(clock):
    task = Steps(4, converges=False, until=50.0, clock=clock)
    for number in range(10):
        task.update(segment(number, number + 1, 1000, time=0.05 * (number + 1)))
        clock.now += 2.0**number
    # Its legs take longer and longer.
    assert task.words()[:2] == ("step 10 of 1,000", "time 0.5 of 50")
    for number in range(10, 60):
        task.update(segment(number, number + 1, 1000, time=0.05 * (number + 1)))
        clock.now += 1
    clock.now -= 1
    assert task.words() == ("16 min left", "step 60 of 1,000", "time 3 of 50", "4 run-steps/s")
    assert task.part() == pytest.approx(0.06)


def test_parts_begin_anew_with_every_phase(clock):
    task = Phases("analysing", clock=clock)
    clock.now += 7
    assert task.words() == ("7 s",)
    for number in range(11):
        task.update("neighbours", number / 100)
        clock.now += 1
    clock.now -= 1
    assert (task.part(), task.words()) == (0.1, ("neighbours", "90 s left"))
    task.update("cosines\n[red]", 0.5)
    assert (task.part(), task.words()) == (0.5, ("cosines [red]",))
    task.update("λ = 3", None)
    assert (task.part(), task.words()) == (None, ("λ = 3", "17 s"))


def test_counts_tell_how_many_and_how_fast(clock):
    task = Counts("population loss", "snapshots", clock=clock)
    assert (task.part(), task.words()) == (None, ("0 s",))
    for number in range(1, 5):
        clock.now += 10
        task.update(4096 * number, 40_960)
    assert task.words() == ("60 s left", "16,384 of 40,960 snapshots", "410/s")
    task.update(40_960, 40_960)
    assert Status(task.title, task.part(), task.words()[-2:-1]).text() == (
        "population loss: 100 %, 40,960 of 40,960 snapshots"
    )
    assert Counts("t", "k", clock=clock).words() == Stage("t", clock=clock).words() == ("0 s",)


def test_a_rate_needs_two_moments_and_many_moments_stay_few():
    pace = Pace()
    assert pace.rate() is pace.left(0.0) is None
    for number in range(10_000):
        pace.add(number * 1e-2, number * 1e-5, float(number))
    assert pace.rate() == pytest.approx(100, rel=0.01)
    assert pace.left(99.99) == pytest.approx(900, rel=0.01)
    assert len(pace._seen) < 200
    pace.add(500.0, 0.1, 1e5)
    assert pace.left(500.0) is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "0 s"), (40, "40 s"), (99, "99 s"), (180, "3 min"), (5_000, "83 min"), (9_000, "2.5 h"), (90_000, "25 h"),
     (359_175, "4 days"), (6e7, "694 days"), (4e9, "127 years"), (1e20, "3e+12 years")],
)  # fmt: skip
def test_times_are_told_as_people_do(seconds, told):
    assert duration(seconds) == told


def test_rates_and_parts_are_rounded():
    assert [rounded(x) for x in (797_604_976, 1234, 12.345, 0.01234)] == ["798,000,000", "1,230", "12.3", "0.0123"]
    assert [percent(x) for x in (0.0, 0.29, 0.99999, 1.0)] == ["0 %", "29 %", "99 %", "100 %"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x07", "[31mred"),
        ("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:"),
        ("\u202egpj.exe\u2069", "gpj.exe"),
        ("שלום 😀 e\u0301", "שלום 😀 e\u0301"),
        ("\ud800", ""),
    ],
)
def test_a_title_is_one_line_of_plain_text(given, line):
    assert one_line(given) == Stage(given).title == line


def test_a_stopwatch_counts_once_what_goes_on_at_the_same_time(clock):
    watch = Stopwatch(clock)
    watch.end()
    assert (watch.seconds(), watch.running()) == (0, None)
    watch.begin()
    clock.now += 2
    watch.begin()
    watch.took(99.0)
    clock.now += 3
    assert (watch.seconds(), watch.running()) == (5, 5)
    watch.end()
    assert watch.running() == 5
    watch.end()
    clock.now += 10
    watch.took(1.0)
    assert (watch.seconds(), watch.running()) == (6, None)
