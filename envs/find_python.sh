# SPDX-License-Identifier: Apache-2.0
#
# Prints the first Python that really runs (a shim may not) and is one of the supported versions.
for python in python3 python3.11 python3.12 python3.13 python; do
  if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    echo "$python"
    exit 0
  fi
done
# None fits: hand on whatever there is, so that envs/make_env.py says what is needed.
command -v python3 || echo python3
