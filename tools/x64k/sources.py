# SPDX-License-Identifier: GPL-2.0-or-later
"""Source and guest packages of Debian 13, by the machine's own mirror.

The mirror is the one that the machine's apt is configured with, and apt
verifies everything against the Debian archive keyring.  All state is in
CACHE/apt: the system's own apt is read, never touched."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from x64k import locks, proc, ui, versions
from x64k.files import write_text
from x64k.paths import BUILD, CACHE, DEBS, DOWNLOADS, LOGS, shown

SUITE = "trixie"
APT = CACHE / "apt"
PINS = CACHE / "pins.json"      # what a new checkout takes, to stay offline
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.pgp",
            "/usr/share/keyrings/debian-archive-keyring.gpg")

# Suites that only Debian's own archive has, security apart.
SUITES = re.compile(r"(bullseye|bookworm|trixie|forky|sid|oldstable|stable|"
                    r"testing|unstable)(-updates)?")
SECURITY = re.compile(r"(bullseye|bookworm|trixie|forky|oldstable|stable|"
                      r"testing)(-security|/updates)")


@dataclass(frozen=True)
class Entry:
    """One mirror of the machine's apt configuration."""
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str = ""


def parse_list(text: str) -> Iterator[Entry]:
    """The one-line format: deb [options] URI SUITE COMPONENT..."""
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        match = re.fullmatch(r"deb(?:-src)?\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)"
                             r"\s*(.*)", line)
        if match:
            options, uri, suite, components = match.groups()
            key = re.search(r"signed-by=(\S+)", options or "")
            yield Entry(uri, (suite,), tuple(components.split()),
                        key.group(1) if key else "")


def parse_sources(text: str) -> Iterator[Entry]:
    """The deb822 format: paragraphs of `Field: value`, with continuation
    lines, and comment lines anywhere."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {name.lower(): " ".join(value.split()) for name, value in
                  re.findall(r"^([A-Za-z-]+):((?:.*\n?)(?:[ \t]+.*\n?)*)",
                             paragraph, re.MULTILINE)}
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off"):
            continue
        for uri in fields.get("uris", "").split():
            yield Entry(uri, tuple(fields.get("suites", "").split()),
                        tuple(fields.get("components", "").split()),
                        fields.get("signed-by", ""))


def read_entries(sourcelist: Path, sourceparts: Path) -> list[Entry]:
    entries: list[Entry] = []
    parts = sorted(sourceparts.iterdir()) if sourceparts.is_dir() else []
    for path in (sourcelist, *parts):
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".list":
            entries += parse_list(text)
        elif path.suffix == ".sources":
            entries += parse_sources(text)
    return entries


def choose_mirrors(entries: Iterable[Entry]) -> tuple[str, str | None]:
    """The URIs of Debian's main and security archives."""
    def pick(suites: re.Pattern) -> str | None:
        fitting = [entry for entry in entries
                   if "main" in entry.components
                   and not entry.uri.startswith("cdrom:")
                   and any(map(suites.fullmatch, entry.suites))]
        # Others name their suites after Debian's too: an entry that trusts
        # the archive's own keyring is a surer one, then a telling path.
        fitting.sort(key=lambda entry: ("debian-archive" not in entry.keyring,
                                        not re.search(r"/debian(-security)?/?$",
                                                      entry.uri)))
        return fitting[0].uri if fitting else None

    entries = list(entries)
    if not (main := pick(SUITES)):
        raise ui.X64kError(
            "found no Debian mirror in the apt configuration of this machine; "
            "add one there, or give --qemu-source and --linux-source")
    return main, pick(SECURITY)


def sources_list(main: str, security: str | None, keyring: str) -> str:
    wanted = [(main, SUITE), (main, f"{SUITE}-updates")]
    if security:
        wanted.append((security, f"{SUITE}-security"))
    # `target` keeps out the other indices that the system may ask for.
    return "".join(
        f"{kind} [signed-by={keyring} target={target}] {uri} {suite} main\n"
        for uri, suite in wanted
        for kind, target in (("deb", "Packages"), ("deb-src", "Sources")))


