"""`python -m taskpass` is `taskpass`."""

from taskpass.cli.main import main

main()
