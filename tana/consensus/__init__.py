"""Byzantine fault tolerant agreement: Tendermint (arXiv:1807.04938) without any input or output of its own."""
