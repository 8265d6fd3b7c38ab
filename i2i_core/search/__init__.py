"""What a sweep searches, its study and its report; nothing here starts Ray."""
