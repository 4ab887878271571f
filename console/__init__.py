"""The operator's console: pages at /console and what they ask for. It reads the ledger; all it changes is recorded."""
