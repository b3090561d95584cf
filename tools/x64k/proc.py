# SPDX-License-Identifier: GPL-2.0-or-later
"""Other programs, run so that none outlives us.

Each gets a process group of its own, which is ended as a whole when we are
interrupted, and a parent-death signal for the case that we are killed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from x64k import ui
from x64k.paths import BUILD_LOGS, LOGS, shown

Arg = str | Path
TAIL_LINES = 15
PATIENCE_S = 10     # from TERM to KILL
NOW = "now"         # in LOGS: what is being done, for those who wait for it


def popen(argv: Sequence[Arg], **options: Any) -> subprocess.Popen:
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *argv],
                            process_group=0, **options)


def stop(child: subprocess.Popen) -> None:
    """Ends the whole process group of CHILD."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, signum)
            child.wait(PATIENCE_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
        # The leader is gone; whoever it left behind is not needed either.
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        break
    child.wait()


def wait(child: subprocess.Popen) -> int:
    try:
        return child.wait()
    except BaseException:
        # A second Ctrl-C must not leave what the first began to end.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop(child)
        signal.signal(signal.SIGINT, previous)
        raise


def call(argv: Sequence[Arg], **options: Any) -> int:
    return wait(popen(argv, **options))


def output(argv: Sequence[Arg], **options: Any) -> str:
    """The standard output of a short command that must not fail."""
    try:
        return subprocess.run([str(arg) for arg in argv], check=True, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              **options).stdout
    except FileNotFoundError as error:
        raise ui.X64kError(f"{argv[0]}: command not found") from error
    except subprocess.CalledProcessError as error:
        raise ui.X64kError(
            f"{argv[0]} failed ({' '.join(str(arg) for arg in argv)}):\n"
            + "\n".join((error.stderr or error.stdout).strip()
                        .splitlines()[-TAIL_LINES:])) from error


def last_lines(log: Path, count: int = TAIL_LINES) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        return file.read().decode(errors="replace").splitlines()[-count:]


def ninja_progress(log: Path) -> Callable[[], str]:
    """The last `[n/m]` in LOG."""
    def read() -> str:
        found = re.findall(r"^\[\d+/\d+\]", "\n".join(last_lines(log, 200)),
                           re.MULTILINE)
        return found[-1] if found else ""
    return read


def failure(title: str, log: Path) -> ui.X64kError:
    tail = last_lines(log)
    message = [f"{title} failed", *(f"  | {line}" for line in tail),
               f"the whole log: {shown(log)}"]
    if any("No space left on device" in line for line in tail):
        message.append("the disk is full: free some space; "
                       "the same command then continues from here")
    return ui.X64kError("\n".join(message))


def logged(argv: Sequence[Arg], name: str, title: str, *,
           cwd: Path | None = None, env: Mapping[str, str] | None = None,
           detail: str | Callable[[], str] | None = None,
           check: bool = True) -> int:
    """Runs ARGV with its output in the log NAME, showing progress."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    (LOGS / NOW).write_text(f"{name}\n{title}")
    with log.open("wb") as file, ui.step(title) as step:
        step.detail = ninja_progress(log) if detail is None else detail
        status = call(argv, cwd=cwd, env=env, stdout=file,
                      stderr=subprocess.STDOUT)
        if status and check:
            sys.stderr.flush()
            raise failure(title, log)
    return status


def under_way() -> str:
    """How far the build is that someone else runs."""
    try:
        name, title = (BUILD_LOGS / NOW).read_text().split("\n", 1)
        progress = ninja_progress(BUILD_LOGS / f"{name}.log")()
    except (OSError, ValueError):
        return ""
    return ": " + f"{title} {progress}".rstrip()
