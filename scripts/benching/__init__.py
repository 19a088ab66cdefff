"""All that is measured of the hub, beside a bare relay: what `scripts/bench` is made of.

`cli` reads top to bottom what happens. A measure (`measure`) is one question with its goals, each
in a module of its own; `running` asks it of the servers in turn, `verdict` compares the medians
with the goals, `table` and `pictures` show them.
"""
