"""What the demo prints: numbered steps, progress, the commands as one would type them, and what they answered."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from optimizer.cli.safe_console import SafeConsole
from optimizer.demo.plain import in_words

LINE_EVERY_S = 20.0  # where no terminal can show a moving bar

DETENT = (sys.executable, "-c", "import sys; from optimizer.cli import main; sys.exit(main())")


class Screen:
    """Prints for a terminal or a pipe; counts the time of every step."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else 140
        self.out = SafeConsole(highlight=False, width=width)
        self._began = time.monotonic()
        self._step: tuple[str, float] | None = None
        self.seconds: dict[str, float] = {}
        self.folder: Path | None = None  # in which commands are typed: the demo's home

    def step(self, title: str) -> None:
        """Begins a step; ``seconds`` gets the time of the one before."""
        self.finish_step()
        self._step = (title, time.monotonic())
        self.out.print()
        self.out.rule(f"[bold]{escape(title)}[/]  [dim]{self.elapsed()}[/]", align="left")

    def finish_step(self) -> None:
        if self._step is not None:
            title, began = self._step
            self.seconds[title] = time.monotonic() - began
            self._step = None

    def elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02d}"

    def say(self, text: str, style: str | None = None) -> None:
        self.out.print(in_words(text), style=style, markup=False)

    def command(self, *arguments: str, show: Callable[[str], bool] = lambda line: True) -> str:
        """Runs ``detent ARGUMENTS`` as a person would, shows what it says (the lines that ``show`` lets through),
        and returns its data.

        Raises RuntimeError when the command fails.
        """
        self._type(arguments)
        return self._tell(arguments, self._run(arguments), show)

    def side_by_side(self, *commands: Sequence[str], show: Callable[[str], bool] = lambda line: True) -> None:
        """``command`` for several at once, each shown as if they ran in this order."""
        with ThreadPoolExecutor(len(commands)) as pool:
            for arguments, ran in zip(
                commands, [pool.submit(self._run, arguments) for arguments in commands], strict=True
            ):
                self._type(arguments)
                self._tell(arguments, ran.result(), show)

    def _type(self, arguments: Sequence[str]) -> None:
        self.out.print(f"[bold cyan]$ detent {escape(shlex.join(arguments))}[/]")

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*DETENT, *arguments], capture_output=True, text=True, check=False, cwd=self.folder)

    def _tell(
        self, arguments: Sequence[str], process: subprocess.CompletedProcess[str], show: Callable[[str], bool]
    ) -> str:
        text = (process.stdout + process.stderr).strip()
        if process.returncode != 0:
            raise RuntimeError(f"`detent {' '.join(arguments)}` ended with exit code {process.returncode}:\n{text}")
        for line in text.splitlines():
            if show(line):
                self.say("  " + line)
        return process.stdout

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Several progress bars, one per name, moving until the block ends."""
        bars = Bars(self)
        try:
            yield bars
        finally:
            bars.stop()


class Bars:
    """Progress by name: bars on a terminal, a line now and then elsewhere."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, float] = {}
        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[name]}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=screen.out) if screen.out.is_terminal else None
        if self._progress is not None:
            self._progress.start()

    def show(self, name: str, done: int, total: int, text: str) -> None:
        if self._progress is not None:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(text, total=total, name=name)
            self._progress.update(self._tasks[name], completed=done, total=total, description=escape(text))
        elif time.monotonic() - self._last.get(name, 0.0) >= LINE_EVERY_S or done >= total:
            self._last[name] = time.monotonic() if done < total else float("inf")
            self._screen.say(f"  {self._screen.elapsed()}  {name}: {text}")

    def line(self, text: str) -> None:
        """A line above the bars."""
        self._screen.say(f"  {self._screen.elapsed()}  {text}")

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
