"""The deterministic state machine: state tree, rules, blocks, and the mempool before them."""
