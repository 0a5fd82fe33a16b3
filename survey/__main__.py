"""``python -m survey``: the command line where its program is not on the path."""

from survey.cli import main

if __name__ == "__main__":
    main()
