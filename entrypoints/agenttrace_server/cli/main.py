"""The command ``agenttrace``: finds the command asked for, and turns errors into one line and an exit code."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from agenttrace_core import __version__
from agenttrace_core.errors import AgentTraceError, ConfigurationError, InvalidInputError, QueryError

EXIT_FAILURE = 1
EXIT_USAGE = 2

_COMMANDS = {
    "up": ("up", "Start the server: doors, writer and API, in one data folder."),
    "demo": ("demo", "Start the server and send it a few agent traces to look at."),
    "import": ("importing", "Send OTLP/JSON lines from files (plain, gzip, zstd)."),
    "export": ("exporting", "Write traces as OTLP/JSON lines."),
    "traces": ("traces", "List the newest traces, or search for some."),
    "trace": ("trace", "Show one trace as a tree."),
    "explain": ("explain", "Tell which rule gave each field of a span its value."),
    "tail": ("tail", "Show spans as they arrive."),
    "usage": ("figures", "Show spans, tokens and traces, by time or model or anything."),
    "latency": ("figures", "Show percentiles of duration."),
    "errors": ("figures", "Show how many spans failed, and in which ways."),
    "cost": ("figures", "Show what it cost."),
    "sessions": ("entities", "List sessions with their figures, or show one."),
    "users": ("entities", "List users."),
    "agents": ("entities", "List agents."),
    "tools": ("entities", "List tools."),
    "models": ("entities", "List models."),
    "prompts": ("entities", "List prompts."),
    "score": ("score", "Give a trace, or a span of it, a score."),
    "key": ("keys", "Make keys for callers."),
    "config": ("config", "Show the settings in force, and where each came from."),
    "doctor": ("doctor", "Check this machine and the data folder, and say what to mend."),
    "normalise": ("normalise", "Run the newest rules over stored spans."),
    "migrate": ("migrate", "Move what one deployment holds to another."),
    "dead-letters": ("deadletters", "List, replay or drop what was refused."),
    "ingest": ("parts", "Run the doors alone."),
    "write": ("parts", "Run the writer alone."),
    "query": ("parts", "Run the API alone."),
    "compact": ("parts", "Run the compactor alone."),
    "version": ("version", "Print the release."),
}
"""Command -> (module in this package, a line about it). The module has the command as ``NAME_command``."""

_HIDDEN = {"child": "parts"}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _HIDDEN.get(cmd_name) or _COMMANDS.get(cmd_name, (None,))[0]
        if module is None:
            return None
        home = import_module(f"agenttrace_server.cli.{module}")
        command: click.Command = getattr(home, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and args[0] not in _HIDDEN and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], _COMMANDS, 1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {close[0]}?" if close else ""))
        return super().resolve_command(ctx, args)


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agenttrace")
def cli() -> None:
    """Record what AI agents do, and ask what happened, what it cost, what went wrong.

    Begin with `agenttrace up`, then point any OpenTelemetry exporter at it.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run ``agenttrace`` and exit: 0 done, 1 failed, 2 wrong usage or setting, 130 interrupted."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run ``agenttrace`` and return its exit code. Errors go to stderr as one line, never as a stack trace."""
    try:
        outcome: Any = cli.main(args, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough; what is buffered has nowhere to go.
        sys.stderr.close()
        return EXIT_FAILURE
    except AgentTraceError as error:
        if isinstance(error, QueryError):
            _say_where(error)
        else:
            _say(str(error))
        return EXIT_USAGE if isinstance(error, (ConfigurationError, InvalidInputError)) else EXIT_FAILURE
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return EXIT_FAILURE
    return outcome if isinstance(outcome, int) else 0


def _say(message: str) -> None:
    from agenttrace_server.cli.text import plain

    for line in message.splitlines() or ["failed"]:
        click.echo(f"agenttrace: {plain(line)}", err=True)


def _say_where(error: QueryError) -> None:
    """Show a query's error: what is wrong, the line with carets under the place, and what else helps."""
    import textwrap
    from shutil import get_terminal_size

    from agenttrace_server.cli.text import plain

    problem, *rest = str(error).splitlines() or [error.problem]
    click.echo(f"agenttrace: {plain(problem)}", err=True)
    for line in rest:
        if set(line.strip()) == {"^"}:
            click.secho(line, fg="red", bold=True, err=True)
        elif line.startswith(" "):
            click.echo(plain(line), err=True)
        else:
            width = max(40, get_terminal_size().columns)
            click.echo(textwrap.fill(plain(line, 4000), width, subsequent_indent="  "), err=True)
