"""``python -m agenttrace_server`` is ``agenttrace``."""

from agenttrace_server.cli.main import main

if __name__ == "__main__":
    main()
