# SPDX-License-Identifier: Apache-2.0
"""`infwidth redraw`: what is published is drawn again from its measurements, without JAX."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread, imsave

from infwidth.artifact.published import NAMES
from infwidth.catalogue import FIGURES, TABLES
from infwidth.cli.main import main
from infwidth.stats.sameness import Sameness, compare_texts

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results/published"
FIGURE, TABLE = "fig11_memory", "table3_hyperparameters"

# A process in which what trains cannot be imported.
FORBIDS = """
import sys

FORBIDDEN = (
    *("jax", "jaxlib", "flax", "optax", "orbax", "snakemake", "tensorflow", "tensorflow_datasets"),
    *("infwidth.training", "infwidth.models", "infwidth.infinite", "infwidth.optim"),
    "infwidth.kernels",
)


# What a run's key is made of, and who writes its results: neither imports JAX.
ALLOWED = tuple(f"infwidth.training{module}" for module in ("", ".spec", ".processes"))


class Forbids:
    def find_spec(self, name, path=None, target=None):
        within = any(name == each or name.startswith(f"{each}.") for each in FORBIDDEN)
        if within and name not in ALLOWED:
            raise AssertionError(f"{name} is imported")


sys.meta_path.insert(0, Forbids())
"""
WITHOUT_TRAINING = (
    FORBIDS
    + """
from infwidth.cli.main import main

main(sys.argv[1:])
"""
)
IMPORTS = (
    FORBIDS
    + """
from importlib import import_module
from infwidth import catalogue

for modules, names in (
    ((catalogue.picture_module,), catalogue.FIGURES | catalogue.TABLES),
    ((catalogue.reader, catalogue.effects_module), catalogue.STUDIES),
):
    for name in names:
        for module in modules:
            import_module(module(name))
