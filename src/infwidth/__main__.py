"""`python -m infwidth`: the command line."""

from infwidth.cli.entry import main

main()
