"""The command line. Each command is a module of its own, imported when it is asked for.

``agenttrace --help`` answers at once because nothing heavy is imported for it: the list of
commands and a line about each stand in ``main``.
"""
