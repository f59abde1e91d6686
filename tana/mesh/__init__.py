"""The mesh: registry of nodes, sovereign approval, discovery, liveness, and the one genesis.

Pure: records, bodies, registry, views, events, route, service, memory.
Beside them: store (SQLite), app and sse (HTTP), server, settings.
"""
