"""Where a cluster lives: backends behind one interface."""
