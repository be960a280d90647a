"""Export of archives to the layouts of other programs; an export is complete or leaves nothing behind."""
