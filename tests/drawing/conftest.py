# SPDX-License-Identifier: Apache-2.0
from functools import lru_cache
from importlib import import_module

import pytest

from infwidth.catalogue import FIGURES, picture_module, reader
from tests.drawing.pictures import PICTURES


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """The measurements of a figure's case, made once for figures that share them."""

    @lru_cache(maxsize=8)
    def load(experiment, write, case):
        folder = write(tmp_path_factory.mktemp(experiment), **of_case[experiment, case])
        return import_module(reader(experiment)).load(folder)

    of_case = {
        (FIGURES[name], case): values
        for name, picture in PICTURES.items()
        for case, values in picture.cases.items()
    }
    return lambda name, case: load(FIGURES[name], PICTURES[name].write, case)


@pytest.fixture(scope="session")
def drawn(measured):
    """The figure of a case, drawn once."""

    @lru_cache(maxsize=4)
    def draw(name, case):
        return import_module(picture_module(name)).draw(measured(name, case))

    return draw
