# SPDX-License-Identifier: Apache-2.0
"""`python -m infwidth`: the command line."""

from infwidth.cli.entry import main

main()
