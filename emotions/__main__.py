import signal
import sys

from emotions.cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does, it ends the training that was started
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files hold what some terminals cannot show
    raise SystemExit(main())
