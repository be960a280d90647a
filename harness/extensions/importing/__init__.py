"""What other programs wrote, brought into a trace with nothing invented: one file a kind of source."""
