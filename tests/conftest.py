"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("agenttrace", deadline=None)
settings.load_profile("agenttrace")

pytest_plugins = ["tests.servers.plugin"]


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, which is what the entrypoints run on."""
    return "asyncio"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of recorded traces; a test that needs it is skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("AGENTTRACE_CORPORA", Path(__file__).parents[2] / "shared" / "corpora"))
    if not folder.is_dir():
        pytest.skip(f"the trace corpora are not at {folder}; set AGENTTRACE_CORPORA to where they are")
    return folder
