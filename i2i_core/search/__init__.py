"""Define what a sweep searches, keep its study and write its report; nothing here starts Ray."""
