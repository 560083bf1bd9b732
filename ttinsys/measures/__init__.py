"""Ideas that several analyses share, one file each."""
