"""One validator: the sans-IO machine (consensus, ledger, mempool, sync) and the runtime that performs its effects."""
