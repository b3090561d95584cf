# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: `x64k VERB ...`.

A verb is a module with add_parser(subparsers), which returns its parser, and
run(args), which returns the exit status.  What follows `--` is not parsed:
it is in args.rest."""

import argparse
import errno
import importlib
import importlib.util
import os
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from x64k import paths, streams, ui

# Verb -> module, in the order of --help.
VERBS = {
    "setup": "x64k.host",
    "build": "x64k.build",
    "test": "x64k.check",
    "demo": "x64k.demo",
    "boot": "x64k.boot",
    "compare": "x64k.compare",
    "sweep": "x64k.sweep",
    "report": "x64k.report_verb",
    "cell": "x64k.cell",
    "workloads": "x64k.workloads",
    "modes": "x64k.modes",
    "tlb": "x64k.tlb",
    "bench": "x64k.bench",
    "qemu": "x64k.qemu",
    "refresh-patches": "x64k.patches",
    "clean": "x64k.clean",
    "meson": "x64k.meson",
}
# Not in an installed x64k, which has nothing to build.
NEED_SOURCE = {"setup", "build", "test", "refresh-patches", "clean", "meson"}
TAKES_REST = {"boot", "compare", "sweep", "qemu", "meson"}

EPILOG = """\
`x64k VERB --help` explains a verb.{first}

exit status: 0 done, 1 tests failed, 2 wrong usage, 125 x64k failed,
130 interrupted; boot and compare document theirs.
"""
FIRST = """  Every verb first does what it needs:
`x64k demo` on a fresh machine installs, fetches, builds, and then runs."""


class ShowVersion(argparse.Action):
    """Imported late, so that plain verbs start fast."""

    def __init__(self, option_strings, dest, **_):
        super().__init__(option_strings, dest, nargs=0,
                         help="show the versions and sha256 of everything")

    def __call__(self, parser, *_):
        from x64k import versions
        print(versions.report())
        parser.exit(0)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="x64k",
        epilog=EPILOG.format(first="" if paths.INSTALLED else FIRST),
        description="A virtual x86 processor with native 64 KB pages.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action=ShowVersion)
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB",
                                       required=True)
    for verb, name in VERBS.items():
        if paths.INSTALLED and verb in NEED_SOURCE:
            continue
        if importlib.util.find_spec(name):
            module = importlib.import_module(name)
            module.add_parser(subparsers).set_defaults(module=module)
    return parser


def _stop(signum: int, _frame) -> None:
    # Other ways to be asked to stop clean up as Ctrl-C does.
    raise KeyboardInterrupt(signum)


def parse(argv: list[str]) -> argparse.Namespace:
    rest: list[str] = []
    has_rest = "--" in argv
    if has_rest:
        cut = argv.index("--")
        argv, rest = argv[:cut], argv[cut + 1:]

    parser = make_parser()
    if paths.INSTALLED and argv and argv[0] in NEED_SOURCE:
        parser.error(f"{argv[0]} needs the source tree, and this x64k is "
                     f"installed ({paths.ROOT}); in a checkout, run: "
                     f"./x64k {argv[0]}")
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        hint = ""
        if args.verb in TAKES_REST and not has_rest \
                and not unknown[0].startswith("-"):
            begin = argv.index(unknown[0])
            hint = "; a command goes after --: " + shlex.join(
                ["x64k", *argv[:begin], "--", *argv[begin:]])
        parser.error(f"unrecognized arguments: {shlex.join(unknown)}{hint}")
    if has_rest and args.verb not in TAKES_REST:
        parser.error(f"{args.verb} takes nothing after --")
    args.rest = rest
    return args


def explain(error: OSError) -> str:
    """Of files; what nobody expected where it happened."""
    what = error.strerror or str(error)
    if error.filename:
        what = f"{os.fsdecode(error.filename)}: {what}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        # Which file is not always told.
        found = {place: shutil.disk_usage(place).free for place in
                 (Path(tempfile.gettempdir()), paths.STATE, paths.CACHE,
                  Path()) if place.is_dir()}
        least = min(found, key=found.get)
        what += (f"; the least is free in {least.absolute()}, "
                 f"{found[least] >> 20} MB: free some, or name other places "
                 "by TMPDIR, XDG_STATE_HOME or X64K_CACHE")
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and \
            error.filename and any(
                place.is_relative_to(os.fsdecode(error.filename))
                or Path(os.fsdecode(error.filename)).is_relative_to(place)
                for place in (paths.STATE, paths.CACHE)):
        what += "; X64K_CACHE and XDG_STATE_HOME name other places"
    return what


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        os.environ["X64K_CWD"] = os.getcwd()    # see paths.shown
        try:
            args = parse(argv)
            status = args.module.run(args)
        except SystemExit:      # of --help and the like
            sys.stdout.flush()
            raise
        sys.stdout.flush()      # here, where a reader that has gone is no news
        return status
    except ui.X64kError as error:
        print(f"x64k: error: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt as stop:
        print("\nx64k: interrupted; the same command continues from here",
              file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        # The reader of our output has gone: nothing left to tell it.
        streams.give_up()
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(f"x64k: error: {explain(error)}", file=sys.stderr)
        return 125
    finally:
        streams.drain()
