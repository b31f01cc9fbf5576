"""`python -m infwidth`: the command line."""

from infwidth.cli.main import main

main()
