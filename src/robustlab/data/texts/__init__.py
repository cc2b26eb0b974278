"""Text resources, one file each."""
