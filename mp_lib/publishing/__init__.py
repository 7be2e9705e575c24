"""What others can read and run without installing anything: the site and the archive."""
