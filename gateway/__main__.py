"""`python -m gateway` is the `cardbase` command."""

from gateway.operate.cli import main

main(prog_name="cardbase")
