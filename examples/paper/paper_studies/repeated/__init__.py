"""Tables 1 and 2, Figure 3 and the Discussion of the paper, each computed from a finished `gate benchmark`."""
