"""The adapters: one folder a technology, which alone imports its driver.

Enters: the ports and values of ``agenttrace_core``, and one driver a folder. Never enters: the
server, or another technology's folder. Each adapter is registered as ``port.scheme`` in the
entry-point group ``agenttrace.adapters``, as a stranger's would be.
"""
