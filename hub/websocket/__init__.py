"""WebSockets at the edge of the hub: RFC 6455, so that the rest sees links and frames only.

A connection begins as a `handshake`, goes on as a `connection`, and is watched by `keepalive`;
the `listener` owns them all. Handshakes, control frames, fragments, extensions, violations and
closing are the business of the `websockets` library's protocol without I/O.
"""
