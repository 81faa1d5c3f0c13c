"""The command line: serving, deploying, examining, importing and exporting."""
