"""HAS IT BECOME SLOWER: runs of one kind of machine in one file, and the steps between them."""
