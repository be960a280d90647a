"""Storage formats for traces, behind one writer interface and one reader interface."""
