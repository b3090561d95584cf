# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user sees: errors, notes, and the progress of anything slow.

Everything goes to stderr, so that stdout is left to results."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_S = 10        # what takes less than this says nothing
REPEAT_S = 15       # then a line this often, where there is no terminal


class X64kError(Exception):
    """An error the user can act on: printed without a traceback."""

    def __init__(self, message: str, status: int = 125):
        super().__init__(message)
        self.status = status


def info(message: str) -> None:
    print(f"x64k: {message}", file=sys.stderr, flush=True)


def warn(message: str) -> None:
    info(f"warning: {message}")


def duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


class Step:
    """A running step; `detail` may be set at any time, to a string or to a
    function that returns one."""

    def __init__(self, title: str):
        self.title = title
        self.detail: str | Callable[[], str] = ""
        self.start = time.monotonic()
        self.spoke = False
        self._end = threading.Event()
        self._tty = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def _line(self) -> str:
        detail = self.detail() if callable(self.detail) else self.detail
        detail = f" {detail}" if detail else ""
        return f"x64k: {self.title} ...{detail} {duration(self.elapsed())}"

    def _watch(self) -> None:
        pause = 1.0 if self._tty else float(QUIET_S)
        while not self._end.wait(pause):
            self.spoke = True
            if self._tty:
                sys.stderr.write(f"\r\033[K{self._line()}")
            else:
                sys.stderr.write(f"{self._line()}\n")
                pause = REPEAT_S
            sys.stderr.flush()

    def close(self, outcome: str) -> None:
        self._end.set()
        self._thread.join()
        if self._tty and self.spoke:
            sys.stderr.write("\r\033[K")
        if self.elapsed() >= QUIET_S or outcome != "done":
            info(f"{self.title}: {outcome} ({duration(self.elapsed())})")


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Shows that TITLE is under way, once it takes over ten seconds."""
    running = Step(title)
    try:
        yield running
    except (KeyboardInterrupt, SystemExit):
        running.close("interrupted")
        raise
    except BaseException:
        running.close("failed")
        raise
    running.close("done")
