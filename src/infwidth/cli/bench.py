# SPDX-License-Identifier: Apache-2.0
"""What the commands that train language models set up before their runs."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.layout import Layout

if TYPE_CHECKING:
    from infwidth.experiments.tuning import Bench


def set_up_benches(
    args: argparse.Namespace,
    layout: Layout,
    model: ModelSettings,
    training: TrainingSettings,
    tokens: Path | None = None,
) -> "Callable[[str], AbstractContextManager[Bench]]":
    """Sets this process up, once and before anything imports JAX, and opens the tokens.

    Args:
      args: its `runs` and `tokens`, and whether to `retrain`.
      layout: where runs and tokens lie if `args` does not say it.
      model: shape of the transformer.
      training: optimisation settings; a run takes the devices of their mesh.
      tokens: where the tokens lie, if not in their common place.

    Returns:
      Opens a bench under a name, with which progress is shown.
    """
    from infwidth.training.devices import set_up

    runs = args.runs or layout.runs
    platform = set_up(runs.parent / "compile_cache", training.mesh.devices)

    from infwidth.cli.progress import TrainingProgress
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.tuning import Bench
    from infwidth.training.runs import Runs

    dataset = TokenDataset.open(args.tokens or tokens or layout.tokens)

    @contextmanager
    def bench(name: str) -> Iterator[Bench]:
        with TrainingProgress(name) as progress:
            yield Bench(
                Runs(runs, dataset, args.retrain, progress),
                model,
                training,
                dataset.digest,
                dataset.vocabulary_size,
                platform,
            )

    return bench
