"""Programs that print a figure beside a peer or the bare limit, in one run."""
