"""What a run says of itself: readings, diagnosis, trackers."""
