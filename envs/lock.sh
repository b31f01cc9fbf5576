# Writes the locks: one set of versions for every supported Python and platform, with hashes, and
# without index addresses, so that they install from wherever pip or uv is set up to look.
set -eu
cd "$(dirname "$0")"
for name in run dev cuda tpu cluster cluster-cuda cloud; do
  uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet \
    --no-emit-index-url --no-emit-find-links "$name.in" --output-file "$name.lock"
done
