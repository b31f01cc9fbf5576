# SPDX-License-Identifier: Apache-2.0
#
# Snakemake runs it in the environment that it has made from conda.yaml, as `make env` would go on.
set -eu
python -m pip install --quiet --require-hashes --no-deps -r "$INFWIDTH_CHECKOUT/envs/run.lock"
python -m pip install --quiet --no-build-isolation --no-deps --editable "$INFWIDTH_CHECKOUT"
