# SPDX-License-Identifier: Apache-2.0
#
# Writes the locks: one set of versions for every supported Python and platform, with hashes, and
# without index addresses, so that they install from wherever pip or uv is set up to look.
set -eu
cd "$(dirname "$0")"
# The run environment first: others take its versions.
for name in run $(ls *.in | sed 's/\.in$//' | grep -v '^run$'); do
  uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet \
    --no-emit-index-url --no-emit-find-links "$name.in" --output-file "$name.lock"
done
