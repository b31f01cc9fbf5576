# SPDX-License-Identifier: Apache-2.0
#
# Settings, paths and what every rule shares. From here on nothing reads `config`: it holds raw text,
# `SETTINGS` holds validated values.

from functools import cache, partial
from pathlib import Path

from infwidth.catalogue import (
    FIGURES,
    LONG_TIER,
    TABLES,
    covered,
    effects_module,
    figure_code,
    reader,
    schemas,
    table_code,
)
from infwidth.provenance import code_commit
from infwidth.code_digest import code_digest
from infwidth.claims.schema import read_claims
from infwidth.config.load import CLAIMS, validate
from infwidth.config.variants import ALL_VARIANTS, VARIANTS
from infwidth.experiments.registry import BENCHES, IN_PARTS, REGISTRY, STUDIES, module
from infwidth.experiments.schema import STUDY
from infwidth.experiments.study import jobs_of, priorities
from infwidth.layout import Layout
from infwidth.training.spec import plan_digest, run_code_digest, variants_digest

SETTINGS = support.or_exit(validate, config)
LAYOUT = Layout(SETTINGS.name)
# Snakemake fills in names in braces here, too, be they of folders.
CONDA = support.own_file(workflow, "envs/conda.yaml")
CONDA = CONDA.replace("{", "{{").replace("}", "}}")

slice_of = partial(support.slice_of, SETTINGS)
support.take_braces_as_they_are()
support.prepare_jobs(SETTINGS)
support.summarize_dry_run(workflow)
support.or_exit(support.share_volume, workflow)
# Where git does not tell it, this says so, too: what the jobs say is in their logs.
code_commit()

# A training job asks for GPUs only where there are any; a run that devices share takes as many.
GPUS = support.gpus(workflow, SETTINGS)
GPUS_A_RUN = SETTINGS.training.mesh.devices if GPUS else 0

VOCABULARY_MODEL = [path for path in [SETTINGS.data.vocabulary_model] if path]

# By experiment, the files that its figures and tables are made from.
MEASURED = {
    name: [
        f"{LAYOUT.measurements(name)}/{file}"
        for file in (*(f"{table}.parquet" for table in schemas(name)), "settings.json")
    ]
    for name in REGISTRY
}

# Every file of some experiments' figures and tables, so that one which was deleted is made again.
drawn = lambda experiments: expand(
    f"{LAYOUT.figures}/{{figure}}.{{kind}}",
    figure=[name for name in FIGURES if FIGURES[name] in experiments],
    kind=("pdf", "png", "json"),
)
tabulated = lambda experiments: expand(
    f"{LAYOUT.tables}/{{table}}.{{kind}}",
    table=[name for name in TABLES if TABLES[name] in experiments],
    kind=("csv", "md", "tex", "json"),
)