def private_apt() -> Path:
    """Writes the private configuration; apt reads it after the system's, so
    that a proxy or credentials set there stay in force."""
    if not shutil.which("apt-get"):
        raise ui.X64kError("no apt on this machine: give --qemu-source and "
                           "--linux-source (docs/building.md)")
    system = dict(re.findall(r"(\w+)='(.*)'", proc.output(
        ["apt-config", "shell", "list", "Dir::Etc::sourcelist/f",
         "parts", "Dir::Etc::sourceparts/d"])))
    keyring = next(filter(os.path.exists, KEYRINGS), None)
    if not keyring:
        raise ui.X64kError("the Debian archive keyring is missing: "
                           "install debian-archive-keyring")
    for part in ("lists/partial", "cache/archives/partial", "state"):
        (APT / part).mkdir(parents=True, exist_ok=True)
    (APT / "status").touch()
    # Another checkout's apt may be reading them.
    write_text(APT / "sources.list", sources_list(
        *choose_mirrors(read_entries(Path(system["list"]),
                                     Path(system["parts"]))), keyring))
    config = APT / "apt.conf"
    write_text(config, f"""\
// Written by x64k.  Hooks of the system have no business here.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "{APT}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{APT}/state";
Dir::State::lists "{APT}/lists";
Dir::State::status "{APT}/status";
Dir::Cache "{APT}/cache";
Dir::Cache::archives "{APT}/cache/archives";
""")
    return config


