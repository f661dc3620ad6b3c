import sys

from emotions.cli import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files hold what some terminals cannot show
    raise SystemExit(main())
