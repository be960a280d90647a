"""The lossy mode ``minimal``: what is rounded within a stated bound, what is dropped, and the record of both."""
