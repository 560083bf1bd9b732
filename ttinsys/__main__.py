"""`python -m ttinsys`, for where the script `ttinsys` is not on PATH."""

from ttinsys.cli import main

if __name__ == "__main__":
    main(prog_name="ttinsys")
