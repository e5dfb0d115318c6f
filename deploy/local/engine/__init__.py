"""ClickHouse for the local stack: chDB, which is its engine as a library, behind its own HTTP protocol.

Rule: what a client of a ClickHouse server sends over HTTP works here unchanged, and what a server refuses is refused
with the same code. In production the same clients meet a server; nothing of headwater imports this package.

    HTTP request -> request.py -> statement.py -> server.py -> connections.py, execution.py -> chDB
                    (settings,    (kind, FORMAT,  (answers,    (sessions,      (one connection
                     bodies)       INSERT's data)  streams)     worker pool)    a request)
"""
