"""Looking inside: demonstrations, networks, episodes."""
