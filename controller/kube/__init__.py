"""Talking to the Kubernetes API: what the operator, the agent and the verbs on a live cluster share.

aiohttp carries, msgspec decodes; neither kopf nor the `kubernetes` client is imported here. Read `connection`
(where the cluster is and who we are), `client` (one request), `reflector` (a copy of a collection that stays
true), `lease` (one leader), `ratelimit` (how fast we may write), and `errors` for all that can go wrong.
"""
