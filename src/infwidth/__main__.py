# SPDX-License-Identifier: Apache-2.0
"""`python -m infwidth`: the command line."""

import sys

if not sys.flags.safe_path:
    # The folder that it is called in, whose files are no modules of ours.
    del sys.path[0]

from infwidth.cli.entry import main

main()
