# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual page x64k(1), of what --help knows: python3 -m x64k.manual."""

import argparse
import re
import sys
from collections.abc import Iterator

from x64k import VERSION, cli

FILES = {
    "${XDG_CACHE_HOME:-~/.cache}/x64k": "downloads, and what is unpacked from "
    "them; X64K_CACHE names another place",
    "${XDG_STATE_HOME:-~/.local/state}/x64k": "of an installed x64k: results, "
    "and logs/ with the console of each guest; in the source tree, build/",
}
ENVIRONMENT = {
    "X64K_CACHE": "another folder for the cache",
    "X64K_QEMU": "another emulator than ours, with options of its own",
}


def verbs(parser: argparse.ArgumentParser
          ) -> dict[str, argparse.ArgumentParser]:
    (choices,) = (action.choices for action in parser._actions
                  if isinstance(action, argparse._SubParsersAction))
    return choices


def escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def paragraphs(text: str, raw: bool) -> str:
    """As help shows it: what is laid out by hand stays so."""
    text = escaped(text.strip())
    return f".PP\n.nf\n{text}\n.fi\n" if raw else f".PP\n{text}\n"


def entry(term: str, text: str) -> str:
    return f".TP\n{term}\n{escaped(text)}\n"


def option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """--mem N, with our words in bold."""
    value = "" if action.nargs == 0 else escaped(
        parser._get_formatter()._format_args(
            action, action.metavar or action.dest.upper()))
    if not action.option_strings:
        return f".I {value}"
    names = ", ".join(f"\\fB{escaped(name)}\\fR"
                      for name in action.option_strings)
    return f"{names} \\fI{value}\\fR" if value else names


def options(parser: argparse.ArgumentParser,
            building: bool) -> Iterator[str]:
    """Those of the group `building`, which most verbs share, or the others."""
    for group in parser._action_groups:
        if (group.title == "building") != building:
            continue
        for action in group._group_actions:
            if action.help and action.help is not argparse.SUPPRESS \
                    and action.dest != "help":
                yield entry(option(parser, action),
                            parser._get_formatter()._expand_help(action))


def section(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix(
        "usage: ").replace(" [-h]", "")
    yield f".SS {name}\n.PP\n.B {escaped(usage)}\n"
    raw = isinstance(parser._get_formatter(),
                     argparse.RawDescriptionHelpFormatter)
    if parser.description:
        yield paragraphs(parser.description, raw and "\n" in
                         parser.description)
    if name in cli.NEED_SOURCE:
        yield paragraphs("Only in the source tree.", False)
    yield from options(parser, building=False)
    if parser.epilog:
        yield paragraphs(parser.epilog, raw)


def page(parser: argparse.ArgumentParser) -> str:
    found = verbs(parser)
    parts = [f'.TH X64K 1 "" "x64k {VERSION}" "User Commands"\n',
             ".SH NAME\nx64k \\- ", escaped(
                 "virtual x86 processor with 64 KB pages and a model of TLBs"),
             "\n.SH SYNOPSIS\n.B x64k\n.I VERB\n.RI [ options ]\n"
             ".RB [ \\-\\-\n.IR CMD ...]\n",
             ".SH DESCRIPTION\n", escaped(parser.description or ""), "\n",
             *options(parser, building=False),
             paragraphs(parser.epilog or "", True),
             ".SH VERBS\n"]
    for name, verb in found.items():
        parts += section(name, verb)
    builds = next(verb for verb in found.values()
                  if any(options(verb, building=True)))
    parts += [".SH BUILDING\nIn the source tree, verbs first build what they "
              "need, and take these options, too.\n",
              *options(builds, building=True), ".SH FILES\n",
              *(entry(f".I {escaped(name)}", text)
                for name, text in FILES.items()),
              ".SH ENVIRONMENT\n",
              *(entry(f".B {name}", text)
                for name, text in ENVIRONMENT.items()),
              ".SH SEE ALSO\n",
              ".BR qemu\\-system\\-x86_64 (1),\n.BR perf (1);\n"
              "the folder doc/x64k beside this manual.\n"]
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page(cli.make_parser()))