def alone() -> AbstractContextManager[None]:
    """All checkouts share the cache: one of them fetches at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return locks.hold(CACHE / ".lock", f"another x64k fetches into {CACHE}")


@functools.cache
def update() -> None:
    with alone():
        proc.logged(["apt-get", "-c", private_apt(), "update",
                     "-o", "APT::Update::Error-Mode=any"],
                    "apt-update", "Reading the package lists of Debian 13",
                    detail="")


def _apt_cache(*args: str) -> str:
    return proc.output(["apt-cache", "-c", private_apt(), *args])


def newest_first(found: Iterable[str]) -> list[str]:
    def compare(a: str, b: str) -> int:
        newer = subprocess.run(["dpkg", "--compare-versions", a, "gt", b])
        return -1 if newer.returncode == 0 else 1
    return sorted(set(found), key=functools.cmp_to_key(compare))


def upstream(version: str) -> str:
    """1:10.0.13+ds-0+deb13u1 -> 10.0.13"""
    match = re.match(r"(?:\d+:)?([0-9.]+)", version)
    assert match
    return match.group(1)


def in_series(found: Iterable[str], series: str) -> list[str]:
    return newest_first(
        version for version in found
        if re.match(rf"(\d+:)?{re.escape(series)}\.\d+(?![~\d.])", version))


def source_versions(name: str, series: str) -> list[str]:
    listing = _apt_cache("showsrc", "--only-source", name)
    return in_series(re.findall(r"^Version: (.*)$", listing, re.MULTILINE),
                     series)


def deb_versions(name: str) -> list[str]:
    rows = (line.split("|") for line in _apt_cache("madison", name).splitlines())
    return newest_first(row[1].strip() for row in rows if "Packages" in row[2])


class NotServed(ui.X64kError):
    """The index lists it, the mirror does not have it."""


def _size(folder: Path) -> str:
    size = sum(file.stat().st_size for file in folder.iterdir())
    return f"{size >> 20} MB"


def _download(args: list[str], name: str, title: str, folder: Path) -> None:
    """Runs apt-get in FOLDER, where it continues partial files."""
    folder.mkdir(parents=True, exist_ok=True)
    log = f"download-{name}"
    if proc.logged(["apt-get", "-c", private_apt(), *args], log, title,
                   cwd=folder, detail=lambda: _size(folder), check=False):
        text = (LOGS / f"{log}.log").read_text(errors="replace")
        if re.search(r"\b404\b", text):
            shutil.rmtree(folder)
            raise NotServed(f"{title}: the mirror does not have it (404)")
        raise proc.failure(title, LOGS / f"{log}.log")


@dataclass(frozen=True)
class Source:
    """A source to unpack: files of a Debian source package, or a local
    tarball or tree."""
    version: str
    origin: str
    files: dict[str, str]       # name -> sha256
    path: Path                  # the folder of the files, or what was named

    def key(self) -> str:
        return f"{self.origin} {self.version}"


def cached_source(name: str, version: str) -> Source | None:
    """The downloaded source, if it is all there."""
    files = versions.load(DOWNLOADS / "index.json").get(f"{name} {version}")
    if files and all((DOWNLOADS / file).exists() for file in files):
        return Source(version, "Debian", files, DOWNLOADS)
    return None


def verify(source: Source) -> None:
    for file, digest in source.files.items():
        if versions.sha256(source.path / file) != digest:
            (source.path / file).unlink()
            raise ui.X64kError(f"{source.path / file} was damaged and is now "
                               "deleted; the same command fetches it again")


def download_source(name: str, version: str) -> Source:
    if found := cached_source(name, version):
        return found
    with alone():
        # Another checkout may have fetched it meanwhile.
        return cached_source(name, version) or _fetch_source(name, version)


def _fetch_source(name: str, version: str) -> Source:
    title = f"Downloading {name} {version}"
    ui.info(title)
    folder = DOWNLOADS / f"{name}_{version.replace(':', '%')}.partial"
    _download(["source", "--download-only", f"{name}={version}"],
              name, title, folder)
    files = {file.name: versions.sha256(file) for file in folder.iterdir()}
    for file in files:
        (folder / file).rename(DOWNLOADS / file)
    folder.rmdir()
    versions.record(f"{name} {version}", files, DOWNLOADS / "index.json")
    return Source(version, "Debian", files, DOWNLOADS)


def local_source(path: Path) -> Source:
    path = path.absolute()
    if path.is_dir():
        return Source(str(path), "a local tree", {}, path)
    if not path.is_file():
        raise ui.X64kError(f"{path}: no such tarball or tree")
    return Source(str(path), "a local tarball",
                  {path.name: versions.sha256(path)}, path.parent)


def candidates(name: str, series: str, fresh: bool) -> Iterator[Source]:
    """Sources of the series, best first: the one that this machine already
    uses, unless FRESH; then Debian's, newest first."""
    pin = versions.load(PINS).get(name)
    if pin and not fresh and (source := cached_source(name, pin)):
        yield source
    if fresh or not list((APT / "lists").glob("*Sources*")):
        update()
    for lists_are_new in (False, True):
        served = False
        for version in source_versions(name, series):
            try:
                source = download_source(name, version)
            except NotServed as error:
                ui.info(f"{error}; trying the one before")
                continue
            served = True
            # From now on this machine needs no network for it.
            versions.record(name, version, PINS)
            yield source
        if served or lists_are_new:
            return
        update()        # old lists may name only what is gone by now


def fetch_source(name: str, series: str) -> Source:
    for source in candidates(name, series, fresh=False):
        return source
    raise ui.X64kError(f"the Debian mirror serves no {name} {series}.x; "
                       f"give --{name}-source (docs/building.md)")


def _fetch_deb(name: str) -> Path:
    for version in deb_versions(name):
        title = f"Downloading {name} {version}"
        # Another checkout may be fetching the same.
        folder = DEBS / f"{name}.{os.getpid()}.partial"
        try:
            with alone():
                _download(["download", f"{name}={version}"], name, title,
                          folder)
            (file,) = folder.glob("*.deb")
            place = file.rename(DEBS / file.name)
        except NotServed as error:
            ui.info(f"{error}; trying the one before")
            continue
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        versions.record(name, {"version": version, "file": place.name,
                               "sha256": versions.sha256(place)},
                        DEBS / "index.json")
        return place
    raise ui.X64kError(f"the Debian mirror serves no package {name}")


