"""Other people's recordings in, ours out."""
