"""The operator: one per cluster, it turns API objects into what every node's agent has to enforce.

Read in the order in which a change travels: `intake` hears of it and tells the engine, `publication` knows
what should stand in the API server and what is to be written next, `writer` writes it. `process` puts the
parts together.
"""
