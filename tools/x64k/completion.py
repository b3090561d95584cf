# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion for bash, of what --help knows: python3 -m x64k.completion.

With --installed, that of an installed x64k.  Presets and workloads are not
known here: x64k is asked for them once in a shell."""

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator

from x64k import cli, guest, manual, paths

# Metavars of values that are files, and what else bash functions of SCRIPT
# complete.
FILES = {"PATH", "FILE", "DIR", "FOLDER"}
KNOWN = {
    "--mode": f"_x64k_words {' '.join(guest.MODES)}",
    "--modes": f"_x64k_words {' '.join(guest.MODES)}",
    "--tlb": "_x64k_presets; _x64k_files",
    "PRESET": "_x64k_presets",
    "--workload": "_x64k_workloads",
}

SCRIPT = r"""# bash completion of x64k; written by python3 -m x64k.completion

# Words that begin as the current one; of a list with commas, its last part.
_x64k_words() {
    local done=
    if [[ $cur == *,* ]]; then
        done=${cur%,*},
    fi
    local IFS=$' \t\n'
    COMPREPLY+=($(compgen -P "$done" -W "$*" -- "${cur##*,}"))
}

_x64k_files() {
    local IFS=$'\n'
    compopt -o filenames
    COMPREPLY+=($(compgen -f -- "$cur"))
}

# In the source tree, this must not start a build.
_x64k_ask() {
    X64K_BUILT=1 "${COMP_WORDS[0]}" "$@" 2>/dev/null </dev/null |
        awk 'NR > 1 { print $1 }'
}

_x64k_presets() {
    : "${_x64k_known_presets:=$(_x64k_ask tlb list)}"
    _x64k_words off $_x64k_known_presets
}

_x64k_workloads() {
    : "${_x64k_known_workloads:=$(_x64k_ask workloads)}"
    _x64k_words $_x64k_known_workloads
}

_x64k() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb= option= i
    COMPREPLY=()
    # --mode=contig is three words for bash.
    if [[ $cur == = ]]; then
        cur=
        option=${COMP_WORDS[COMP_CWORD-1]}
    elif [[ ${COMP_WORDS[COMP_CWORD-1]} == = ]]; then
        option=${COMP_WORDS[COMP_CWORD-2]}
    elif ((COMP_CWORD > 1)); then
        option=${COMP_WORDS[COMP_CWORD-1]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --) # a command of the guest
            return ;;
        -*) ;;
        *)  : "${verb:=${COMP_WORDS[i]}}" ;;
        esac
    done
    if [[ -z $verb ]]; then
        _x64k_words @VERBS@
        return
    fi
    case "$verb $option" in
@VALUES@
    esac
    case $verb in
@OPTIONS@
    esac
}

complete -F _x64k x64k
"""


def words(names: Iterable[str]) -> str:
    return " ".join(shlex.quote(name) for name in names)


def value(action: argparse.Action) -> str | None:
    """The shell command that completes the value of ACTION; None: it has
    none, empty: nobody can tell."""
    if action.nargs == 0:
        return None
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    for name in (*action.option_strings, metavar):
        if name in KNOWN:
            return KNOWN[name]
    names = [name for name in action.choices or () if isinstance(name, str)]
    if names:
        return f"_x64k_words {words(names)}"
    return "_x64k_files" if FILES & set(metavar.split("|")) else ""


def values(verb: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        command = value(action)
        if action.option_strings and command is not None:
            pattern = " | ".join(f"'{verb} {name}'"
                                 for name in action.option_strings)
            yield f"    {pattern}) {command or ':'}; return ;;"


def options(verb: str, parser: argparse.ArgumentParser) -> str:
    names = [name for action in parser._actions
             for name in action.option_strings
             if action.help is not argparse.SUPPRESS]
    command = f"_x64k_words {words(names)}"
    others = [value(action) for action in parser._actions
              if not action.option_strings]
    if any(others):
        command = (f"if [[ $cur == -* ]]; then {command}; else "
                   f"{'; '.join(filter(None, others))}; fi")
    return f"    {verb}) {command} ;;"


def script(parser: argparse.ArgumentParser) -> str:
    verbs = manual.verbs(parser)
    text = SCRIPT
    for mark, lines in (
            ("@VERBS@", [words([*verbs, "--help", "--version"])]),
            ("@VALUES@", [line for verb, its in verbs.items()
                          for line in values(verb, its)]),
            ("@OPTIONS@", [options(verb, its)
                           for verb, its in verbs.items()])):
        text = text.replace(mark, "\n".join(lines))
    return text


if __name__ == "__main__":
    paths.INSTALLED = paths.INSTALLED or "--installed" in sys.argv[1:]
    sys.stdout.write(script(cli.make_parser()))
