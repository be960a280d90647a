"""Growth of times with the length of a trace, for runs that measured three lengths or more."""