def fetch_debs(names: Iterable[str], record: bool = True) -> dict[str, Path]:
    """Debian 13 packages (amd64), by name; from the cache if they are there.
    RECORD enters them into this build's versions."""
    places: dict[str, Path] = {}
    for name in names:
        entry = versions.load(DEBS / "index.json").get(name)
        place = DEBS / entry["file"] if entry else None
        if not (entry and place and place.exists()
                and versions.sha256(place) == entry["sha256"]):
            if not list((APT / "lists").glob("*Packages*")):
                update()
            try:
                place = _fetch_deb(name)
            except ui.X64kError:
                update()
                place = _fetch_deb(name)
            entry = versions.load(DEBS / "index.json")[name]
        assert place
        places[name] = place
        if record:
            versions.record("debs", {name: {"version": entry["version"],
                                            "sha256": entry["sha256"]}})
    return places


def unpacked(names: Iterable[str]) -> Path:
    """The folder where these packages are unpacked, to be run from there."""
    debs = fetch_debs(names, record=False)
    place = CACHE / "tools" / "_".join(path.name.split("_")[1]
                                       for path in debs.values())
    if place.exists():
        return place
    fresh = place.with_name(f"{place.name}.{os.getpid()}.partial")
    fresh.mkdir(parents=True)
    for deb in debs.values():
        proc.output(["dpkg-deb", "-x", deb, fresh])
    try:
        fresh.rename(place)
    except OSError:     # another checkout was faster
        shutil.rmtree(fresh)
    return place


@dataclass(frozen=True)
class Deb:
    name: str
    version: str
    file: str       # as apt names it
    sha256: str


class Index:
    """Packages and their entries in the mirror's index, as apt has verified
    it; the text may be kept and read again."""

    def __init__(self, text: str):
        self.text = text
        self.debs = []
        for entry in text.strip().split("\n\n"):
            field = dict(re.findall(r"^(\S+): (.*)$", entry, re.MULTILINE))
            name, version = field["Package"], field["Version"]
            file = f"{name}_{version}_{field['Architecture']}.deb"
            self.debs.append(Deb(name, version, file.replace(":", "%3a"),
                                 field["SHA256"]))
        self.debs.sort(key=lambda deb: deb.name)

    def _missing(self) -> list[Deb]:
        return [deb for deb in self.debs if not (DEBS / deb.file).exists()
                or versions.sha256(DEBS / deb.file) != deb.sha256]

    def fetch(self) -> None:
        """Gets what is not in the cache, at once: apt alone takes a second
        for each call."""
        if not (missing := self._missing()):
            return
        folder = DEBS / f"index.{os.getpid()}.partial"
        try:
            with alone():
                _download(["download", *(f"{deb.name}={deb.version}"
                                         for deb in missing)], "debs",
                          f"Downloading {len(missing)} packages", folder)
            for file in folder.glob("*.deb"):
                file.rename(DEBS / file.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if missing := self._missing():
            raise ui.X64kError(f"{missing[0].file} is not what the mirror's "
                               "index says")


def resolve(names: Iterable[str]) -> Index:
    """NAMES, what they depend on, and what is essential, of the newest
    versions; recommended packages are left out."""
    plan = proc.output(["apt-get", "-c", private_apt(), "install",
                        "--simulate", "--no-install-recommends",
                        "?essential", *names])
    chosen = re.findall(r"^Inst (\S+) \((\S+) ", plan, re.MULTILINE)
    return Index(_apt_cache("show", *(f"{name}={version}"
                                      for name, version in chosen)))


def forget_debs() -> None:
    (DEBS / "index.json").unlink(missing_ok=True)


NEED_GB = {CACHE: 2, BUILD: 8}


def check_space() -> None:
    """Refuses to begin a first build that cannot end."""
    for folder, need in NEED_GB.items():
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free / 2**30
        if free < need:
            raise ui.X64kError(
                f"a first build needs about {need} GB in {shown(folder)}, but "
                f"{free:.1f} GB are free there; free some space and run the "
                "same command again")
