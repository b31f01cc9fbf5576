# SPDX-License-Identifier: Apache-2.0
"""The doctor finds what is planted, and finds nothing where nothing is wrong."""

import json
import math

import jax
import pytest

from infwidth.artifact.doctor import checks, report
from infwidth.config.variants import VARIANTS

KNOWN = json.loads(checks.KNOWN_LOSSES.read_text())


@pytest.fixture
def doctor(project, monkeypatch):
    """Runs the command: attention and loss as they are, losses as planted, a tiny model timed."""
    monkeypatch.setattr("infwidth.pins.pin_cpu", lambda: None)
    monkeypatch.setattr(report, "ON_CPU", report.Size(8, 1, 2, 8, 4, 16, 2, 64))

    def run(losses, *flags):
        monkeypatch.setattr(checks, "losses", losses)
        # JAX cannot compile the gradient of its own attention where it promotes strictly.
        with jax.numpy_dtype_promotion("standard"):
            return project.run("doctor", *flags)

    return run


@pytest.fixture
def only_steps(monkeypatch):
    """Leaves out what compiles: attention, loss and speed are looked at in another test."""
    numbers = {"difference": 0.0, "tolerance": 1e-4, "sound": True}
    for name in ("check_attention", "check_loss"):
        monkeypatch.setattr(checks, name, lambda p: {"check": "part", "precision": p, **numbers})
    timed = dict.fromkeys(("tokens_per_s", "gflops", "peak_gflops", "share_of_peak"), 1.0)
    monkeypatch.setattr(report, "measure", lambda precision, _: timed | {"precision": precision})


def test_a_sound_machine_is_called_sound(doctor):
    status, out, _ = doctor(lambda variant, precision: KNOWN[variant], "--json")
    found = json.loads(out)
    assert (status, found["verdict"], found["problems"]) == (0, "sound", [])
    assert len(found["checks"]) == 4 + len(KNOWN) * len(checks.PRECISIONS)
    assert found["devices"][0]["platform"] == "cpu"
    assert [row["attention"] for row in found["chosen"]] == ["plain", "xla"]
    (timed,) = found["speed"]
    assert timed["tokens_per_s"] > 0
    assert timed["share_of_peak"] == pytest.approx(timed["gflops"] / timed["peak_gflops"])


def test_a_variant_of_which_no_losses_are_known_is_named_and_not_called_wrong(
    doctor, only_steps, monkeypatch
):
    monkeypatch.setitem(VARIANTS, "melted", VARIANTS["ntk"])
    status, out, _ = doctor(lambda variant, precision: KNOWN[variant])
    assert status == 0
    assert "not checked, since no losses are known: 1 of the variants (melted)\n" in out


@pytest.mark.parametrize("off", [0.002, -0.5, math.nan])
def test_a_planted_wrong_loss_is_found_and_named(doctor, only_steps, off):

    def losses(variant, precision):
        wrong = (variant, precision) == ("ntk", "float32")
        return [*KNOWN[variant][:-1], KNOWN[variant][-1] + (off if wrong else 0.0)]

    status, out, _ = doctor(losses)
    assert status == 1
    assert "Verdict: wrong" in out
    assert [line for line in out.splitlines() if line.startswith("problem:")] == [
        f"problem: {checks.STEPS} steps of ntk, float32, {jax.devices()[0]}: off by {abs(off):.2g}"
    ]


def test_a_step_that_fails_is_a_problem_and_not_the_end(doctor, only_steps):

    def losses(variant, precision):
        if variant == "frozen":
            raise RuntimeError("no kernel image\nis available")
        return KNOWN[variant]

    status, out, _ = doctor(losses, "--json")
    problems = json.loads(out)["problems"]
    assert status == 1
    assert len(problems) == len(checks.PRECISIONS)
    assert all("frozen" in text and text.endswith("no kernel image") for text in problems)


def test_gpus_that_jax_does_not_find_are_a_problem(doctor, only_steps, monkeypatch):
    monkeypatch.setattr(report, "gpu_count", lambda: 2)
    status, out, _ = doctor(lambda variant, precision: KNOWN[variant])
    assert status == 1
    assert "2 NVIDIA GPUs are here, but JAX finds none" in " ".join(out.split())


@pytest.mark.parametrize("precision", checks.PRECISIONS)
def test_the_known_losses_are_those_of_this_code(precision):
    with jax.numpy_dtype_promotion("standard"):
        row = checks.check("adam_star", precision, jax.devices()[0])
    assert row["sound"]
    assert (row["difference"] > 1e-4) == (precision == "bfloat16")


def test_the_tolerances_tell_a_variant_from_another():
    apart = [
        max(abs(a - b) for a, b in zip(KNOWN[one], KNOWN[other], strict=True))
        for one in KNOWN
        for other in KNOWN
        if one < other
    ]
    assert list(KNOWN) == list(VARIANTS)
    assert min(apart) > 2 * checks.TOLERANCES["float32"]
