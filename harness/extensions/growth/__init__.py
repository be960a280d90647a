"""How times grow with the length of a trace, where a run measured three lengths or more."""
