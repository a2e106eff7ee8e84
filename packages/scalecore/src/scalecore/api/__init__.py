"""The public API for plugins: hooks, component records, protocols and the types that these exchange.

Plugins import nothing else from scalecore, except `scalecore.testing` in their tests.
"""
