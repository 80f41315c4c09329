"""What is written to the cluster, one kind of object each."""
