"""The network in virtual time: one node, one network, one disk and one clock, driven by a schedule of faults."""
