"""The check-up of an installation, sound and broken; and completion in a shell."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from processes import tegum

import tegum as tg
from tegum import screens
from tegum.training import installation
from tegum.training.sampled.kernels.advance import advance


@pytest.mark.quick_form
def test_a_sound_installation_works_and_says_so(tmp_path):
    code, out, err = tegum("doctor", cwd=tmp_path)
    assert code == 0, out + err
    assert out.splitlines()[-1].startswith("Verdict: tegum works here")
    assert f"tegum {tg.__version__}" in out
    assert "devices: " in out
    assert "✗" not in out


def test_the_self_test_passes_here_and_fails_where_a_loss_is_wrong(monkeypatch):
    monkeypatch.setattr(installation, "STEPS", 3000)
    monkeypatch.setattr(installation, "RUNS", 4)
    part = installation._self_test()
    assert part.state == "good", part.text
    exact = tg.population_loss
    monkeypatch.setattr("tegum.core.loss.population.population_loss", lambda *given: 1.05 * exact(*given))
    part = installation._self_test()
    assert part.state == "broken"
    # The loss of the principal component of two features of density p is p/12.
    assert "and not p/12 = 0.0416667" in part.text
    assert "standard errors off" in part.text


def test_a_broken_jax_is_told_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "jax.py").write_text("raise ImportError('no such GPU')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    part = installation._jax()
    assert part.state == "broken"
    assert part.text.startswith("it does not start (ImportError: no such GPU); gradients of the exact loss")
    (tmp_path / "jax.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(installation, "JAX_SECONDS", 0.5)
    assert installation._jax().text.startswith("it did not find its devices within")


def test_a_cache_that_cannot_be_written_makes_it_slow_and_not_broken(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place, text in ((str(tmp_path / "file" / "kernels"), "cannot be written"), (None, "no folder for it can be")):
        monkeypatch.setattr(advance, "_cache", SimpleNamespace(cache_path=place))
        part = installation._cache()
        assert part.state == "slow"
        assert text in part.text
        assert "NUMBA_CACHE_DIR" in part.text
    monkeypatch.setattr(advance, "_cache", SimpleNamespace(cache_path=str(tmp_path / "new" / "kernels")))
    assert installation._cache().state == "good"
    assert list((tmp_path / "new" / "kernels").iterdir()) == []


def test_whatever_a_part_raises_is_said(monkeypatch):
    def ruined():
        raise OSError("libllvm.so: cannot open\nshared object file")

    part = installation._looked_at("processor", ruined)
    assert part == ("processor", "OSError: libllvm.so: cannot open shared object file", "broken")
    monkeypatch.setenv("TEGUM_MEMORY_LIMIT", "much")
    assert "must be a number of bytes" in installation._looked_at("memory", installation._memory).text
    monkeypatch.setattr(installation, "PACKAGES", ("tegum", "no-such-package"))
    assert "no-such-package cannot be found" in installation._versions().text


@pytest.mark.parametrize(
    ("states", "code", "verdict"),
    [
        (("good", "good"), 0, "Verdict: tegum works here."),
        (("good", "slow"), 0, "Verdict: tegum works here, but more slowly than it could: b."),
        (("broken", "slow"), 1, "Verdict: this does not work: a."),
    ],
)
def test_the_verdict_is_that_of_the_parts(states, code, verdict, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parts = [installation.Part(name, "some words " * 20, state) for name, state in zip("ab", states, strict=True)]
    assert screens.health(parts) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == verdict
    assert max(map(len, lines)) <= 80


TRY = """
source {script}
complete -p tegum
handler=$(complete -p tegum | sed 's/.*-F \\([^ ]*\\).*/\\1/')
completed() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); $handler; echo "${{COMPREPLY[*]}}"; }}
completed tegum ""
completed tegum run --q
completed tegum render --clock l
"""


def test_bash_completes_verbs_options_and_choices(tmp_path):
    program = [sys.executable, "-m", "tegum", "completion", "bash"]
    script = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (tmp_path / "tegum.bash").write_text(script)
    tried = TRY.format(script=tmp_path / "tegum.bash")
    done = subprocess.run(["bash", "--norc", "-c", tried], capture_output=True, text=True, check=True)
    complete, verbs, option, choices = done.stdout.splitlines()
    assert complete.endswith("tegum")
    assert set(verbs.split()) >= {"list", "run", "train", "show", "doctor", "completion", "render", "analyse"}
    assert option == "--quick"
    assert choices == "linear logarithmic"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_that_names_the_verbs(shell, capsys):
    from tegum import cli

    with pytest.raises(SystemExit):
        cli.app(["completion", shell])
    script = capsys.readouterr().out
    assert all(verb in script for verb in ("list", "run", "train", "show", "doctor", "render", "analyse"))
