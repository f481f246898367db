"""The promise to clients: error codes, messages, hooks, metrics. Pure; imports nothing of ours."""
