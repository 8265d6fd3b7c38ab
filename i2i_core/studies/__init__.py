"""Let people judge images: draw the trials of a study, write its page, read and sum up the answers."""
