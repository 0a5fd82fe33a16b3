"""What the toilet rule says."""
