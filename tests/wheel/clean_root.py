"""Follows a container file where no builder is: each stage is a root folder with the machine's /usr and /etc, read
only, and what the file's own steps make. It needs Linux, root and `unshare`. Base images are not read, so what they
hold besides Python is not seen.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

EMPTY = ("dev", "proc", "tmp", "root", "opt", "usr", "etc")
NETWORK = ("PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # how this machine reaches a package index
OF_USR = ("bin", "sbin", "lib", "lib64")
# Mounts end with the namespace that they are made in.
ENTER = """set -e
mount --bind /usr "$0/usr"; mount -o remount,bind,ro "$0/usr"
mount --bind /etc "$0/etc"; mount -o remount,bind,ro "$0/etc"
mount --rbind /dev "$0/dev"; mount -t proc proc "$0/proc"
if [ "$CACHE" ]; then mkdir -p "$0/root/.cache/uv"; mount --bind "$CACHE" "$0/root/.cache/uv"; fi
if [ "$LOOPBACK" ]; then ip link set lo up; fi
exec chroot --userspec="$OWNER" "$0" /bin/sh -c 'cd "$1"; shift; exec "$@"' sh "$@"
"""


def instructions(file: Path) -> Iterator[tuple[str, str]]:
    """Of the form that is written on one line."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest


@dataclass(kw_only=True)
class CleanRoot:
    """One stage, and what its image would be run with."""

    path: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    folder: str = "/"
    owner: str = "0:0"
    command: Sequence[str] = ()
    health_check: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in EMPTY:
            (self.path / name).mkdir(parents=True)
        for name in OF_USR:
            (self.path / name).symlink_to(f"usr/{name}")
        (self.path / "tmp").chmod(0o1777)

    def begin(
        self, words: Sequence[str], *, cache: Path | None = None, is_alone: bool = False
    ) -> subprocess.Popen[str]:
        """A process in this root. ``cache``: a folder of uv's. ``is_alone``: it has a loopback of its own, and no
        network.
        """
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if is_alone else [])]
        network = {name: value for name, value in os.environ.items() if name.upper().startswith(NETWORK)}
        environment = {
            **({} if is_alone else network),
            **self.environment,
            "CACHE": str(cache or ""),
            "LOOPBACK": "1" if is_alone else "",
            "OWNER": self.owner,
        }
        return subprocess.Popen(
            [*unshare, "/bin/sh", "-c", ENTER, str(self.path), self.folder, *words],
            env={**environment, "PATH": f"{environment['PATH']}:/usr/sbin:/sbin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, words: Sequence[str], *, cache: Path | None = None) -> str:
        """What it said. Raises AssertionError where it failed."""
        process = self.begin(words, cache=cache)
        said, _ = process.communicate(timeout=1800)
        assert process.returncode == 0, f"{shlex.join(words)}\n{said}"
        return said

    def inside(self, path: str) -> Path:
        return self.path / os.path.join(self.folder, path).lstrip("/")


def build(file: Path, context: Path, to: Path, *, cache: Path | None) -> CleanRoot:
    """Every step of the file in its order; returns the last stage.

    Raises AssertionError for a step that failed, and for an instruction that is not known here.
    """
    stages: dict[str, CleanRoot] = {}
    root: CleanRoot | None = None
    for word, rest in instructions(file):
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            assert image.startswith("docker.io/library/python:3.11"), image
            root = CleanRoot(path=to / (name or "image"))
            stages[name] = root
            continue
        assert root is not None, f"{word} stands before FROM"
        if word == "RUN" and rest.startswith("apt-get "):
            continue  # packages of the distribution: those of the machine are seen here
        if word == "RUN":
            root.run(["/bin/sh", "-c", rest], cache=cache)
        elif word == "COPY":
            _copy(rest, root, stages, context)
        elif word == "ENV":
            root.environment |= dict(_pair(pair) for pair in shlex.split(rest))
        elif word == "WORKDIR":
            root.folder = rest
            root.inside(".").mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            root.owner = rest
        elif word == "HEALTHCHECK":
            root.health_check = json.loads(rest.partition("CMD ")[2])
        elif word == "CMD":
            root.command = json.loads(rest)
        else:
            assert word in ("EXPOSE", "VOLUME"), f"no rule here follows {word} {rest}"
    assert root is not None, f"{file} has no FROM"
    return root


def _copy(rest: str, root: CleanRoot, stages: Mapping[str, CleanRoot], context: Path) -> None:
    words = rest.split()
    stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
    *sources, target = words
    to = root.inside(target)
    for source in sources:
        path = stages[stage].path / source.lstrip("/") if stage is not None else context / source
        if path.is_dir():
            shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to / path.name if target.endswith("/") else to)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
