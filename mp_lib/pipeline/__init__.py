"""What ``./run_all.sh`` does: notebooks as steps."""
