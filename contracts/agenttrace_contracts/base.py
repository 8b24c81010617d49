"""What all contract suites share: the author's one fixture, the guard, and the machine's portal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from agenttrace_core.errors import UnsupportedError
from agenttrace_core.ports.adapter import Adapter

A = TypeVar("A", bound=Adapter)
R = TypeVar("R")
P = ParamSpec("P")

Make = Callable[[str], A]
"""Makes an adapter, not opened, over the store of that name.

The same name is the same store, seen by another instance; a new name is another store, empty.
An adapter whose capabilities say that instances share nothing makes a new store every time.
"""


class Contract(Generic[A]):
    """Base of a suite. A subclass outside this package supplies the fixture ``make``.

    A contract test may be overridden only to say that it is known to fail: the override carries
    ``@pytest.mark.xfail(strict=True, reason=…)``. Anything else raises TypeError when the class
    is made, so that no adapter passes by leaving a promise out.
    """

    pytestmark: ClassVar[Any] = [pytest.mark.anyio]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        weakened = sorted(name for name in dir(cls) if name.startswith("test_") and _is_weakened(cls, name))
        if weakened:
            raise TypeError(
                f"{cls.__name__} overrides contract tests {', '.join(weakened)}; "
                "mark the override @pytest.mark.xfail(strict=True, reason='why it cannot pass')"
            )

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run the suite on asyncio, whatever the author's own tests run on."""
        return "asyncio"

    @pytest.fixture
    def make(self) -> Make[A]:
        """Supplied by the author. Fails, rather than skips, where it was forgotten."""
        raise NotImplementedError(f"{type(self).__name__} must supply the fixture 'make'")

    @pytest.fixture
    async def adapter(self, make: Make[A]) -> AsyncIterator[A]:
        """One open adapter over an empty store, named ``main``."""
        async with opened(make("main")) as adapter:
            yield adapter


@asynccontextmanager
async def opened(adapter: A) -> AsyncGenerator[A]:
    """Open ``adapter``, and close it at the end, also where ``open`` failed half-way."""
    try:
        await adapter.open()
        yield adapter
    finally:
        await adapter.aclose()


@contextmanager
def supported(declared: bool) -> Generator[None]:
    """Run a block as it is where the capability is declared; else assert that it raises UnsupportedError."""
    if declared:
        yield
        return
    with pytest.raises(UnsupportedError):
        yield


class AdapterMachine(RuleBasedStateMachine, Generic[A]):
    """A state machine whose rules call an async adapter and compare it with a model in plain Python.

    Rules call ``self.run(self.adapter.method, argument, …)``. ``adapter`` is open over an empty
    store; ``reopen`` closes it and opens another instance over the same store.
    """

    examples: ClassVar[int] = 20
    steps: ClassVar[int] = 25
    _stores: ClassVar[int] = 0

    def __init__(self, portal: BlockingPortal, make: Make[A]) -> None:
        super().__init__()
        AdapterMachine._stores += 1
        self._portal = portal
        self._name = f"machine-{AdapterMachine._stores}"
        self.make = make
        self.adapter = self.another()

    def run(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call an async function on the portal's event loop and return its result."""

        async def call() -> R:
            return await function(*args, **kwargs)

        return self._portal.call(call)

    def another(self) -> A:
        """Return another open instance over this machine's store. The rule that asked closes it."""
        adapter = self.make(self._name)
        self.run(adapter.open)
        return adapter

    def reopen(self) -> None:
        """Close the adapter and open a new instance over the same store."""
        self.run(self.adapter.aclose)
        self.adapter = self.another()

    def teardown(self) -> None:
        """Close what the example left open."""
        self.run(self.adapter.aclose)


def run_machine(machine: type[AdapterMachine[A]], make: Make[A], *, shrink: bool = True) -> None:
    """Run a machine's examples, every one over a store of its own. Call it from a test that is not async.

    ``shrink`` looks for the shortest failing run, which takes a while. Without it nothing is remembered
    either, and each call tries other runs, whatever hypothesis' profile says.

    Raises:
        AssertionError: the adapter and the model disagree; the steps that lead there are printed.
    """
    chosen = settings(
        max_examples=machine.examples,
        stateful_step_count=machine.steps,
        deadline=None,
        phases=[p for p in Phase if shrink or p not in (Phase.shrink, Phase.explain)],
    )
    if not shrink:
        chosen = settings(chosen, derandomize=False, database=None)
    with start_blocking_portal("asyncio") as portal:
        factory: Any = lambda: machine(portal, make)  # noqa: E731 - hypothesis's types ask for a class here
        run_state_machine_as_test(factory, settings=chosen)


def _is_weakened(cls: type, name: str) -> bool:
    """Whether ``name`` is a contract test that ``cls`` does not run as the suite wrote it."""
    written = [c for c in cls.__mro__ if name in vars(c)]
    if not any(issubclass(c, Contract) for c in written[1:]) or len(written) < 2:
        return False
    return not any(_is_strict_xfail(mark) for mark in getattr(vars(written[0])[name], "pytestmark", ()))


def _is_strict_xfail(mark: pytest.Mark) -> bool:
    return mark.name == "xfail" and bool(mark.kwargs.get("reason")) and mark.kwargs.get("strict") is True
