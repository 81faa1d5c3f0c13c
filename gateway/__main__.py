"""`python -m gateway` is the `cardbase` command."""

from gateway.cli import main

main(prog_name="cardbase")
