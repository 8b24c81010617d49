"""A virtual environment outside the tree, and what the packaging tests do with one."""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment, with what it takes to run things in it from a folder outside the tree."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, requirement: str) -> Environment:
        """Make one, and install a requirement from the usual index with the pip that runs the tests."""
        venv.create(folder, with_pip=False)
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", folder, "install", "-q", requirement], cwd=folder, check=True
        )
        return cls(folder)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs and return what that printed; a failure fails the test, and shows the output."""
        done = self.attempt(program, *arguments)
        assert done.returncode == 0, f"{program} {arguments} gave {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def attempt(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, whatever comes of it."""
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
