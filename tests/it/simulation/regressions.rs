//! Stories that once went wrong, each cut down to what it takes and named after what was wrong.
