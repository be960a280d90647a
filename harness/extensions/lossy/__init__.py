"""The lossy mode ``minimal``: values rounded within a stated bound, tensors dropped, and the record of both."""