"""
)


@pytest.fixture
def redraw(monkeypatch, capsys, tmp_path):
    """Redraws and gives the status, what is printed, and the error."""
    monkeypatch.chdir(ROOT)

    def run(*words, published=PUBLISHED):
        places = ("--published", str(published), "--out", str(tmp_path / "redrawn"))
        with pytest.raises(SystemExit) as ended:
            main(["redraw", *words, *places])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def published(tmp_path):
    """A copy of what is published, to be tampered with."""
    return Path(shutil.copytree(PUBLISHED, tmp_path / "published"))


def test_everything_that_is_published_is_redrawn():
    assert set(NAMES) == {*FIGURES, *TABLES, "claims"}


def test_a_figure_a_table_and_the_claims_without_anything_that_trains(tmp_path):
    names = (FIGURE, TABLE, "table5_claims", "claims")
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRAINING, "redraw", *names, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    # Rules may have changed since the claims were published: that `make figures` says, in CI.
    assert ended.returncode == int("differs" in ended.stdout)
    drawn = [line for line in ended.stdout.splitlines() if line.startswith((FIGURE, TABLE))]
    assert len(drawn) == 2
    assert "differs" not in "".join(drawn)
    # Tables byte for byte, on every platform on which these few numbers round alike.
    for ending in ("csv", "md", "tex"):
        ours = (tmp_path / f"tables/{TABLE}.{ending}").read_text()
        assert ours == (PUBLISHED / f"tables/{TABLE}.{ending}").read_text()
    # The page of claims lies elsewhere than the published one, and its links lead somewhere.
    links = re.findall(r"\]\(([^)#]+)", (tmp_path / "claims.md").read_text())
    measured = {link for link in links if "measurements" in link}
    assert len(measured) == len(list((PUBLISHED / "measurements").iterdir()))
    assert all((tmp_path / link).is_dir() for link in measured)


def test_no_figure_table_or_effect_imports_what_trains():
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_hook_that_forbids_training_would_find_it():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRAINING, "gather", "memory", "--out", "nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "is imported" in ended.stderr


def test_a_measurement_that_was_edited_is_refused(redraw, published):
    path = published / "measurements/memory/state.parquet"
    pd.read_parquet(path).assign(readout=1).to_parquet(path, index=False)
    status, output, error = redraw(FIGURE, published=published)
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert "memory/state.parquet: not the published file" in error
    status, output, _ = redraw(FIGURE, "--unverified", published=published)
    assert status == 1
    assert f"{FIGURE}.png differs" in output
    assert "of the pixels" in output


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda folder: (folder / "claims.md").unlink(), "claims.md: cannot be read"),
        (lambda folder: (folder / "measurements/a").write_text(""), "a: not in manifest.json"),
    ],
)
def test_what_is_not_whole_is_refused_in_one_line(redraw, published, spoil, line):
    spoil(published)
    status, _, error = redraw(TABLE, published=published)
    assert (status, error.count("\n")) == (2, 1)
    assert line in error


def test_a_name_that_is_unknown_is_refused(redraw):
    status, _, error = redraw("fig99")
    assert (status, error.count("\n")) == (2, 1)
    assert "'fig99'; there are fig1_loss_vs_width" in error


@pytest.mark.parametrize("folder", ["results/published", "results/published/long"])
def test_nothing_is_drawn_over_what_is_published(monkeypatch, capsys, folder):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(["redraw", "--out", folder])
    assert ended.value.code == 2
    assert "name another folder" in capsys.readouterr().err


def test_a_published_table_and_figure_that_are_not_drawn_from_the_measurements(redraw, published):
    table = published / f"tables/{TABLE}.csv"
    table.write_text(table.read_text().replace("ntk", "nkt"))
    picture = published / f"figures/{FIGURE}.png"
    pixels = imread(picture)
    pixels[100:110, 100:110, :3] = 0.5
    imsave(picture, pixels)
    status, output, _ = redraw(TABLE, FIGURE, "--unverified", published=published)
    assert status == 1
    assert f"{TABLE}.csv differs" in output
    assert f"{FIGURE}.png differs" in output
    assert "2 differs" in output


def test_rounding_of_pixels_and_digits_is_told_from_a_change(redraw, published):
    picture = published / f"figures/{FIGURE}.png"
    pixels = np.rint(255 * imread(picture))
    pixels[:, :, :3] = np.where(pixels[:, :, :3] > 0, pixels[:, :, :3] - 1, 0)
    imsave(picture, pixels.astype(np.uint8))
    status, output, _ = redraw(FIGURE, "--unverified", published=published)
    assert status == 0
    assert "png equal to rounding" in output
    assert "by up to 1 of 255" in output


@pytest.mark.parametrize(
    ("first", "second", "shown", "expected"),
    [
        ("a,0.125\n", "a,0.125\n", False, Sameness.SAME),
        ("a,0.12345678901234567\n", "a,0.12345678901234599\n", False, Sameness.ROUNDING),
        ("a,1.25e-07,3\n", "a,1.2500000000001e-07,3\n", False, Sameness.ROUNDING),
        ("a,0.123456\n", "a,0.123457\n", False, Sameness.OTHER),
        ("a,0.5\n", "b,0.5\n", False, Sameness.OTHER),
        ("a,0.5\n", "a,0.5,\n", False, Sameness.OTHER),
        ("a,0.5\n", "a,-0.5\n", False, Sameness.OTHER),
        ("5 seeds", "6 seeds", True, Sameness.OTHER),
        ("| 1.2345 ± 0.0100 |", "| 1.2346 ± 0.0100 |", True, Sameness.ROUNDING),
        ("| 1.2345 ± 0.0100 |", "| 1.2347 ± 0.0100 |", True, Sameness.OTHER),
        ("| −0.0345 |", "| 0.0345 |", True, Sameness.OTHER),
        ("| −0.0345 |", "| −0.0344 |", True, Sameness.ROUNDING),
        ('"sha256": "12345678901b"', '"sha256": "12345678902b"', False, Sameness.OTHER),
        ('"n": 12345678901', '"n": 12345678902', False, Sameness.OTHER),
        ('"p": null', '"p": 0.5', False, Sameness.OTHER),
    ],
)
def test_texts_are_equal_to_rounding_only_if_words_and_whole_numbers_are_equal(
    first, second, shown, expected
):
    assert compare_texts(first, second, shown) is expected
    assert compare_texts(second, first, shown) is expected


def test_the_manifest_lists_every_measurement():
    listed = json.loads((PUBLISHED / "manifest.json").read_text())["sha256"]
    there = {
        path.relative_to(PUBLISHED).as_posix()
        for path in (PUBLISHED / "measurements").rglob("*")
        if path.is_file()
    }
    assert there <= listed.keys()
