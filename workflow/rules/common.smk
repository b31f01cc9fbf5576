# Settings, paths and what every rule shares. From here on nothing reads `config`: it holds raw text,
# `SETTINGS` holds validated values.

import json
import os
import shlex
import sys
from pathlib import Path

from infwidth.catalogue import FIGURES, TABLES
from infwidth.cli.parent import VARIABLE, describe_this_process
from infwidth.code_digest import code_digest
from infwidth.config.errors import UserError
from infwidth.config.load import pick, validate
from infwidth.config.slices import SLICES
from infwidth.config.variants import VARIANTS
from infwidth.experiments.lm_width_plan import jobs
from infwidth.layout import Layout
from infwidth.training.devices import gpu_count
from infwidth.training.spec import run_code_digest

try:
    SETTINGS = validate(config)
except UserError as error:
    print(f"infwidth: {error}", file=sys.stderr)
    # A WorkflowError would wrap the one line in a trace of the Snakefile.
    os._exit(2)

LAYOUT = Layout(SETTINGS.name)
CONDA = "../../envs/conda.yaml"

# Trainers end when the workflow dies; the outermost Snakemake process is the one to watch.
os.environ.setdefault(VARIABLE, describe_this_process())

# A job must find the `infwidth` of this environment, also where none is activated.
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])

# A training job asks for a GPU only where there is one, and no more run at once than there are.
GPUS = gpu_count()
if GPUS:
    workflow.resource_settings.resources.setdefault("gpu", GPUS)

RETRAIN = "--retrain" if SETTINGS.retrain else ""


def slice_of(command):
    """The settings that a command reads, as the text of its --settings argument."""
    return json.dumps(pick(SETTINGS, SLICES[command]), sort_keys=True)
