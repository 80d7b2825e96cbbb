"""The kinds of training: defaults, what belongs together, how the rate goes, and the time of a flow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tegum.training.spec.methods import Descent, Exact, Flow, Sampled, Training
from tegum.training.spec.optimisers import OPTIMISERS

REFUSED = [
    ({"stepz": 5}, "Sampled(stepz=5): there is no key 'stepz'; did you mean 'steps'?"),
    ({"steps": -5}, "Sampled(steps=-5): steps must be an int of at least 0"),
    ({"steps": 1e4}, "Sampled(steps=10000.0): steps must be an int of at least 0"),
    ({"batch": 0}, "Sampled(batch=0): batch must be an int of at least 1"),
    ({"evaluation": 0}, "Sampled(evaluation=0): evaluation must be an int of at least 1"),
    ({"rate": 0}, "Sampled(rate=0): rate must be a finite number above 0"),
    ({"rate": "1e-3"}, "Sampled(rate='1e-3'): rate must be a finite number above 0"),
    ({"rate": float("nan")}, "Sampled(rate=nan): rate must be a finite number above 0"),
    ({"eps": 0}, "Sampled(eps=0): eps must be a finite number above 0"),
    (
        {"weight_decay": -1},
        "Sampled(weight_decay=-1): weight_decay must be a finite number of at least 0, or None",
    ),
    ({"momentum": 1, "optimiser": "sgd"}, "Sampled(momentum=1): momentum must be a number in [0, 1)"),
    ({"betas": 0.9}, "Sampled(betas=0.9): betas must be two numbers in [0, 1)"),
    ({"betas": (0.9,)}, "Sampled(betas=(0.9,)): betas must be two numbers in [0, 1)"),
    ({"betas": (0.9, 1)}, "Sampled(betas=(0.9, 1)): betas must be two numbers in [0, 1)"),
    ({"betas": (0.9, True)}, "Sampled(betas=(0.9, True)): betas must be two numbers in [0, 1)"),
    ({"betas": (0.9, float("nan"))}, "Sampled(betas=(0.9, nan)): betas must be two numbers in [0, 1)"),
    ({"betas": "ab"}, "Sampled(betas='ab'): betas must be two numbers in [0, 1)"),
    ({"optimiser": "adam"}, "Sampled(optimiser='adam'): optimiser must be 'adamw' or 'sgd'"),
    (
        {"schedule": "cosin"},
        "Sampled(schedule='cosin'): schedule must be 'constant', 'cosine' or 'linear'",
    ),
    (
        {"momentum": 0.9},
        "Sampled(momentum=0.9): momentum must stay 0.0 with the optimiser 'adamw': only 'sgd' has it",
    ),
    (
        {"optimiser": "sgd", "betas": (0.8, 0.999)},
        "Sampled(betas=(0.8, 0.999)): betas must stay (0.9, 0.999) with the optimiser 'sgd': only 'adamw' has it",
    ),
    (
        {"optimiser": "sgd", "eps": 1e-6},
        "Sampled(eps=1e-06): eps must stay 1e-08 with the optimiser 'sgd': only 'adamw' has it",
    ),
    ({"steps": 3, "warmup": 4}, "Sampled(warmup=4): warmup must be at most steps, which is 3"),
]


REFUSED_WITHOUT_SAMPLES = [
    (Exact, {"optimiser": "adamw"}, "Exact(optimiser='adamw'): optimiser must be 'lbfgs', 'adam' or 'gd'"),
    (Exact, {"acuracy": 3}, "Exact(acuracy=3): there is no key 'acuracy'; did you mean 'accuracy'?"),
    (
        Exact,
        {"rate": 0.1},
        "Exact(rate=0.1): rate must stay 0.001 with the optimiser 'lbfgs': only 'adam' and 'gd' have it",
    ),
    (
        Exact,
        {"schedule": "linear"},
        "Exact(schedule='linear'): schedule must stay constant with the optimiser 'lbfgs': "
        "only 'adam' and 'gd' have it",
    ),
    (
        Exact,
        {"warmup": 3},
        "Exact(warmup=3): warmup must stay 0 with the optimiser 'lbfgs': only 'adam' and 'gd' have it",
    ),
    (
        Exact,
        {"weight_decay": 0.0},
        "Exact(weight_decay=0.0): weight_decay must stay None with the optimiser 'lbfgs': only 'adam' and 'gd' have it",
    ),
    (
        Exact,
        {"optimiser": "gd", "eps": 1e-6},
        "Exact(eps=1e-06): eps must stay 1e-08 with the optimiser 'gd': only 'adam' has it",
    ),
    (
        Exact,
        {"optimiser": "adam", "momentum": 0.9},
        "Exact(momentum=0.9): momentum must stay 0.0 with the optimiser 'adam': only 'gd' has it",
    ),
    (
        Exact,
        {"optimiser": "adam", "gradient_tolerance": 1e-6},
        "Exact(gradient_tolerance=1e-06): gradient_tolerance must stay 1e-09 with the optimiser 'adam': "
        "only 'lbfgs' has it",
    ),
    (Exact, {"accuracy": 0}, "Exact(accuracy=0): accuracy must be a finite number above 0"),
    (Exact, {"optimiser": "gd", "steps": 3, "warmup": 4}, "Exact(warmup=4): warmup must be at most steps, which is 3"),
    (Flow, {"duration": 0}, "Flow(duration=0): duration must be a finite number above 0"),
    (Flow, {"steps": -1}, "Flow(steps=-1): steps must be an int of at least 0"),
    (Flow, {"solver": "stiff"}, "Flow(solver='stiff'): solver must be 'implicit' or 'explicit'"),
    (Flow, {"rtol": -1e-6}, "Flow(rtol=-1e-06): rtol must be a finite number above 0"),
    (Flow, {"atoll": 1e-6}, "Flow(atoll=1e-06): there is no key 'atoll'; did you mean 'atol'?"),
]
ALL_REFUSED = [(Sampled, values, message) for values, message in REFUSED] + REFUSED_WITHOUT_SAMPLES


@pytest.mark.parametrize(("kind", "values", "message"), ALL_REFUSED, ids=[message for *_, message in ALL_REFUSED])
def test_refused_in_one_sentence(kind: type[Training], values: dict, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        kind(**values)
    assert str(caught.value) == message


def test_defaults_are_those_of_the_public_face():
    training = Sampled()
    assert (training.optimiser, training.rate, training.schedule) == ("adamw", 1e-3, "constant")
    assert (training.betas, training.eps, training.decay) == ((0.9, 0.999), 1e-8, 0.01)
    assert training.batch == 1024


def test_the_default_weight_decay_is_the_optimisers():
    assert Sampled(optimiser="sgd").decay == 0
    assert Sampled(optimiser="sgd", weight_decay=0.1).decay == 0.1
    assert Sampled(weight_decay=0).decay == 0
    assert Sampled().replace(optimiser="sgd").decay == 0


def test_exact_training_decays_nothing_unasked():
    assert [Exact(optimiser=name).decay for name in ("lbfgs", "adam", "gd")] == [0, 0, 0]
    assert Exact(optimiser="adam", weight_decay=0.01).decay == 0.01


def test_what_is_trained_without_samples_is_double_precision():
    assert {name: kind.dtype for name, kind in Training.kinds.items()} == {
        "sampled": "float32",
        "exact": "float64",
        "flow": "float64",
    }
    assert [name for name, kind in Training.kinds.items() if kind.converges] == ["exact"]


def test_every_field_has_a_meaning():
    for kind in Training.kinds.values():
        assert set(kind.meanings()) == set(kind.model_fields)
        assert set(kind.shared) <= set(kind.model_fields)
        optimisers = OPTIMISERS[kind.kind].values() if issubclass(kind, Descent) else ()
        assert {option for each in optimisers for option in each.options} < set(kind.model_fields)


@pytest.mark.parametrize(
    ("sampled", "twin"),
    [
        (Sampled(), Exact(optimiser="adam", weight_decay=0.01)),
        (
            Sampled(steps=50, rate=0.01, schedule="cosine", warmup=5, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.5),
            Exact(
                optimiser="adam", steps=50, rate=0.01, schedule="cosine", warmup=5, betas=(0.8, 0.9), eps=1e-6,
                weight_decay=0.5,
            ),
        ),
        (Sampled(optimiser="sgd", momentum=0.9), Exact(optimiser="gd", momentum=0.9, weight_decay=0)),
        (Sampled(optimiser="sgd", weight_decay=0.1), Exact(optimiser="gd", weight_decay=0.1)),
    ],
)  # fmt: skip
def test_the_noiseless_twin_differs_in_the_noise_alone(sampled: Sampled, twin: Exact):
    assert sampled.noiseless() == twin
    assert sampled.noiseless().decay == sampled.decay
    assert sampled.noiseless(accuracy=1e-4) == twin.replace(accuracy=1e-4)
    assert_array_equal(twin.rates(0, 50), sampled.rates(0, 50))


def test_betas_from_arrays_and_lists():
    expected = Sampled(betas=(0.5, 0.75))
    assert Sampled(betas=np.array([0.5, 0.75])) == expected
    assert Sampled(betas=[np.float32(0.5), np.float64(0.75)]) == expected
    assert hash(Sampled(betas=[0.5, 0.75])) == hash(expected)


def test_training_is_found_by_its_kind():
    assert Training.kinds["sampled"] is Sampled
    assert Training.of({"kind": "sampled", "steps": 3}) == Training.of({"steps": 3}) == Sampled(steps=3)
    assert Training.of({"kind": "exact", "optimiser": "gd"}) == Exact(optimiser="gd")
    assert Training.of({"kind": "flow", "duration": 3}) == Flow(duration=3)


def test_the_time_of_a_flow_is_even_and_ends_with_its_duration():
    flow = Flow(duration=0.7, steps=49)
    step = np.arange(50)
    assert flow.time(step).dtype == np.float64
    assert_allclose(flow.time(step), step * 0.7 / 49, rtol=1e-15)
    assert flow.time(49) == 0.7
    assert_array_equal(flow.time(step.reshape(5, 10)), flow.time(step).reshape(5, 10))
    assert_array_equal(Flow(steps=0).time([0]), [0])
    assert Sampled().time(step) is None
    assert Exact().time(step) is None


def test_a_constant_rate():
    assert_array_equal(Sampled(steps=4).rates(0, 4), np.ones(4))


def test_linear_decay_reaches_zero_after_the_last_step():
    assert_allclose(Sampled(steps=4, schedule="linear").rates(0, 4), [1, 3 / 4, 1 / 2, 1 / 4], rtol=1e-15)


def test_cosine_decay_reaches_zero_after_the_last_step():
    # Equation 5 of Loshchilov & Hutter 2017, with η_min = 0.
    expected = (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    assert_allclose(Sampled(steps=8, schedule="cosine").rates(0, 8), expected, rtol=1e-15)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_warm_up_rises_to_one_and_the_schedule_follows(schedule: str):
    rates = Sampled(steps=10, warmup=4, schedule=schedule).rates(0, 10)
    assert_allclose(rates[:4], [1 / 4, 2 / 4, 3 / 4, 1], rtol=1e-15)
    assert_array_equal(rates[4:], Sampled(steps=6, schedule=schedule).rates(0, 6))


def test_warm_up_all_along():
    assert_allclose(Sampled(steps=4, warmup=4, schedule="cosine").rates(0, 4), [1 / 4, 2 / 4, 3 / 4, 1])


@given(
    steps=st.integers(0, 60),
    data=st.data(),
    schedule=st.sampled_from(["constant", "cosine", "linear"]),
)
def test_rates_of_a_part_are_those_of_the_whole(steps: int, data: st.DataObject, schedule: str):
    training = Sampled(steps=steps, warmup=data.draw(st.integers(0, steps)), schedule=schedule)
    start = data.draw(st.integers(0, steps))
    stop = data.draw(st.integers(start, steps))
    whole = training.rates(0, steps)
    assert whole.dtype == np.float64
    assert_array_equal(training.rates(start, stop), whole[start:stop])
    assert ((whole > 0) & (whole <= 1)).all()


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 11)])
def test_rates_beyond_the_run_are_refused(start: int, stop: int):
    with pytest.raises(
        ValueError,
        match=rf"^rates\(start={start}, stop={stop}\): must be 0 ≤ start ≤ stop ≤ steps, which is 10$",
    ):
        Sampled(steps=10).rates(start, stop)
