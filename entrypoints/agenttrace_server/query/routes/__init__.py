"""The API's routes, a module a resource.

Each module has ``router(services)``, which returns an ``APIRouter``; ``agenttrace_server.query.app`` includes
it. A route takes the caller that the guard found, asks a service of the core, and writes what it answers.
"""
