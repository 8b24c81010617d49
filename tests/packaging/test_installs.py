"""What each extra gives to those who install it, outside the tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.version import Version

from tests.packaging.environment import Environment

OF_OTHER_EXTRAS = tuple(f"agenttrace_adapters.{name}" for name in ("kafka", "s3", "postgres", "redis"))
HEAVY = ("duckdb", "pyarrow", "starlette", "pydantic", "numpy", "grpc", "fastapi")


def test_a_bare_install_is_the_sdk(bare: Environment) -> None:
    """An application that only sends spans must not be made to install a server."""
    installed = json.loads(bare.run("python", "-c", _LIST_DISTRIBUTIONS))
    assert "opentelemetry-sdk" in installed
    assert not {"duckdb", "pyarrow", "starlette", "pydantic", "numpy", "fastapi"} & set(installed)


@pytest.mark.parametrize("extra", ["bare", "server"])
def test_importing_the_sdk_loads_nothing_heavy(extra: str, request: pytest.FixtureRequest) -> None:
    """`import agenttrace` is in the start-up of every application, also where the server happens to be installed."""
    environment: Environment = request.getfixturevalue(extra)
    loaded = json.loads(
        environment.run("python", "-c", "import json, sys, agenttrace; print(json.dumps(sorted(sys.modules)))")
    )
    assert "agenttrace" in loaded
    assert not set(HEAVY) & set(loaded)


def test_the_core_extra_is_enough_to_import_every_module_of_the_core(core: Environment) -> None:
    """Whoever embeds the core would meet a ModuleNotFoundError in production otherwise."""
    imported = json.loads(core.run("python", "-c", _import_all("agenttrace_core")))
    assert "agenttrace_core.registry" in imported
    missing = core.run(
        "python", "-c", "import importlib.util as u; print(u.find_spec('duckdb'), u.find_spec('fastapi'))"
    )
    assert missing.split() == ["None", "None"]


def test_the_server_extra_is_enough_to_import_everything_we_run(server: Environment) -> None:
    """A dependency that only the developers' environment has would stop `agenttrace up` on a fresh machine."""
    for package in ("agenttrace_adapters", "agenttrace_server"):
        assert json.loads(server.run("python", "-c", _import_all(package, without=OF_OTHER_EXTRAS)))


def test_all_extras_together_are_enough_to_import_everything(everything: Environment) -> None:
    """The backends of several machines must be installable beside each other, and beside the server."""
    for package in ("agenttrace_adapters", "agenttrace_server"):
        assert json.loads(everything.run("python", "-c", _import_all(package)))


def test_our_adapters_are_found_where_the_wheel_is_installed(server: Environment) -> None:
    """Adapters are found by entry points, which only an installed distribution has."""
    schemes = json.loads(
        server.run(
            "python",
            "-c",
            "import json; from agenttrace_core.registry import make_adapter, schemes\n"
            "make_adapter('index', 'duckdb:')\n"
            "print(json.dumps({port: schemes(port) for port in ('queue', 'storage', 'metadata', 'index', 'cache')}))",
        )
    )
    assert {"log", "memory"} <= set(schemes["queue"])
    assert {"file", "memory"} <= set(schemes["storage"])
    assert "sqlite" in schemes["metadata"]
    assert "duckdb" in schemes["index"]
    assert "memory" in schemes["cache"]


def test_an_adapter_whose_extra_is_missing_says_what_to_install(core: Environment) -> None:
    """`ModuleNotFoundError: duckdb` would tell nobody that an extra mends it."""
    said = core.run(
        "python",
        "-c",
        "from agenttrace_core.errors import MissingExtraError\n"
        "from agenttrace_core.registry import make_adapter\n"
        "try:\n    make_adapter('index', 'duckdb:')\nexcept MissingExtraError as error:\n    print(error)",
    )
    assert "pip install 'agenttrace-platform[server]'" in said


def test_the_console_script_shows_its_commands(server: Environment) -> None:
    """The first thing that a newcomer types."""
    said = server.run("agenttrace", "--help")
    for command in ("up", "demo", "import", "export", "traces", "trace", "tail", "doctor", "config", "key"):
        assert command in said


def test_the_version_is_the_wheels(wheel: Path, server: Environment) -> None:
    """A bug report names a version; it must be the one that is installed."""
    assert wheel.name.split("-")[1] in server.run("agenttrace", "--version")
    assert Version(wheel.name.split("-")[1]) >= Version("0.1.0")


def test_the_console_script_of_a_bare_install_says_what_to_install(bare: Environment) -> None:
    """The script exists without the extra too, and a traceback would tell a newcomer nothing."""
    done = bare.attempt("agenttrace", "up")
    assert done.returncode != 0
    assert "pip install 'agenttrace-platform[server]'" in done.stderr
    assert "Traceback" not in done.stderr


_LIST_DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
print(json.dumps(sorted({d.name.lower() for d in distributions()})))
"""


def _import_all(package: str, without: tuple[str, ...] = ()) -> str:
    return f"""
import importlib, json, pkgutil
import {package}
names = [m.name for m in pkgutil.walk_packages({package}.__path__, "{package}.")]
names = [n for n in names if not n.endswith("__main__") and not n.startswith({without!r})]
for name in names:
    importlib.import_module(name)
print(json.dumps(names))
"""
